"""What each target of TensorRT's family has to say of a model, by the target's name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from qdq_cli.config.forms import Gpu
from qdq_cli.targets.tensorrt import gpus, lint
from qdq_cli.targets.tensorrt.findings import Finding
from qdq_cli.targets.tensorrt.simulation import Simulation
from qdq_cli.targets.tensorrt_rtx import lint as lint_rtx
from qdq_cli.targets.tensorrt_rtx.table import TENSORRT_RTX

_LINTS = {TENSORRT_RTX.name: lint_rtx.lint}
"""Target -> a lint of its own."""


def lint_of(target: str, model: ir.Model, plugins: Collection[str] = ()) -> tuple[Finding, ...]:
    """Check a model for a target; see `tensorrt.lint.lint`."""
    return _LINTS.get(target, lint.lint)(model, plugins)


def lint_gpu_of(target: str, simulation: Simulation, gpu: Gpu | None) -> Iterator[Finding]:
    """Yield a finding for each type that an engine needs and a GPU lacks; see `tensorrt.gpus.lint_gpu`."""
    yield from gpus.lint_gpu(simulation, gpu)
    if target == TENSORRT_RTX.name:
        yield from lint_rtx.lint_gpu(simulation, gpu)
