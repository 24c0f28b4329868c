"""A valid model for each operator of ONNX that an importer may be asked about: one node, in a form that is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF, BF16, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE
INT8, UINT8, INT32, INT64, BOOL = (
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)
T = -1
"""Stands for the type that the model is made for."""

Input = tuple[int, tuple[int, ...]] | np.ndarray | None
"""A graph input (type, shape), a constant, or nothing."""

PICTURE = (1, 4, 8, 8)
X: Input = (T, PICTURE)


@dataclass(frozen=True)
class Form:
    """How one node stands in a model: inputs in order, attributes, how many outputs."""

    inputs: Sequence[Input] = (X,)
    attributes: Mapping[str, object] = field(default_factory=dict)
    outputs: int = 1
    data: int = FLOAT
    """The type that is right for T."""


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def weights(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def form(*inputs: Input, outputs: int = 1, data: int = FLOAT, **attributes: object) -> Form:
    return Form(inputs or (X,), attributes, outputs, data)


def words(text: str) -> list[str]:
    return text.split()


_UNARY = words(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish "
    "Hardmax Identity IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization MeanVarianceNormalization Mish Neg "
    "NonZero Reciprocal Relu Round Selu Shape Shrink Sigmoid Sign Sin Sinh Size Softmax Softplus Softsign "
    "Sqrt Tan Tanh ThresholdedRelu Transpose ArgMax ArgMin Flatten GlobalAveragePool GlobalLpPool "
    "GlobalMaxPool Dropout Clip Trilu RandomNormalLike RandomUniformLike Bernoulli Swish Unique Det"
)
_BINARY = words("Add Sub Mul Div Max Min Mean Sum Greater GreaterOrEqual Less LessOrEqual Equal Pow PRelu")
_REDUCE = words("L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare")

FORMS: dict[str, Form] = {
    **{name: form() for name in _UNARY},
    **{name: form(X, X) for name in _BINARY},
    **{f"Reduce{name}": form(X, ints(1)) for name in _REDUCE},
    **{name: form(X, X, data=BOOL) for name in ("And", "Or", "Xor")},
    **{name: form(X, X, data=INT32) for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")},
    **{name: form(np.int64(8), outputs=1, data=INT64) for name in ("BlackmanWindow", "HammingWindow", "HannWindow")},
    "Not": form(data=BOOL),
    "BitwiseNot": form(data=INT32),
    "BitShift": form((UINT8, PICTURE), (UINT8, PICTURE), direction="LEFT"),
    "Mod": form(X, X, data=INT32),
    "Det": form((T, (4, 4))),
    "AffineGrid": form((T, (1, 2, 3)), ints(1, 4, 8, 8)),
    "Attention": form(*[(T, (1, 4, 8, 16))] * 3),
    "AveragePool": form(kernel_shape=[2, 2]),
    "BatchNormalization": form(X, *[(T, (4,))] * 4),
    "Cast": form(to=HALF),
    "CastLike": form(X, (HALF, (1,))),
    "CenterCropPad": form(X, ints(1, 4, 4, 4)),
    "Col2Im": form((T, (1, 16, 16)), ints(8, 8), ints(2, 2), strides=[2, 2]),
    "Compress": form((T, (8,)), (BOOL, (8,))),
    "Concat": form(X, X, axis=1),
    "ConstantOfShape": form(ints(2, 3), data=INT64),
    "Conv": form(X, (T, (4, 4, 3, 3))),
    "ConvInteger": form((INT8, PICTURE), (INT8, (4, 4, 3, 3))),
    "ConvTranspose": form(X, (T, (4, 4, 3, 3))),
    "CumSum": form(X, np.int64(1)),
    "DFT": form((T, (1, 8, 1))),
    "DeformConv": form(X, (T, (4, 4, 3, 3)), (T, (1, 18, 6, 6))),
    "DepthToSpace": form(blocksize=2),
    "DynamicQuantizeLinear": form(outputs=3),
    "Einsum": form((T, (2, 3)), (T, (3, 4)), equation="ij,jk->ik"),
    "Expand": form((T, (1, 4)), ints(3, 4)),
    "EyeLike": form((T, (4, 4)), dtype=FLOAT),
    "Gather": form(X, ints(0)),
    "GatherElements": form((T, (4, 4)), (INT64, (4, 4))),
    "GatherND": form((T, (4, 4)), (INT64, (4, 1))),
    "Gemm": form((T, (4, 8)), (T, (8, 4))),
    "GridSample": form(X, (T, (1, 8, 8, 2))),
    "GroupNormalization": form(X, (T, (4,)), (T, (4,)), num_groups=2),
    "GRU": form((T, (5, 1, 4)), (T, (1, 9, 4)), (T, (1, 9, 3)), hidden_size=3),
    "ImageDecoder": form((UINT8, (64,))),
    "InstanceNormalization": form(X, (T, (4,)), (T, (4,))),
    "LayerNormalization": form((T, (2, 8)), (T, (8,)), (T, (8,))),
    "LRN": form(size=3),
    "LSTM": form((T, (5, 1, 4)), (T, (1, 12, 4)), (T, (1, 12, 3)), hidden_size=3),
    "LpPool": form(kernel_shape=[2, 2]),
    "MatMul": form((T, (4, 8)), (T, (8, 4))),
    "MatMulInteger": form((INT8, (4, 8)), (INT8, (8, 4))),
    "MaxPool": form(kernel_shape=[2, 2]),
    "MaxRoiPool": form(X, (T, (1, 5)), pooled_shape=[2, 2]),
    "MaxUnpool": form((T, (1, 1, 2, 2)), (INT64, (1, 1, 2, 2)), kernel_shape=[2, 2], strides=[2, 2]),
    "MelWeightMatrix": form(np.int64(8), np.int64(16), np.int64(8000), np.float32(0), np.float32(4000), data=INT64),
    "Multinomial": form((T, (1, 4)), sample_size=2),
    "NegativeLogLikelihoodLoss": form((T, (2, 4)), (INT64, (2,))),
    "NonMaxSuppression": form((FLOAT, (1, 6, 4)), (FLOAT, (1, 1, 6)), ints(3), floats(0.5), floats(0.1)),
    "OneHot": form((INT64, (4,)), np.int64(3), (T, (2,))),
    "Pad": form(X, ints(0, 0, 1, 1, 0, 0, 1, 1)),
    "QLinearConv": form(
        (INT8, PICTURE), np.float32(1), np.int8(0), np.ones((4, 4, 3, 3), np.int8), np.float32(1), np.int8(0),
        np.float32(1), np.int8(0),
    ),
    "QLinearMatMul": form(
        (INT8, (4, 8)), np.float32(1), np.int8(0), (INT8, (8, 4)), np.float32(1), np.int8(0), np.float32(1), np.int8(0)
    ),
    "QuantizeLinear": form(X, np.float32(0.1), np.int8(0)),
    "DequantizeLinear": form(np.ones((4, 4), np.int8), np.float32(0.1), np.int8(0)),
    "RandomNormal": Form((), {"shape": [2, 3]}),
    "RandomUniform": Form((), {"shape": [2, 3]}),
    "Range": form(np.int64(0), np.int64(8), np.int64(1), data=INT64),
    "Reshape": form(X, ints(4, 64)),
    "Resize": form(X, None, floats(1, 1, 2, 2), mode="linear"),
    "ReverseSequence": form((T, (5, 2, 3)), (INT64, (2,))),
    "RMSNormalization": form((T, (2, 8)), (T, (8,))),
    "RNN": form((T, (5, 1, 4)), (T, (1, 3, 4)), (T, (1, 3, 3)), hidden_size=3),
    "RoiAlign": form(X, (T, (2, 4)), (INT64, (2,)), output_height=2, output_width=2),
    "RotaryEmbedding": form((T, (1, 4, 8, 16)), (T, (32, 8)), (T, (32, 8)), (INT64, (1, 8))),
    "STFT": form((T, (1, 64, 1)), np.int64(8), weights(16)),
    "ScatterElements": form((T, (4, 4)), (INT64, (2, 4)), (T, (2, 4))),
    "ScatterND": form((T, (4, 4)), (INT64, (2, 1)), (T, (2, 4))),
    "Slice": form(X, ints(0), ints(2), ints(1)),
    "SoftmaxCrossEntropyLoss": form((T, (2, 4)), (INT64, (2,))),
    "SpaceToDepth": form(blocksize=2),
    "Split": form(outputs=2, axis=1),
    "SplitToSequence": form(),
    "Squeeze": form((T, (1, 4)), ints(0)),
    "TensorScatter": form((T, (1, 2, 8, 4)), (T, (1, 2, 1, 4)), (INT64, (1,))),
    "TfIdfVectorizer": form(
        (T, (4,)), mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0, ngram_counts=[0],
        ngram_indexes=[0, 1], pool_int64s=[2, 3], data=INT64,
    ),
    "Tile": form(X, ints(1, 1, 2, 2)),
    "TopK": form((T, (2, 8)), ints(3), outputs=2),
    "Unsqueeze": form(X, ints(0)),
    "Where": form((BOOL, PICTURE), X, X),
    "CumProd": form(X, np.int64(1)),
    "BitCast": form(data=INT32, to=FLOAT),
    "Unique": form((T, (8,))),
}  # fmt: skip

OPSETS = {
    "GroupNormalization": 21,
    "Attention": 23,
    "TensorScatter": 24,
    "CumProd": 26,
    "BitCast": 26,
    "AffineGrid": 20,
}
OPSETS |= dict.fromkeys(("Gelu", "DeformConv", "ImageDecoder", "RegexFullMatch", "StringConcat", "StringSplit"), 20)
OPSETS |= dict.fromkeys(("Mish", "CenterCropPad", "Col2Im", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"), 18)
OPSETS |= dict.fromkeys(("RMSNormalization", "RotaryEmbedding", "Swish"), 24)
OPSETS |= {f"Reduce{name}": 18 for name in _REDUCE}
"""Operator -> the opset its form is written in, where that is not 17."""


def one_node(
    op_type: str,
    shape: Form | None = None,
    *,
    data: int | None = None,
    opset: int | None = None,
    domain: str = "",
) -> onnx.ModelProto:
    """Make a model of one node named `odd`, its element types and shapes inferred where ONNX can.

    Args:
        op_type: The operator.
        shape: Its form; None for the one that is allowed.
        data: What T stands for; None for the type that is right.
        opset: Opset of the model; None for the operator's own.
        domain: Domain of the operator.
    """
    shape = shape or FORMS[op_type]
    data = shape.data if data is None else data
    inputs, initializers, names = [], [], []
    for number, entry in enumerate(shape.inputs):
        name = "" if entry is None else f"x{number}"
        names.append(name)
        if isinstance(entry, tuple):
            kind = data if entry[0] == T else entry[0]
            inputs.append(helper.make_tensor_value_info(name, kind, entry[1]))
        elif entry is not None:
            array = np.asarray(entry)
            initializers.append(numpy_helper.from_array(array, name))
    outputs = [f"y{number}" for number in range(shape.outputs)]
    node = helper.make_node(op_type, names, outputs, name="odd", domain=domain, **shape.attributes)
    opset = min(opset or OPSETS.get(op_type, 17), onnx.defs.onnx_opset_version())
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name=name) for name in outputs], initializers)
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for value in inferred.graph.output:
        if value.type.WhichOneof("value") is None:
            value.type.tensor_type.elem_type = data
    return inferred
