"""Tell a model that some tool quantized already from a float one."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from qdq_cli.model.nodes import every_node
from qdq_cli.process.errors import ModelError

QUANTIZING = (
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinear", "QGemm", "QAttention"),
    *("TRT_FP4", "TRT_MXFP8", "TRT_FP8", "TRT_INT4"),
)
"""How the operators begin that make, take or compute on codes."""

INTEGER_SUFFIX = "Integer"
"""How the others end: ConvInteger, MatMulInteger."""


def holds_quantization(model: ir.Model) -> bool:
    """Say whether a model holds Q/DQ or other quantized operators, in its bodies and local functions too."""
    places: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    return any(_is_quantizing(node) for place in places for node in every_node(place))


def _is_quantizing(node: ir.Node) -> bool:
    return node.op_type.startswith(QUANTIZING) or node.op_type.endswith(INTEGER_SUFFIX)


def already_quantized(model: Path) -> ModelError:
    """The error for a model that is quantized already, where a float one is needed."""
    return ModelError(
        f"{model} is quantized already, so there is nothing to quantize or to calibrate.",
        "Give the float model it was made from; qdq inspect says what TensorRT makes of this one.",
    )
