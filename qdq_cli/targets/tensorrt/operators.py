"""What TensorRT does with each operator: the table that the planner and the simulator read."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import constant_ints, input_at, ints_attribute, string_attribute
from qdq_cli.placement.target import Epilogue, OperatorRule, OperatorTable


def _pads_more_than_rows_and_columns(node: ir.Node) -> str:
    """Padding with zeros of the two innermost dimensions moves; anything else stays a float Slice (section 2.3)."""
    mode = string_attribute(node, "mode", "constant")
    if mode != "constant":
        return f"its mode is {mode}"
    if input_at(node, 3) is not None:
        return "it names the padded axes in an operand"
    # Operand since opset 11, attribute before.
    pads = constant_ints(node, 1) if input_at(node, 1) is not None else ints_attribute(node, "pads")
    if pads is None:
        return "its pads are computed at run time"
    dims = len(pads) // 2
    outer = [pads[i] or pads[i + dims] for i in range(max(dims - 2, 0))]
    return "it pads an outer dimension" if any(outer) else ""


_PLAIN = OperatorRule()
_CLIP = OperatorRule(Epilogue.CLIP)
_ACTIVATION = OperatorRule(Epilogue.ACTIVATION)
_THIN = OperatorRule(thin=True)

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTIZED = ("AveragePool", "GlobalAveragePool", "ReduceMean", "Add")
_CLIPS = ("Relu", "Clip")
_ACTIVATIONS = (
    "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Swish", "Mish", "Gelu", "Elu", "Selu",
    "Celu", "Softplus", "Softsign", "ThresholdedRelu", "Erf",
)  # fmt: skip
_COMMUTING = (
    "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "Slice", "Split", "Concat", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Resize", "Upsample", "Identity",
    "Dropout",
)  # fmt: skip
_GATHERING = ("Gather", "GatherND", "GatherElements")

OPERATORS = OperatorTable(
    {
        **dict.fromkeys((*_WEIGHTED, *_QUANTIZED, *_COMMUTING), _PLAIN),
        **dict.fromkeys(_CLIPS, _CLIP),
        **dict.fromkeys(_ACTIVATIONS, _ACTIVATION),
        **dict.fromkeys(_GATHERING, _THIN),
        "Pad": OperatorRule(obstacle=_pads_more_than_rows_and_columns),
    }
)
"""Operators with an INT8 kernel (rules, section 2.1 and 2.2), those that fuse (section 4.4) and commute (2.3)."""
