"""Which operators TensorRT up to 10 could run in INT8 without Q/DQ, by the ranges of a calibration table.

In implicit quantization, which TensorRT 11 no longer has, every tensor could have a range, and the builder was free to
run an operator in INT8 where it had a kernel for it and all that it reads and writes had ranges. It did so where that
was faster, so this says what may have run in INT8, not what did.

Sources: onnx-tensorrt, docs/operators.md of releases 8.0 to 8.6 (operators with INT8 among their types); rules,
sections 2.2 (pointwise kernels) and 6.4 (what lacks a range falls back).
"""

from __future__ import annotations

from collections.abc import Container

import onnx_ir as ir

from qdq_cli.model.nodes import ONNX_DOMAIN, is_activation, is_float

_LISTED = (
    "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Elu", "Gather", "GatherElements", "GatherND", "Gemm",
    "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "LpPool",
    "MaxPool", "PRelu", "Pad", "ParametricSoftplus", "Relu", "Reshape", "ReverseSequence", "Round", "ScaledTanh",
    "Scatter", "ScatterElements", "ScatterND", "Selu", "Sigmoid", "Sign", "Slice", "Softplus", "Softsign", "Squeeze",
    "Tanh", "ThresholdedRelu", "Transpose", "Trilu", "Unsqueeze",
)  # fmt: skip
"""Operators whose row in the importer's own table has INT8, in some release from 8.0 to 8.6."""

_SEEN = (
    "Add", "BatchNormalization", "DepthToSpace", "Div", "Expand", "Flatten", "MatMul", "Max", "Min", "Mul", "ReduceMax",
    "ReduceMean", "ReduceMin", "Resize", "SpaceToDepth", "Split", "Sub", "Tile", "Upsample",
)  # fmt: skip
"""Operators that are imported as layers with INT8 kernels, although their rows do not say so (rules, section 2.2)."""

WITH_KERNEL = frozenset((*_LISTED, *_SEEN))
"""Operators that implicit quantization could run in INT8."""


def may_have_run_quantized(node: ir.Node, ranges: Container[str]) -> bool:
    """Say whether implicit quantization could run a node in INT8.

    Args:
        node: A node of a float model.
        ranges: Names of the tensors that the calibration table has a range for.
    """
    if node.domain != ONNX_DOMAIN or node.op_type not in WITH_KERNEL:
        return False
    reads = [value for value in node.inputs if value is not None and is_activation(value)]
    writes = [value for value in node.outputs if is_float(value)]
    if not reads or not writes:
        return False
    return all(value.name in ranges for value in (*reads, *writes))
