"""A second target in one file: what it takes to quantize for another runtime, here 8-bit kernels of ONNX Runtime.

Unsigned activations whose range may lie anywhere around 0.0, signed weights with one scale an output channel, biases
added as INT32, a table of operators that is shorter than TensorRT's, an obstacle of its own, and nobody who predicts
what becomes of a model.
"""

from __future__ import annotations

import onnx_ir as ir

from calibrators import INT8, UINT8, PerChannel, Scheme
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at
from qdq_cli.model.scales import element_count
from qdq_cli.placement.obstacles import ATTENTION, EVERYWHERE
from qdq_cli.placement.target import Bias, Epilogue, Obstacle, OperatorRule, OperatorTable, Target


def _is_small(node: ir.Node, config: PlanConfig) -> bool:
    """A weight of a few dozen numbers, as in a first layer that reads pictures: packing costs more than it saves."""
    weight = input_at(node, 1)
    return weight is not None and (element_count(weight) or _FEW) < _FEW


_FEW = 200


OPERATORS = OperatorTable(
    {
        **dict.fromkeys(("Conv", "Gemm", "MatMul", "Add", "GlobalAveragePool"), OperatorRule()),
        **dict.fromkeys(("Relu", "Clip"), OperatorRule(Epilogue.CLIP)),
        **dict.fromkeys(("MaxPool", "Reshape", "Flatten", "Transpose", "Concat"), OperatorRule()),
    }
)

TOY = Target(
    name="toy",
    title="the toy runtime",
    activations=Scheme(UINT8, symmetric=False),
    weights=Scheme(INT8, granularity=PerChannel(0)),
    operators=OPERATORS,
    obstacles=(*EVERYWHERE, ATTENTION, Obstacle("SMALL", _is_small, "its weight is too small for an integer kernel")),
    bias=Bias.INT32,
    weight_forms=(WeightForm.FP32, WeightForm.INT8),
    forms=(Form.PAIRS,),
    highest_opset=21,
)
