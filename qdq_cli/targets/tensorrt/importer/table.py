"""The table of TensorRT's importer: one row an operator of ONNX, with the releases that read it and what they refuse.

Sources: the operator page of onnx-tensorrt (docs/operators.md) in the branches 8.4-GA, 8.6-GA, 9.0 to 9.3, 10.0-GA and
10.1-GA and as of TensorRT 10.15, its changelog (docs/Changelog.md), and the checks of its importers in these branches.
What differs in TensorRT 11 was tried with TensorRT for RTX 1.7, whose parser is of the same family.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from qdq_cli.targets.tensorrt.importer.limits import LIMITS
from qdq_cli.targets.tensorrt.importer.records import ALWAYS, Row, Types, Version

HALVES: Types = {ir.DataType.FLOAT: ALWAYS, ir.DataType.FLOAT16: ALWAYS}
FLOATS: Types = {**HALVES, ir.DataType.BFLOAT16: (9, 0)}
INTEGERS: Types = {ir.DataType.INT32: ALWAYS, ir.DataType.INT64: ALWAYS}
"""INT64 is read as INT32 up to 8.6."""
NUMBERS: Types = {**FLOATS, **INTEGERS}
BOOLEANS: Types = {ir.DataType.BOOL: ALWAYS}
ANY: Types = {**NUMBERS, **BOOLEANS}
BYTES: Types = {ir.DataType.UINT8: (8, 5)}
"""UINT8, which is for inputs and outputs of the network."""

_ONLY_FLOAT: Types = {ir.DataType.FLOAT: ALWAYS}
_INTEGERS_SINCE_8_6: Types = {**FLOATS, ir.DataType.INT32: (8, 6), ir.DataType.INT64: (8, 6)}
_BOOLEANS_SINCE_8_5: Types = {**NUMBERS, ir.DataType.BOOL: (8, 5)}
_INTEGERS_SINCE_10_12: Types = {**FLOATS, ir.DataType.INT32: (10, 12), ir.DataType.INT64: (10, 12)}

_BY_TYPES: tuple[tuple[Types, str], ...] = (
    (
        FLOATS,
        "Acos Acosh Asin Asinh Atan Atanh Attention AveragePool BatchNormalization Ceil Conv ConvTranspose Cos Cosh "
        "Dropout Einsum Elu Erf Exp Floor Gelu Gemm GlobalAveragePool GlobalMaxPool GridSample GroupNormalization "
        "HardSigmoid Hardmax ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Log "
        "LogSoftmax MatMul MaxPool Mean MeanVarianceNormalization PRelu ParametricSoftplus RMSNormalization RNN "
        "Reciprocal ReduceL2 ReduceLogSum ReduceLogSumExp Resize RotaryEmbedding Round ScaledTanh Scan Selu Sigmoid "
        "Sin Sinh Softmax Softplus Softsign Sqrt Sum Swish Tan Tanh TensorScatter ThresholdedRelu Upsample",
    ),
    (HALVES, "DeformConv GRU GlobalLpPool HardSwish LpNormalization LpPool Mish RoiAlign"),
    (_ONLY_FLOAT, "Celu STFT"),
    (
        NUMBERS,
        "Abs Add Clip CumSum DepthToSpace Div Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul Neg ReduceL1 "
        "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Shrink Sign SpaceToDepth Sub",
    ),
    (
        ANY,
        "Concat Constant Expand EyeLike Flatten NonZero OneHot Pad Reshape ReverseSequence Scatter ScatterElements "
        "ScatterND Slice Split Squeeze Tile Transpose Trilu Unsqueeze",
    ),
    (_BOOLEANS_SINCE_8_5, "Gather GatherElements GatherND Where"),
    (_INTEGERS_SINCE_8_6, "ArgMax ArgMin TopK"),
    (_INTEGERS_SINCE_10_12, "Pow"),
    ({**FLOATS, ir.DataType.INT64: ALWAYS}, "Relu"),
    ({**_ONLY_FLOAT, **INTEGERS}, "Range"),
    ({**ANY, **BYTES}, "Cast CastLike Equal Identity Shape Size"),
    (BOOLEANS, "And Not Or Xor"),
    (HALVES, "BlackmanWindow HammingWindow HannWindow RandomNormal RandomNormalLike RandomUniform RandomUniformLike"),
    (HALVES, "NonMaxSuppression"),
    ({}, "ConstantOfShape DequantizeLinear If Loop QuantizeLinear"),
)
"""Element types of the data -> the operators that take them."""

_DATA: Mapping[str, tuple[int, ...]] = {
    "Where": (1, 2),
    "OneHot": (2,),
    "NonMaxSuppression": (0, 1),
    "Scan": (),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (-1,)),
    **dict.fromkeys(("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), (-1,)),
}
"""Operator -> the slots of its data, where that is not the first input."""

_SINCE: Mapping[str, Version] = {
    **dict.fromkeys(
        ("GridSample", "MeanVarianceNormalization", "Mod", "NonZero", "OneHot", "RoiAlign", "Trilu"), (8, 5)
    ),
    **dict.fromkeys(("RandomNormal", "RandomNormalLike"), (8, 5)),
    **dict.fromkeys(("GroupNormalization", "IsInf", "LayerNormalization"), (8, 6)),
    "CastLike": (9, 1),
    "Hardmax": (9, 2),
    **dict.fromkeys(("Gelu", "Mish"), (10, 0)),
    "DeformConv": (10, 1),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (10, 4)),
    "STFT": (10, 5),
    "Attention": (10, 14),
    **dict.fromkeys(("RMSNormalization", "RotaryEmbedding", "TensorScatter"), (10, 15)),
    "Swish": (11, 0),
}
"""Operator -> the first release that reads it, where that is later than 8.4."""

_QDQ = "Export in the Q/DQ format (ONNX Runtime: QuantFormat.QDQ), not with integer operators."
_LOSS = "It belongs to training: export the network for inference."
_TEXT = "TensorRT has tensors of numbers alone: prepare text outside of the model."
_LISTS = "TensorRT has no sequences or optional values: export the model with plain tensors."
_WITHOUT = "Export the model without it, or write a plugin of its name and say so with --plugin."
_POSITIONS = "`qdq fix` writes it with the MaxPool it belongs to, where sizes are known; else export with a Resize."
_REGIONS = "Export the network with RoiAlign."
_BITS = "Compute it outside of the model, or with arithmetic on INT32."

_NEVER: tuple[tuple[str, str], ...] = (
    (_QDQ, "ConvInteger DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul"),
    (_LOSS, "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss"),
    (_TEXT, "RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer ImageDecoder"),
    (
        _LISTS,
        "ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt SequenceConstruct SequenceEmpty "
        "SequenceErase SequenceInsert SequenceLength SequenceMap SplitToSequence",
    ),
    (_POSITIONS, "MaxUnpool"),
    (_REGIONS, "MaxRoiPool"),
    (_BITS, "BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BitCast"),
    (
        _WITHOUT,
        "AffineGrid Bernoulli CausalConvWithState CenterCropPad Col2Im Compress CumProd DFT Det "
        "LinearAttention MelWeightMatrix Multinomial SwiGLU Unique",
    ),
)
"""What to do instead -> the operators that no release reads."""


def _read() -> dict[str, Row]:
    return {
        name: Row(_SINCE.get(name, ALWAYS), types, LIMITS.get(name, ()), _DATA.get(name, (0,)), _WITHOUT)
        for types, names in _BY_TYPES
        for name in names.split()
    }


TABLE: Mapping[str, Row] = {
    **_read(),
    **{name: Row(None, way_out=way_out) for way_out, names in _NEVER for name in names.split()},
}
"""Operator of ONNX's default domain -> what the importer makes of it. One that is missing is read by no release."""
