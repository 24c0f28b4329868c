"""ONNX Runtime on CPUs as a target: UINT8 activations whose range may lie anywhere around 0.0, biases as INT32.

Its optimizer takes an operator with a DQ before every input and a Q behind the result, and puts one that computes on
integers in its place. Source: ONNX Runtime, core/optimizer/qdq_transformer (selectors_actions, qdq_propagation).
"""

from __future__ import annotations

from calibrators.qtypes import INT8, UINT8
from calibrators.scheme import PerChannel, Scheme
from qdq_cli.config.forms import Cpu, FloatType, Form, WeightForm
from qdq_cli.placement.obstacles import ATTENTION, EVERYWHERE, RUINED, WIDE_RANGE
from qdq_cli.placement.target import Bias, Epilogue, Kernels, OperatorRule, OperatorTable, Target
from qdq_cli.targets.fusions import FusionPredictor
from qdq_cli.targets.onnxruntime.fusion import fuse
from qdq_cli.targets.onnxruntime.obstacles import FEW_BYTES

_PLAIN = OperatorRule()
_MOVING = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Expand",
    "Tile", "GatherElements", "Resize", "ReduceMax", "ReduceMin")  # fmt: skip
_BETWEEN = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid")

OPERATORS = OperatorTable(
    {
        "Conv": _PLAIN,
        **dict.fromkeys(("Gemm", "MatMul"), OperatorRule(writes_float=True)),
        **dict.fromkeys((*_BETWEEN, *_MOVING), _PLAIN),
        "Concat": OperatorRule(rescales=True),
        **dict.fromkeys(("Relu", "Clip"), OperatorRule(Epilogue.CLIP)),
    }
)
"""What its default session computes on integers."""

ONNXRUNTIME = Target(
    name="onnxruntime",
    title="ONNX Runtime",
    activations=Scheme(UINT8, symmetric=False),
    weights=Scheme(INT8, granularity=PerChannel(0)),
    operators=OPERATORS,
    obstacles=(*EVERYWHERE, ATTENTION, FEW_BYTES, WIDE_RANGE, RUINED),
    kernels=Kernels.READING_AND_WRITING,
    bias=Bias.INT32,
    weight_forms=(WeightForm.INT8, WeightForm.FP32),
    forms=(Form.PAIRS,),
    highest_opset=21,
    float_types=(FloatType.FP32,),
    fuse=fuse,
    predictor=FusionPredictor("ONNX Runtime", fuse, OPERATORS),
    integer_io=True,
    runtime="onnxruntime",
    processor=Cpu.VNNI,
)
