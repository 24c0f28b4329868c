"""OpenVINO on CPUs as a target: symmetric INT8 activations, a DQ before what a kernel reads.

Its low precision transformations move the scales of DQ behind operators, until one on integers and its Q remain. A
scale moves over all of these; a zero point does not move over an Add, which then runs in floats between two
conversions: a model with UINT8 around zero points was seen with 36 operators in floats where this table leaves 18.

Source: OpenVINO, src/common/low_precision_transformations; each row was seen in the execution graph of OpenVINO 2026.4
(tests/targets/test_openvino.py).
"""

from __future__ import annotations

import onnx_ir as ir

from calibrators.qtypes import INT8
from calibrators.scheme import PerChannel, Scheme
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.placement.obstacles import ATTENTION, EVERYWHERE, RUINED, WIDE_RANGE
from qdq_cli.placement.prediction import Fusions
from qdq_cli.placement.target import Epilogue, OperatorRule, OperatorTable, Target
from qdq_cli.targets.fusions import FusionPredictor
from qdq_cli.targets.openvino.fusion import fuse

_PLAIN = OperatorRule()
_QUANTIZED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool", "ReduceMean")
_COMMUTING = (
    "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze",
    "Slice", "Split", "Concat", "DepthToSpace", "SpaceToDepth", "Resize", "Gather", "Identity", "Dropout",
)  # fmt: skip

_ACTIVATIONS = (
    "LeakyRelu", "PRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Swish", "Mish", "Gelu", "Elu", "Softplus",
    "Erf",
)  # fmt: skip

OPERATORS = OperatorTable(
    {
        **dict.fromkeys((*_QUANTIZED, *_COMMUTING), _PLAIN),
        **dict.fromkeys(("Relu", "Clip"), OperatorRule(Epilogue.CLIP)),
        **dict.fromkeys(_ACTIVATIONS, OperatorRule(Epilogue.ACTIVATION)),
    }
)
"""What runs on integers there, what ends a kernel that does, and what lets codes through."""


def _fuse(model: ir.Model) -> Fusions:
    return fuse(model, OPERATORS)


OPENVINO = Target(
    name="openvino",
    title="OpenVINO",
    activations=Scheme(INT8),
    weights=Scheme(INT8, granularity=PerChannel(0)),
    operators=OPERATORS,
    obstacles=(*EVERYWHERE, ATTENTION, WIDE_RANGE, RUINED),
    weight_forms=(WeightForm.INT8, WeightForm.FP32),
    forms=(Form.PAIRS,),
    highest_opset=21,
    fuse=_fuse,
    predictor=FusionPredictor("OpenVINO", _fuse, OPERATORS, bodies=False),
    integer_io=True,
    runtime="openvino",
    bodies=False,
)
