"""What ONNX Runtime's default session makes of a result, and which option helps where that is less than it should be.

The literal run says what the model says. Users load it with the default options, under which ONNX Runtime fuses Q/DQ
pairs into operators on integers: some models do not load then, some give other outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrators.metrics import Comparison
from qdq_cli.data.batches import Batch
from qdq_cli.model.lowering import LAST_SAFE_OPSET
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import stepping
from qdq_cli.quantizing.report import DefaultSession
from qdq_cli.running.layers import RuntimeLayers
from qdq_cli.running.openvino import OpenVinoRunner
from qdq_cli.running.runner import Outputs, Runner
from qdq_cli.running.session import AS_THEY_LIE, Source, holds_much
from qdq_cli.screen.sentences import some_of
from qdq_cli.timing.runtimes import DEFAULT_RUNTIME, OPENVINO

LOSS_DB = 3.0
"""A smaller difference is told by nobody: the fused operators round in other places."""

_NOISELESS_DB = 60.0
"""Outputs that are this good by default may be as much better literally as they like."""


@dataclass(frozen=True)
class _Way:
    """A session option that may help, and what it says about the cause if it does."""

    option: str
    entries: tuple[tuple[str, str], ...]
    optimize: bool
    cause: str


_WAYS = (
    _Way(
        "session.x64quantprecision=1",
        (("session.x64quantprecision", "1"),),
        True,
        "on this processor, which has no VNNI, products of UINT8 by INT8 saturate in 16 bits",
    ),
    _Way(
        "session.disable_quant_qdq=1",
        (("session.disable_quant_qdq", "1"),),
        True,
        "it fuses Q and DQ into operators on integers that give something else",
    ),
    _Way("graph_optimization_level=ORT_DISABLE_ALL", (), False, "its graph optimisations change what is computed"),
)


class DefaultRun:
    """The result in a session with default options, or in the runtime of its target, beside the literal run.

    Args:
        path: The result.
        way: An option to try; None for the default alone.
        runtime: What runs it.
    """

    def __init__(self, path: Path, way: _Way | None = None, runtime: str = DEFAULT_RUNTIME) -> None:
        self.error = ""
        self.runtime = runtime
        self.layers: RuntimeLayers | None = None
        self._runner: Runner | OpenVinoRunner | None = None
        self._outputs: dict[str, Comparison] = {}
        try:
            self._runner = self._made(path, way)
        except ModelError as error:
            self.error = error.message

    def _made(self, path: Path, way: _Way | None) -> Runner | OpenVinoRunner:
        if self.runtime == OPENVINO:
            runner = OpenVinoRunner(path)
            self.layers = runner.layers()
            return runner
        entries, optimize = ((), True) if way is None else (way.entries, way.optimize)
        source = Source(path)
        held = (AS_THEY_LIE,) if holds_much(source) else ()
        with stepping(1) as step:
            found = Runner(source, default=optimize, entries=(*entries, *held))
            step()
        return found

    def observe(self, expected: Outputs, batch: Batch) -> None:
        """Run a batch and hold it against what FP32 gave; a failure ends the run, and is kept."""
        if self._runner is None:
            return
        try:
            found = self._runner.run(batch)
        except ModelError as error:
            self.error, self._runner = error.message, None
            return
        for name, array in expected.items():
            if name in found and is_comparable(array, found[name]):
                self._outputs.setdefault(name, Comparison()).observe(array, found[name])

    def sqnr_db(self) -> dict[str, float]:
        """Output name -> SQNR in dB; nothing where the model did not run."""
        if self.error:
            return {}
        return {name: round(output.distances().sqnr_db, 4) for name, output in self._outputs.items()}


def is_comparable(reference: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    """Say whether two outputs hold numbers and have one shape."""
    return (
        isinstance(reference, np.ndarray)
        and reference.dtype.kind in "fiub"
        and reference.size > 0
        and reference.shape == other.shape
    )


Samples = Callable[[], Iterable[tuple[Outputs, Batch]]]
"""Runs the FP32 model on the samples once more; yields its outputs and the batch."""


def judged(run: DefaultRun, literal: Mapping[str, float], path: Path, opset: int, again: Samples) -> DefaultSession:
    """Say what the default session makes of the result, and find out what helps where it is less.

    Args:
        run: The result by default, every batch observed.
        literal: Output name -> SQNR of the literal run in dB.
        path: The result.
        opset: Its opset.
        again: The samples, for the options that are tried where something is wrong.
    """
    sqnr_db, lower = run.sqnr_db(), _lower(run, literal)
    if not run.error and not lower:
        return DefaultSession("", sqnr_db, runtime=run.runtime, layers=run.layers)
    if run.runtime == OPENVINO:
        text = run.error or _elsewhere(sqnr_db, literal, lower)
        return DefaultSession(run.error, sqnr_db, lower, "", text, run.runtime, run.layers)
    way = next((way for way in _WAYS if _helps(way, path, literal, again)), None)
    option = "" if way is None else way.option
    text = _refused(run.error, option, opset) if run.error else _worse(sqnr_db, literal, lower, way)
    return DefaultSession(run.error, sqnr_db, lower, option, text)


def _elsewhere(sqnr_db: Mapping[str, float], literal: Mapping[str, float], lower: tuple[str, ...]) -> str:
    first = lower[0]
    return (
        f"OpenVINO gives {sqnr_db[first]:.1f} dB instead of {literal[first]:.1f}, which the Q/DQ say, for "
        f"{some_of(lower)}. Its kernels differ by processor, and without VNNI products of integers can overflow; try "
        "--exclude on what qdq compare --layers names, or leave --integer-io out where it is given."
    )


def _lower(run: DefaultRun, literal: Mapping[str, float]) -> tuple[str, ...]:
    """Outputs that lie below the literal ones, the worst first."""
    found = {name: at for name, at in run.sqnr_db().items() if at < min(literal.get(name, at), _NOISELESS_DB) - LOSS_DB}
    return tuple(sorted(found, key=lambda name: found[name]))


def _helps(way: _Way, path: Path, literal: Mapping[str, float], again: Samples) -> bool:
    run = DefaultRun(path, way)
    if run.error:
        return False
    for expected, batch in again():
        run.observe(expected, batch)
    return not run.error and not _lower(run, literal)


def _refused(error: str, option: str, opset: int) -> str:
    export = f", or export the float model with opset {LAST_SAFE_OPSET} or below" if opset > LAST_SAFE_OPSET else ""
    way = f"It does with {option}{export}." if option else "No session option that was tried helps."
    return f"By default ONNX Runtime does not run the result. {error} {way}"


def _worse(sqnr_db: Mapping[str, float], literal: Mapping[str, float], lower: tuple[str, ...], way: _Way | None) -> str:
    first = lower[0]
    cause = "the cause was not found" if way is None else way.cause
    help_ = "" if way is None else f" With {way.option} it is as good as the literal run."
    return (
        f"By default ONNX Runtime gives {sqnr_db[first]:.1f} dB instead of {literal[first]:.1f} for {some_of(lower)}: "
        f"{cause}.{help_}"
    )
