"""Models in OpenVINO's CPU plugin, where that is installed: run, and asked which of their operators are on integers.

Floats are FP32 there: by default OpenVINO computes them in BF16 on processors that have it, which is another model than
the one that was quantized.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from qdq_cli.data.batches import Batch
from qdq_cli.model import files
from qdq_cli.model.integer_io import as_taken, codes_in
from qdq_cli.process.abreast import waited_for
from qdq_cli.process.errors import ModelError
from qdq_cli.process.extras import install_line
from qdq_cli.process.interrupts import hearing_by_asking
from qdq_cli.running.bound import array_for
from qdq_cli.running.layers import RuntimeLayer, RuntimeLayers
from qdq_cli.running.session import cores

INSTALL = f"{install_line('openvino')}."

_WEIGHTED = frozenset({"Convolution", "Deconvolution", "FullyConnected", "MatMul"})
"""What its execution graph calls convolutions and matrix products."""

_WITHOUT_BIAS = "/WithoutBiases"
"""What it puts behind the name of a convolution whose bias it adds in the same kernel."""

_INTEGERS = frozenset({"i8", "u8"})


Made = TypeVar("Made")


@functools.cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "openvino")


def aside(work: Callable[[], Made]) -> Made:
    """Do work of OpenVINO in a thread of its own, and wait for it.

    Matrix tiles (AMX) that the main thread has worked with no longer fit into the frame of a signal on some systems
    (seen on Linux 6.18 in a virtual machine): Ctrl-C, and a first signal that only asks, ended in a segmentation fault.
    """
    with hearing_by_asking():
        return waited_for(_thread().submit(work))


def is_installed() -> bool:
    """Say whether OpenVINO is there; it is an extra of this package."""
    return importlib.util.find_spec("openvino") is not None


def openvino_version() -> str:
    """The release of OpenVINO."""
    import openvino

    return str(openvino.__version__).partition("-")[0]


class OpenVinoRunner:
    """A model compiled by OpenVINO for this CPU.

    Args:
        path: The model.
        batch: What it is compiled for: the shapes of these arrays. None: for all shapes.
        threads: Threads of a run; None: one a core, or as many as were asked for.

    Raises:
        ModelError: OpenVINO cannot read or compile the model.
        DataError: An input has no array.
    """

    def __init__(self, path: Path, batch: Batch | None = None, *, threads: int | None = None) -> None:
        import openvino

        options = {
            "INFERENCE_NUM_THREADS": threads or cores(),
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        with _errors("compile the model"):
            core = openvino.Core()
            model = core.read_model(path)
            self._codes = codes_in(files.load(path).model.metadata_props) if _takes_integers(model) else {}
            self._inputs = [value.get_any_name() for value in model.inputs]
            if batch is not None:
                model.reshape({name: list(array.shape) for name, array in self._fed(batch).items()})
            self._compiled = aside(lambda: core.compile_model(model, "CPU", options))
            self._request = self._compiled.create_infer_request()

    def _fed(self, batch: Batch) -> dict[str, NDArray[Any]]:
        return {name: as_taken(self._codes, name, array_for(name, batch.arrays)) for name in self._inputs}

    def run(self, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Return the outputs by name, each by every name it has."""
        with _errors("run the model"):
            found = aside(lambda: self._request.infer(self._fed(batch)))
            given = {name: found[value].copy() for value in self._compiled.outputs for name in value.get_names()}
        return {name: codes.dequantized(given[name]) for name, codes in self._codes.items() if name in given} | {
            name: array for name, array in given.items() if name not in self._codes
        }

    def repeatedly(self, batch: Batch) -> Callable[[], object]:
        """Return a function that runs a batch as often as it is called; it is there to be timed."""
        feed = {name: array.copy() for name, array in self._fed(batch).items()}  # OpenVINO shares what it may write to

        def run() -> object:
            with _errors("run the model"):
                return aside(lambda: self._request.infer(feed, share_inputs=True, share_outputs=True))

        return run

    def layers(self) -> RuntimeLayers:
        """Count the weighted operators of the execution graph, and those of them on integers."""
        weighted = [layer for layer in self.every_layer() if layer.kind in _WEIGHTED]
        return RuntimeLayers(len(weighted), sum(layer.on_integers for layer in weighted))

    def every_layer(self) -> tuple[RuntimeLayer, ...]:
        """Ask the execution graph for its layers, in the order in which they run."""
        operators = self._compiled.get_runtime_model().get_ordered_ops()
        return tuple(_layer(operator.get_rt_info(), operator.get_friendly_name()) for operator in operators)


def _layer(told: Any, name: str) -> RuntimeLayer:
    originals = (*_text(told["originalLayersNames"]).split(","), name)
    plain = (each.removesuffix(_WITHOUT_BIAS) for each in originals if each)
    return RuntimeLayer(_text(told["layerType"]), _text(told["runtimePrecision"]), tuple(dict.fromkeys(plain)))


def _takes_integers(model: Any) -> bool:
    """Say whether an input or output is of 8 bits; what these stand for is in the file's metadata."""
    return any(value.get_element_type().get_type_name() in _INTEGERS for value in (*model.inputs, *model.outputs))


def _text(told: Any) -> str:
    return told if isinstance(told, str) else str(told.astype(str))


@contextlib.contextmanager
def _errors(action: str) -> Iterator[None]:
    """Turn what OpenVINO raises, which are RuntimeErrors all, into a ModelError."""
    try:
        yield
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot {action}: {_reason(error)}.") from error


_AROUND = ("Exception from", "Check '", "FrontEnd API", "Model wasn't", "--", "Summary", "While validating")
"""How lines begin that say where in OpenVINO an error came up, not what is wrong."""


def _reason(error: RuntimeError) -> str:
    """The last line of OpenVINO's message that says what is wrong; the first one where none does."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_AROUND)]
    return (telling[-1] if telling else lines[0] if lines else type(error).__name__).rstrip(".")
