"""Arrays in memory as calibration data: whatever says of itself how it becomes a NumPy array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qdq_cli.process.errors import DataError

_REFUSALS = (
    TypeError, ValueError, RuntimeError, BufferError, AttributeError, NotImplementedError, OverflowError, MemoryError,
)  # fmt: skip
"""What libraries raise for a tensor that cannot become an array as it is: on a device, tracked, of a type of theirs."""


@dataclass(frozen=True, eq=False)
class HeldArray:
    """An array in memory; it is read and never changed.

    Args:
        label: How errors call it.
        array: It.
    """

    label: str
    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Stored`."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """See `Stored`."""
        return self.array.dtype

    def item(self, index: int) -> np.ndarray:
        """See `Stored`."""
        return np.asarray(self.array[index])

    def whole(self) -> np.ndarray:
        """See `Stored`."""
        return self.array


def as_array(value: object, label: str) -> np.ndarray:
    """Make an array of what a program gives: an array, a tensor of another library, a number, or nested lists of them.

    Nothing is copied where the library lends its memory (`__array__`, `__array_interface__`, DLPack).

    Args:
        value: It.
        label: How errors call it.

    Raises:
        DataError: It cannot become an array of numbers or texts.
    """
    try:
        lends = hasattr(value, "__dlpack__") and not hasattr(value, "__array__")
        array = np.from_dlpack(value) if lends else np.asarray(value)  # type: ignore[arg-type]
    except _REFUSALS as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(
            f"{label} ({type(value).__name__}) cannot be read as an array: {reason}.",
            "Give tensors that NumPy can read: of PyTorch, tensor.detach().cpu().numpy().",
        ) from error
    if not array.dtype.hasobject:
        return array
    if array.size and all(isinstance(text, str) for text in array.reshape(-1)):
        return array.astype(np.str_)
    raise DataError(
        f"{label} holds Python objects ({_kinds(array)}) instead of numbers.",
        "Give arrays of one type and shape, such as numpy.asarray(values, numpy.float32).",
    )


def _kinds(array: np.ndarray) -> str:
    return ", ".join(sorted({type(value).__name__ for value in array.reshape(-1)[:64]})) or "none"
