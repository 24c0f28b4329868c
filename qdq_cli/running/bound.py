"""One thread's way of running a session: inputs read in place, outputs looked at where ONNX Runtime put them.

`OrtValue.numpy()` copies; for a run whose outputs are all activations of a network that costs as much as counting them.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from qdq_cli.process.errors import DataError, ModelError
from qdq_cli.running.session import RUNTIME_ERRORS

_FLOATS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(bfloat16)": np.uint16,  # bits; NumPy has no such type
}
_SIZES = "tensor(int64)"
_ELEMENTS = {**_FLOATS, _SIZES: np.int64}
_OTHER_TYPES = {"tensor(bfloat16)": 16}  # TensorProto.DataType where a NumPy type does not say it
_LINE_BYTES = 64  # of the cache: no two outputs share one

Shape = tuple[int, ...]


class BoundSession:
    """Runs one session for one thread; several may share the session.

    The outputs are written into one piece of memory, the same in each run as long as the shapes of the inputs stay the
    same: the system gives large pages for it where it has them, and running and counting then cost a tenth less. Where
    the model does not say how large its outputs get, ONNX Runtime allocates them one by one in the first run.

    Args:
        session: Its outputs are floating-point tensors.
        sizes: Names of outputs that hold sizes of tensors instead, in int64.

    Raises:
        ModelError: An output is of another type.
    """

    def __init__(self, session: ort.InferenceSession, sizes: Collection[str] = ()) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._inputs = {value.name: value.type for value in session.get_inputs()}
        self._declared = {value.name: tuple(value.shape) for value in (*session.get_inputs(), *session.get_outputs())}
        self._binds = "tensor(string)" not in self._inputs.values()  # strings cannot be bound, only handed over
        self._outputs = {value.name: value.type for value in session.get_outputs()}
        for value in session.get_outputs():
            if value.type not in _FLOATS and not (value.type == _SIZES and value.name in sizes):
                raise ModelError(f"The tensor '{value.name}' is {value.type}, expected one of {', '.join(_FLOATS)}.")
        self._shapes: tuple[Shape, ...] | None = None  # of the inputs the output memory is for
        self._views: list[NDArray[Any]] = []
        self._values: list[Any] = []  # own the memory under the views where that is not ours
        self._steady = True  # shapes of outputs follow from those of the inputs

    @property
    def size_bytes(self) -> int:
        """Memory the outputs of the last run take."""
        return sum(view.nbytes for view in self._views)

    def run(self, arrays: Mapping[str, NDArray[Any]], options: ort.RunOptions) -> list[NDArray[Any]]:
        """Run once.

        Args:
            arrays: One for each input of the session; others are ignored.
            options: Of this run.

        Returns:
            The outputs in the session's order, float16, float32, float64, or int64 of sizes; valid until the next run.

        Raises:
            DataError: An input has no array.
            RUNTIME_ERRORS: The run failed or was terminated.
        """
        fed = self._feed(arrays)
        if not self._binds:
            self._views = self._session.run(None, dict(zip(self._inputs, fed, strict=True)), options)
            return self._views
        shapes = tuple(array.shape for array in fed)
        reuses = self._steady and shapes == self._shapes
        if not reuses:
            self._release()
            self._lay_out(shapes)
        try:
            self._session.run_with_iobinding(self._binding, options)
        except RUNTIME_ERRORS:
            if not self._views or options.terminate:
                raise
            # Shapes that depend on values (NonZero) do not fit the memory of the last run.
            self._steady = False
            self._release()
            self._session.run_with_iobinding(self._binding, options)
        if not self._views:
            self._values = self._binding.get_outputs()
            self._views = [_view(value) for value in self._values]
        self._shapes = shapes
        return [_as_float(view) for view in self._views]

    def _feed(self, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Put the inputs in the session's order and bind them; they have to live until the run is over."""
        fed = [np.asarray(array_for(name, arrays), order="C") for name in self._inputs]
        if self._binds:
            for (name, kind), array in zip(self._inputs.items(), fed, strict=True):
                element = _OTHER_TYPES.get(kind, array.dtype)
                self._binding.bind_input(name, "cpu", 0, element, array.shape, array.ctypes.data)
        return fed

    def _lay_out(self, shapes: Sequence[Shape]) -> None:
        """Let the next runs write their outputs into memory of ours, where these shapes of the inputs tell its size."""
        dims = dict(
            _named_dims([(self._declared[name], shape) for name, shape in zip(self._inputs, shapes, strict=True)])
        )
        found = [tuple(dims.get(dim, dim) for dim in self._declared[name]) for name in self._outputs]
        if not self._steady or not all(isinstance(dim, int) and dim > 0 for shape in found for dim in shape):
            return
        types = [np.dtype(_ELEMENTS[kind]) for kind in self._outputs.values()]
        self._views = _in_one_piece(list(zip(found, types, strict=True)))
        for (name, kind), view in zip(self._outputs.items(), self._views, strict=True):
            element = _OTHER_TYPES.get(kind, view.dtype)
            self._binding.bind_output(name, "cpu", 0, element, view.shape, view.ctypes.data)

    def _release(self) -> None:
        """Give the memory of the outputs back and let the next run allocate it anew."""
        self._shapes, self._views, self._values = None, [], []
        self._binding.clear_binding_outputs()
        for name in self._outputs:
            self._binding.bind_output(name, "cpu", 0)


def array_for(name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The array of one input.

    Raises:
        DataError: There is none.
    """
    if name not in arrays:
        raise DataError(
            f"There is no array for the model's input '{name}', only for {sorted(arrays)}.",
            "Name the arrays like the inputs.",
        )
    return arrays[name]


def _named_dims(inputs: Iterable[tuple[Sequence[object], Shape]]) -> Iterator[tuple[object, int]]:
    """Names of dimensions, with the sizes that inputs give them: (declared shape, shape) of each."""
    for declared, shape in inputs:
        yield from ((name, size) for name, size in zip(declared, shape, strict=False) if isinstance(name, str))


def _in_one_piece(arrays: Sequence[tuple[Shape, np.dtype[Any]]]) -> list[NDArray[Any]]:
    """Make arrays of some shapes and types that lie one behind the other."""
    sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in arrays]
    starts = list(itertools.accumulate((-(-size // _LINE_BYTES) * _LINE_BYTES for size in sizes), initial=0))
    memory = np.empty(starts[-1] + _LINE_BYTES, np.uint8)  # NumPy asks the system for large pages
    first = -memory.ctypes.data % _LINE_BYTES
    return [
        memory[first + start : first + start + size].view(dtype).reshape(shape)
        for start, size, (shape, dtype) in zip(starts, sizes, arrays, strict=False)
    ]


def _view(value: Any) -> NDArray[Any]:
    """The memory of an OrtValue as an array, not copied."""
    dtype, shape = np.dtype(_ELEMENTS[value.data_type()]), tuple(value.shape())
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes == 0:
        return np.empty(shape, dtype)
    memory = (ctypes.c_uint8 * size_bytes).from_address(value.data_ptr())
    return np.frombuffer(memory, dtype).reshape(shape)


def _as_float(view: NDArray[Any]) -> NDArray[Any]:
    """Bits of bfloat16 as float32, of which they are the upper half; everything else as it is."""
    return (view.astype(np.uint32) << 16).view(np.float32) if view.dtype == np.uint16 else view
