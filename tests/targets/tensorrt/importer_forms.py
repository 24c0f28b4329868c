"""One node for each form of an operator that some importer refuses, and for forms beside them that 11 reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.targets.tensorrt.importer_models import (
    BOOL,
    FLOAT,
    INT8,
    INT32,
    INT64,
    PICTURE,
    Form,
    T,
    X,
    floats,
    form,
    ints,
    weights,
)

CUBE = (T, (1, 4, 6, 6, 6))
WIDE = (T, (1, 4, 6, 6, 6, 6))
AXES = (INT64, (1,))
NUMBER = (INT64, ())
HEADS = (T, (1, 4, 8, 16))
SEQUENCE = (T, (5, 1, 4))
SQUARE = (T, (4, 4))
CACHE = (T, (1, 2, 8, 4))
CHANNELS = (T, (4,))


def recurrent(
    gates: int, directions: int = 1, sequence: tuple[int, tuple[int, ...]] = SEQUENCE, **more: object
) -> Form:
    """A recurrent node of three hidden units."""
    sizes = (directions, 3 * gates)
    both = {"direction": "bidirectional"} if directions == 2 else {}
    return form(sequence, (T, (*sizes, 4)), (T, (*sizes, 3)), hidden_size=3, **both, **more)


def resize(*more: object, x: object = X, scales: object = None, **attributes: object) -> Form:
    return form(x, None, floats(1, 1, 2, 2) if scales is None else scales, *more, **{"mode": "linear", **attributes})


DIRECTIONS = "whose directions have different activations"
UNKNOWN = "with an activation no layer computes"
LAYOUT = "with layout 1, which is read as layout 0"
TURNED = (T, (2, 5, 4))
NO_AXES = "whose axes are no constant"
DILATED, MANY = "with dilations", "on more than three spatial dimensions"
NORM = "by another norm than L1 and L2"

_BOXES = ((FLOAT, (1, 6, 4)), (FLOAT, (1, 1, 6)))

REFUSED: Mapping[str, Mapping[str, tuple[Form, int]]] = {
    "Attention": {
        "with more than one output": (form(HEADS, HEADS, HEADS, outputs=3), 23),
        "with keys and values of the past": (form(HEADS, HEADS, HEADS, None, HEADS, HEADS), 23),
        "with lengths of keys and values": (form(HEADS, HEADS, HEADS, None, None, None, AXES), 24),
        "with softcap": (form(HEADS, HEADS, HEADS, softcap=2.0), 23),
        "with a precision for its Softmax": (form(HEADS, HEADS, HEADS, softmax_precision=1), 23),
        "that is causal and has a mask": (form(HEADS, HEADS, HEADS, (T, (1, 4, 8, 8)), is_causal=1), 23),
        "whose keys and values differ in shape": (form(HEADS, HEADS, (T, (1, 4, 8, 8))), 23),
        "of three dimensions": (form(*[(T, (1, 8, 64))] * 3, q_num_heads=4, kv_num_heads=4), 23),
        "whose mask has not four dimensions": (form(HEADS, HEADS, HEADS, (T, (8, 8))), 23),
    },
    "AveragePool": {
        DILATED: (form(kernel_shape=[2, 2], dilations=[2, 2]), 19),
        MANY: (form(WIDE, kernel_shape=[2] * 4), 17),
    },
    "BatchNormalization": {"in training mode": (form(X, *[CHANNELS] * 4, outputs=3, training_mode=1), 17)},
    **{
        name: {
            "to FP8, FP4 or INT4": (form(*to, **attribute), 19),
            "from FP8, FP4 or INT4": (form((TensorProto.FLOAT8E4M3FN, (4,)), *(to[1:] and [X]), **plain), 19),
        }
        for name, to, attribute, plain in (
            ("Cast", (X,), {"to": TensorProto.FLOAT8E4M3FN}, {"to": FLOAT}),
            ("CastLike", (X, (TensorProto.FLOAT8E4M3FN, (1,))), {}, {}),
        )
    },
    "Clip": {"on INT8 by bounds that are computed": (form(X, (T, ()), (T, ()), data=INT8), 17)},
    "Conv": {
        "whose weights are computed": (form(X, (T, (4, 4, 3, 3))), 17),
        MANY: (form((T, (1, 4, 4, 4, 4, 4)), weights(4, 4, 1, 1, 1, 1)), 17),
    },
    "ConvTranspose": {
        "whose weights are computed": (form(X, (T, (4, 4, 3, 3))), 17),
        MANY: (form((T, (1, 4, 4, 4, 4, 4)), weights(4, 4, 1, 1, 1, 1)), 17),
    },
    "CumSum": {"whose axis is no constant": (form(X, NUMBER), 17)},
    "DeformConv": {
        "on more than two spatial dimensions": (form(CUBE, (T, (4, 4, 3, 3, 3)), (T, (1, 81, 4, 4, 4))), 19),
    },
    "Dropout": {"that drops, or may": (form(X, np.float32(0.5), np.bool_(True)), 17)},
    "Einsum": {
        "with capital letters": (form((T, (2, 3)), (T, (3, 4)), equation="Aj,jk->Ak"), 17),
        "on INT8": (form((T, (2, 3)), (T, (3, 4)), equation="ij,jk->ik", data=INT8), 17),
        "with an ellipsis, a diagonal or broadcasting": (form(SQUARE, equation="ii->i"), 17),
    },
    "EyeLike": {"of open dimensions": (form((T, ("n", "n"))), 17)},
    "GRU": {
        DIRECTIONS: (recurrent(3, 2, activations=["Sigmoid", "Tanh", "Relu", "Tanh"]), 17),
        UNKNOWN: (recurrent(3, activations=["Affine", "Tanh"], activation_alpha=[1.0], activation_beta=[0.0]), 17),
        LAYOUT: (recurrent(3, sequence=TURNED, layout=1), 17),
    },
    "GridSample": {"on five dimensions": (form(CUBE, (T, (1, 6, 6, 6, 3))), 20)},
    "GroupNormalization": {"with a scale for each channel": (form(X, CHANNELS, CHANNELS, num_groups=2), 21)},
    "Hardmax": {"along an open dimension": (form((T, (2, "n")), axis=1), 17)},
    "InstanceNormalization": {
        "whose scale or bias is no constant": (form(X, CHANNELS, CHANNELS), 17),
        "of a number of dimensions that is not 3 to 5": (form((T, (1, 4, 3, 3, 3, 3)), weights(4), weights(4)), 17),
    },
    "LRN": {"with a window that is even or above 15": (form(size=4), 17)},
    "LSTM": {
        DIRECTIONS: (recurrent(4, 2, activations=["Sigmoid", "Tanh", "Tanh", "Relu", "Tanh", "Tanh"]), 17),
        UNKNOWN: (recurrent(4, activations=["Sigmoid", "Affine", "Tanh"], activation_alpha=[1.0]), 17),
        LAYOUT: (recurrent(4, sequence=TURNED, layout=1), 17),
        "with input_forget": (recurrent(4, input_forget=1), 17),
    },
    "LayerNormalization": {"with more than one output": (form((T, (2, 8)), (T, (8,)), (T, (8,)), outputs=3), 17)},
    "LpNormalization": {NORM: (form(p=3), 17)},
    "LpPool": {
        DILATED: (form(kernel_shape=[2, 2], dilations=[2, 2]), 18),
        MANY: (form(WIDE, kernel_shape=[2] * 4), 17),
        NORM: (form(kernel_shape=[2, 2], p=3), 18),
    },
    "MatMul": {"of one vector by several matrices": (form((T, (3,)), (T, (2, 3, 4))), 17)},
    "MaxPool": {
        "with Indices": (form(outputs=2, kernel_shape=[2, 2]), 17),
        DILATED: (form(kernel_shape=[2, 2], dilations=[2, 2]), 17),
        MANY: (form(WIDE, kernel_shape=[2] * 4), 17),
    },
    "Mod": {"by floor on floats": (form(X, X), 17), "on INT8": (form(X, X, data=INT8), 17)},
    "NonMaxSuppression": {
        "whose limits are no constants": (form(*_BOXES, AXES, (FLOAT, (1,)), (FLOAT, (1,))), 17),
    },
    "OneHot": {
        "whose depth is no constant": (form((INT64, (4,)), NUMBER, (T, (2,))), 17),
        "whose depth is a float put in": (form((INT64, (4,)), (FLOAT, ()), (T, (2,))), 17),
    },
    "Pad": {
        NO_AXES: (form(X, ints(1, 1), None, AXES), 18),
        "in wrap mode": (form(X, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="wrap"), 19),
    },
    "RNN": {
        DIRECTIONS: (recurrent(1, 2, activations=["Tanh", "Relu"]), 17),
        UNKNOWN: (recurrent(1, activations=["Affine"], activation_alpha=[1.0]), 17),
        LAYOUT: (recurrent(1, sequence=TURNED, layout=1), 17),
    },
    **{
        name: {"of another type than FP32 and FP16": (Form(inputs, {**shape, "dtype": TensorProto.DOUBLE}), 17)}
        for names, inputs, shape in (
            (("RandomNormal", "RandomUniform"), (), {"shape": [2, 3]}),
            (("RandomNormalLike", "RandomUniformLike"), (X,), {}),
        )
        for name in names
    },
    "Range": {"of floats that are data": (form((T, ()), (T, ()), (T, ())), 17)},
    **{
        f"Reduce{name}": {NO_AXES: (form(X, AXES), 18)}
        for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    },
    "Resize": {
        "by a coordinate mode that is not known": (
            resize(coordinate_transformation_mode="half_pixel_symmetric"),
            19,
        ),
        "by tf_half_pixel_for_nn with another rounding": (
            form(
                X,
                floats(),
                floats(1, 1, 2, 2),
                mode="nearest",
                nearest_mode="floor",
                coordinate_transformation_mode="tf_half_pixel_for_nn",
            ),
            11,
        ),
        "with antialiasing": (resize(antialias=1), 18),
        "that keeps the aspect ratio": (
            form(X, None, None, ints(1, 4, 16, 16), keep_aspect_ratio_policy="not_larger"),
            18,
        ),
        "in cubic mode": (resize(mode="cubic"), 17),
        "of more dimensions at once than a layer has": (resize(x=CUBE, scales=floats(2, 2, 2, 2, 2)), 17),
        "by scales that are data": (resize(scales=(FLOAT, (4,))), 17),
    },
    "ReverseSequence": {"of open dimensions": (form((T, ("n", 2, 3)), (INT64, (2,))), 17)},
    "STFT": {
        "whose step is no constant": (form((T, (1, 64, 1)), NUMBER, weights(16)), 17),
        "whose window is no constant": (form((T, (1, 64, 1)), np.int64(8), (T, (16,))), 17),
        "of complex numbers": (form((T, (1, 64, 2)), np.int64(8), weights(16), onesided=0), 17),
    },
    "ScatterElements": {
        "with a reduction": (form(SQUARE, (INT64, (2, 4)), (T, (2, 4)), reduction="add"), 17),
    },
    "ScatterND": {
        "with a reduction": (form(SQUARE, (INT64, (2, 1)), (T, (2, 4)), reduction="add"), 17),
        "that names a reduction of none": (form(SQUARE, (INT64, (2, 1)), (T, (2, 4)), reduction="none"), 17),
    },
    "Slice": {NO_AXES: (form(X, ints(0), ints(2), AXES), 17)},
    "Split": {"whose last part is less than nothing": (form((T, (1, 5)), outputs=4, axis=1, num_outputs=4), 18)},
    "Squeeze": {NO_AXES: (form((T, (1, 4)), AXES), 17)},
    "TensorScatter": {
        "in circular mode": (form(CACHE, (T, (1, 2, 1, 4)), AXES, mode="circular"), 24),
        "of a number of dimensions that is not 4": (form((T, (1, 8, 4)), (T, (1, 1, 4)), AXES), 24),
        "along another axis than -2": (form(CACHE, (T, (1, 1, 8, 4)), AXES, axis=1), 24),
        "on INT8": (form(CACHE, (T, (1, 2, 1, 4)), AXES, data=INT8), 24),
    },
    "TopK": {
        "whose K is no constant": (form((T, (2, 8)), AXES, outputs=2), 17),
        "of 3840 elements or more": (form((T, (2, 5000)), ints(3840), outputs=2), 17),
    },
    "Unsqueeze": {NO_AXES: (form(X, AXES), 17)},
    "Upsample": {"by scales that are data": (form(X, (FLOAT, (4,)), mode="nearest"), 9)},
}
"""Operator -> form that is refused -> a node in it, and the opset it is written in."""

READ_BY_11: tuple[tuple[str, Form, int], ...] = (
    ("ArgMax", form(select_last_index=1), 17),
    ("Attention", form(HEADS, (T, (1, 2, 8, 16)), (T, (1, 2, 8, 16))), 23),
    ("Attention", form(HEADS, HEADS, HEADS, (T, (1, 4, 8, 8))), 23),
    ("Clip", form(X, (T, ()), (T, ())), 17),
    ("Conv", form((T, (1, 4, 8)), weights(4, 4, 3)), 17),
    ("Conv", form(X, weights(4, 4, 3, 3), pads=[0, 0, 1, 1], dilations=[2, 2]), 17),
    ("ConvTranspose", form(X, weights(4, 4, 3, 3), strides=[2, 2], output_padding=[1, 1], dilations=[2, 2]), 17),
    ("Dropout", form(X, outputs=2), 17),
    ("Gather", form(X, np.int64(0)), 17),
    ("LSTM", recurrent(4, clip=1.0), 17),
    ("LSTM", recurrent(4, 2), 17),
    ("MatMul", form((T, (2, 4, 3)), (T, (3,))), 17),
    ("MaxPool", form((T, (1, 4, 8)), kernel_shape=[2], ceil_mode=1), 17),
    ("Mod", form(X, X, fmod=1), 17),
    ("Pad", form(X, (INT64, (8,))), 17),
    ("Pad", form(X, ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"), 17),
    ("Pow", form((T, PICTURE), np.int64(2)), 17),
    ("RNN", form(SEQUENCE, (T, (1, 3, 4)), (T, (1, 3, 3)), None, (INT32, (1,)), hidden_size=3), 17),
    ("Range", form((T, ()), (T, ()), (T, ()), data=INT64), 17),
    ("Reshape", form(X, (INT64, (2,))), 17),
    ("Resize", resize(scales=floats(2, 2), axes=[2, 3]), 18),
    ("Resize", form(X, None, None, ints(16, 16), axes=[2, 3]), 18),
    ("Resize", resize(coordinate_transformation_mode="pytorch_half_pixel"), 17),
    ("Resize", resize(mode="cubic", exclude_outside=1), 17),
    ("Slice", form(X, ints(7), ints(-100), ints(2), ints(-1)), 17),
    ("Softmax", form(axis=1), 11),
    ("TopK", form((T, (2, 5000)), ints(3839), outputs=2, sorted=0), 17),
    ("Where", form((BOOL, PICTURE), X, X, data=BOOL), 17),
)
"""Forms that stand beside the refused ones, and that TensorRT 11 reads."""


def with_bodies(op_type: str, bodies: Mapping[str, onnx.GraphProto], *inputs: str, outputs: int = 1) -> onnx.ModelProto:
    """Make a model of one control-flow node named `odd`: x is [4], c a condition, n a number, t is true."""
    node = helper.make_node(op_type, inputs, [f"y{number}" for number in range(outputs)], name="odd", **bodies)
    known = {"x": (FLOAT, [4]), "c": (BOOL, []), "n": (INT64, [])}
    puts = [
        helper.make_tensor_value_info(name, *known[name]) for name in dict.fromkeys(("x", *inputs)) if name in known
    ]
    true = numpy_helper.from_array(np.array(True), "t")
    zero = numpy_helper.from_array(np.array([0], np.int64), "zero")
    results = [helper.make_tensor_value_info(f"y{number}", FLOAT, None) for number in range(outputs)]
    graph = helper.make_graph([node], "g", puts, results, [true, zero])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def branch(name: str, op_type: str = "Relu", shape: tuple[int, ...] = (4,), *more: str) -> onnx.GraphProto:
    """Make a branch of an If that applies one operator to x."""
    result = helper.make_tensor_value_info(name, FLOAT, shape)
    return helper.make_graph([helper.make_node(op_type, ["x", *more], [name])], name, [], [result])


def loop_body(*, stacks: bool = False, grows: bool = False) -> onnx.GraphProto:
    """Make a body of a Loop that carries one tensor."""
    size: list[int | str | None] = ["n"] if grows else [4]
    steps = [helper.make_node("Identity", ["cond"], ["cond_out"])]
    steps += [helper.make_node("Concat" if grows else "Add", ["v", "v"], ["v_out"], **({"axis": 0} if grows else {}))]
    steps += [helper.make_node("Relu", ["v_out"], ["stacked"])] if stacks else []
    puts = [("i", INT64, []), ("cond", BOOL, []), ("v", FLOAT, size)]
    gives = [("cond_out", BOOL, []), ("v_out", FLOAT, size), *([("stacked", FLOAT, size)] if stacks else [])]
    made = [[helper.make_tensor_value_info(*entry) for entry in entries] for entries in (puts, gives)]
    return helper.make_graph(steps, "body", *made)


BODIES: Mapping[str, tuple[str, onnx.ModelProto]] = {
    "whose branches give another number of dimensions": (
        "If",
        with_bodies("If", {"then_branch": branch("a"), "else_branch": branch("b", "Unsqueeze", (1, 4), "zero")}, "c"),
    ),
    "that stacks results and has no trip count": (
        "Loop",
        with_bodies("Loop", {"body": loop_body(stacks=True)}, "", "c", "x", outputs=2),
    ),
    "whose body reads a condition or a round that it is not given": (
        "Loop",
        with_bodies("Loop", {"body": loop_body()}, "n", "", "x"),
    ),
    "that carries a tensor which grows": ("Loop", with_bodies("Loop", {"body": loop_body(grows=True)}, "n", "t", "x")),
}
"""Form of a control-flow operator that is refused -> the operator, and a model of it."""

READ_BODIES: tuple[onnx.ModelProto, ...] = (
    with_bodies("If", {"then_branch": branch("a"), "else_branch": branch("b", "Neg")}, "c"),
    with_bodies("Loop", {"body": loop_body(stacks=True)}, "n", "t", "x", outputs=2),
)
