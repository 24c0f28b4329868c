"""The runtimes that run a model on this CPU: how each makes a run that can be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from qdq_cli.data.batches import Batch
from qdq_cli.running.openvino import INSTALL, OpenVinoRunner, is_installed, openvino_version
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source, runtime_version

OPENVINO = "openvino"

Run = Callable[[], object]
"""Runs a model once on what it was made with; the outputs are dropped."""


@dataclass(frozen=True)
class Runtime:
    """A runtime that is timed.

    Args:
        title: Says what ran a model, with its release.
        prepare: Makes a run of a model file on a batch, with so many threads.
    """

    title: Callable[[], str]
    prepare: Callable[[Path, Batch, int], Run]


def _by_default(path: Path, batch: Batch, threads: int) -> Run:
    """A run of ONNX Runtime's session as users make one: its optimisations on, Q/DQ fused into integers."""
    return Runner(Source(path), threads=threads, default=True).repeatedly(batch)


def _in_openvino(path: Path, batch: Batch, threads: int) -> Run:
    """A run of OpenVINO's CPU plugin, compiled for the shapes of the batch."""
    return OpenVinoRunner(path, batch, threads=threads).repeatedly(batch)


RUNTIMES: Mapping[str, Runtime] = {
    "onnxruntime": Runtime(lambda: f"ONNX Runtime {runtime_version()}, default session", _by_default),
    OPENVINO: Runtime(lambda: f"OpenVINO {openvino_version()}, floats in FP32", _in_openvino),
}
"""Name, as the table of a target has it -> runtime."""

MISSING: Mapping[str, Callable[[], str]] = {OPENVINO: lambda: "" if is_installed() else INSTALL}
"""Runtime that need not be installed -> what installs it, a sentence; "" where it is there."""

DEFAULT_RUNTIME = "onnxruntime"
"""What runs models whose target does not run on this CPU."""


def missing(runtime: str) -> str:
    """Say how to install what runs the results of a target; "" where it is there, or nothing runs them here."""
    return MISSING[runtime]() if runtime in MISSING else ""
