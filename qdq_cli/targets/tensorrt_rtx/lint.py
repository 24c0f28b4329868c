"""The lint of TensorRT for RTX: TensorRT's, without what it reads all the same, and with what it alone refuses."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.config.forms import Gpu
from qdq_cli.targets.tensorrt.findings import Finding, finding
from qdq_cli.targets.tensorrt.lint import lint as lint_tensorrt
from qdq_cli.targets.tensorrt.lint_importer import findings_of
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import Simulation
from qdq_cli.targets.tensorrt_rtx.limits import places

COMPUTED_IN_FLOAT = frozenset({"E_ACT_PER_AXIS", "E_AXIS_REDUCTION"})
"""Errors for TensorRT that TensorRT for RTX 1.7 reads: it computes such an operator in float, which is predicted."""

_MULTIPLIED = ("Gemm", "MatMul")


def lint(model: ir.Model, plugins: Collection[str] = ()) -> tuple[Finding, ...]:
    """Check a model; the parameters and the result are those of TensorRT's lint."""
    kept = (entry for entry in lint_tensorrt(model, plugins) if entry.code not in COMPUTED_IN_FLOAT)
    own = (entry for place in places(model.graph, plugins) for entry in findings_of(place))
    return (*kept, *own)


def lint_gpu(simulation: Simulation, gpu: Gpu | None) -> Iterator[Finding]:
    """Yield E_GPU_TYPE for matrix products in FP32 on Turing, which TensorRT for RTX 1.7 refuses to build."""
    names = [
        layer.name for layer in simulation.layers if layer.op_type in _MULTIPLIED and layer.precision is Precision.FP32
    ]
    if gpu is Gpu.SM75 and names:
        found = f"FP32 in {len(names)} matrix products, which TensorRT for RTX does not build for sm75 (Turing)"
        yield replace(finding("E_GPU_TYPE", names[0], "", found), fix="Write them in FP16: --float-type fp16.")
