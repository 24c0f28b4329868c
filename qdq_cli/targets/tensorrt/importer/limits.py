"""The forms of operators that some release of TensorRT refuses although ONNX allows them; sources stand in `table`."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from qdq_cli.targets.tensorrt.importer import conditions as ask
from qdq_cli.targets.tensorrt.importer.records import Limit

V11 = (11, 0)

_CONSTANT = "Export it with a constant: `qdq quantize` and `qdq fix` carry out what is computed from constants alone."
_UNDILATED = "`qdq fix` writes a MaxPool without them where its shape is known; else export it so."
_ONE_OUTPUT = "`qdq fix` takes outputs away that nothing reads; else export the model without them."
_INDICES = "`qdq fix` takes them away where nothing reads them, and finds them with ArgMax for a MaxUnpool."
_SAME = "Export each direction as an operator of its own."
_MODES = "Export it with half_pixel, pytorch_half_pixel, asymmetric or align_corners."
_PLAIN = "Export it without."
_WHOLE = "Export the attention as MatMul, Softmax and MatMul, or with this part outside of the operator."
_SMALL = "`qdq fix` writes it in small letters."
_2D = "Export it on fewer dimensions: Reshape the others into one."
_TORCH = "Export the network for inference: `model.eval()` in PyTorch."

_DILATED = Limit("with dilations", ask.is_spread, "Export it without dilations: pool Slices of the tensor.")
_RANKS = Limit("on more than three spatial dimensions", ask.rank_above(5), _2D)
_POOL = (_DILATED, _RANKS)
_POWER = ask.int_is_not("p", 1, 2, default=2)

_RECURRENT = (
    Limit("whose directions have different activations", ask.directions_differ, _SAME),
    Limit("with an activation no layer computes", ask.is_unknown_activation, "Export it with Sigmoid, Tanh or Relu."),
    Limit(
        "with layout 1, which is read as layout 0",
        ask.int_is_not("layout", 0, default=0),
        "Export it with layout 0, between Transposes: the importer does not look at the attribute.",
    ),
)

_ON_INT8 = Limit("on INT8", ask.is_on(ir.DataType.INT8), "Compute it in float, behind DQ.")
_RANDOM = (
    Limit(
        "of another type than FP32 and FP16",
        ask.int_is_not("dtype", ir.DataType.FLOAT, ir.DataType.FLOAT16, default=ir.DataType.FLOAT),
        "Make FP32 numbers.",
    ),
)
_NARROW = (ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.FLOAT4E2M1)
_CASTS = (
    Limit("to FP8, FP4 or INT4", ask.makes(*_NARROW), "Use QuantizeLinear, which is what makes these types."),
    Limit("from FP8, FP4 or INT4", ask.is_on(*_NARROW), "Use DequantizeLinear, which is what reads these types."),
)

_AXES = (Limit("whose axes are no constant", ask.is_computed(1), _CONSTANT),)
_OVER_AXES = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "ReduceSumSquare", "Squeeze", "Unsqueeze"),
)
_WEIGHTS = Limit("whose weights are computed", ask.is_computed(1), _CONSTANT, since=(8, 5))

_RESIZE = (
    Limit(
        "by a coordinate mode that is not known",
        ask.text_is("coordinate_transformation_mode", "tf_crop_and_resize", "half_pixel_symmetric"),
        _MODES,
    ),
    Limit("by tf_half_pixel_for_nn with another rounding", ask.rounds_otherwise, "Export it with round_prefer_floor."),
    Limit("with antialiasing", ask.int_is_not("antialias", 0, default=0), _PLAIN),
    Limit(
        "that keeps the aspect ratio",
        ask.text_is_not("keep_aspect_ratio_policy", "stretch", default="stretch"),
        "Export it with sizes that have the ratio already.",
    ),
    Limit("in cubic mode", ask.text_is("mode", "cubic"), "Export it linear, or use TensorRT 8.6.", since=(8, 6)),
    Limit("of more dimensions at once than a layer has", ask.resizes_many, "Resize some dimensions first."),
    Limit("by scales that are data", ask.is_float_data(2), "Export it with sizes, or with constant scales."),
)

_ATTENTION = (
    Limit("with more than one output", ask.has_outputs(1), _WHOLE),
    Limit("with keys and values of the past", ask.any_of(ask.has_input(4), ask.has_input(5)), _WHOLE),
    Limit("with lengths of keys and values", ask.has_input(6), _WHOLE, since=V11),
    Limit("with softcap", lambda node: bool(node.attributes.get_float("softcap", 0.0)), _WHOLE),
    Limit("with a precision for its Softmax", ask.has_attribute("softmax_precision"), _WHOLE),
    Limit(
        "that is causal and has a mask",
        ask.all_of(ask.int_is_not("is_causal", 0, default=0), ask.has_input(3)),
        "Put the triangle into the mask.",
    ),
    Limit("whose keys and values differ in shape", ask.has_values_of_another_size, _WHOLE),
    Limit("of three dimensions", ask.rank_is_not(4), "Reshape to [batch, heads, length, size].", since=V11),
    Limit("whose mask has not four dimensions", ask.rank_is_not(4, slot=3), "Unsqueeze the mask.", since=V11),
)

_STFT = (
    Limit("whose step is no constant", ask.is_computed(1), _CONSTANT),
    Limit("whose window is no constant", ask.is_computed(2), _CONSTANT),
    Limit(
        "of complex numbers",
        ask.all_of(ask.rank_above(2), lambda node: ask.last_dimension(node) not in (1, None)),
        "Transform real and imaginary part by themselves.",
    ),
)

_PAD = (
    Limit("whose axes are no constant", ask.is_computed(3), _CONSTANT, since=(10, 4)),
    Limit("in wrap mode", ask.text_is("mode", "wrap"), "Export it as Slices and a Concat.", since=(10, 0)),
)

LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "Attention": _ATTENTION,
    "AveragePool": _POOL,
    "BatchNormalization": (
        Limit("in training mode", ask.int_is_not("training_mode", 0, default=0), _TORCH),
    ),
    "Cast": _CASTS,
    "CastLike": _CASTS,
    "Clip": (
        Limit(
            "on INT8 by bounds that are computed",
            ask.all_of(ask.is_on(ir.DataType.INT8), ask.any_of(ask.is_computed(1), ask.is_computed(2))),
            "Clip in float, behind DQ.",
        ),
    ),
    "Conv": (_WEIGHTS, _RANKS),
    "ConvTranspose": (_WEIGHTS, _RANKS),
    "CumSum": (Limit("whose axis is no constant", ask.is_computed(1), _CONSTANT, since=(10, 8)),),
    "DeformConv": (Limit("on more than two spatial dimensions", ask.rank_above(4), _2D),),
    "Dropout": (
        Limit("that drops, or may", ask.any_of(ask.trains, ask.drops_as_attribute), _TORCH),
    ),
    "Einsum": (
        Limit("with capital letters", ask.has_capitals, _SMALL),
        _ON_INT8,
        Limit(
            "with an ellipsis, a diagonal or broadcasting",
            ask.is_wide_einsum,
            "Write every dimension out, or use TensorRT 10.12.",
            since=(10, 12),
        ),
    ),
    "EyeLike": (Limit("of open dimensions", ask.is_open, "Give the model fixed dimensions."),),
    "GRU": _RECURRENT,
    "GridSample": (Limit("on five dimensions", ask.rank_above(4), _2D, since=V11),),
    "GroupNormalization": (
        Limit(
            "with a scale for each channel",
            ask.scales_each_channel,
            "Export it in opset 18, or use TensorRT 10.9.",
            since=(10, 9),
        ),
    ),
    "Hardmax": (Limit("along an open dimension", ask.is_open_along_axis, "Fix that dimension.", since=V11),),
    "If": (
        Limit(
            "whose branches give another number of dimensions",
            ask.all_of(ask.branches_differ_in_rank, ask.is_data(0)),
            "Unsqueeze in one of the branches.",
        ),
    ),
    "InstanceNormalization": (
        Limit(
            "whose scale or bias is no constant",
            ask.any_of(ask.is_computed(1), ask.is_computed(2)),
            _CONSTANT,
            since=(8, 6),
        ),
        Limit("of a number of dimensions that is not 3 to 5", ask.rank_is_not(3, 4, 5), _2D, since=(8, 6)),
    ),
    "LRN": (Limit("with a window that is even or above 15", ask.is_even_or_wide, "Export an odd window."),),
    "LSTM": (
        *_RECURRENT,
        Limit("with input_forget", ask.int_is_not("input_forget", 0, default=0), "Export it with two gates."),
    ),
    "LayerNormalization": (Limit("with more than one output", ask.has_outputs(1), _ONE_OUTPUT),),
    "Loop": (
        Limit("that stacks results and has no trip count", ask.scans_without_end, "Export it with a trip count."),
        Limit(
            "whose body reads a condition or a round that it is not given",
            ask.reads_what_is_not_given,
            "Give the Loop a condition of true and a number of rounds.",
        ),
        Limit("that carries a tensor which grows", ask.grows, "Collect the parts as scan outputs."),
    ),
    "LpNormalization": (Limit("by another norm than L1 and L2", _POWER, "Write it with Pow and ReduceSum."),),
    "LpPool": (*_POOL, Limit("by another norm than L1 and L2", _POWER, "Write it with Pow and AveragePool.")),
    "MatMul": (
        Limit("of one vector by several matrices", ask.is_vector_by_stack, "Unsqueeze the vector.", first=V11),
    ),
    "MaxPool": (
        Limit("with Indices", ask.has_outputs(1), _INDICES),
        Limit("with dilations", ask.is_spread, _UNDILATED),
        _RANKS,
    ),
    "Mod": (_ON_INT8, Limit("by floor on floats", ask.takes_remainder_of_floats, "Export it with fmod 1."),),
    "NonMaxSuppression": (
        Limit(
            "whose limits are no constants",
            ask.any_of(*(ask.is_computed(slot) for slot in (2, 3, 4))),
            _CONSTANT,
            since=(8, 5),
        ),
    ),
    "OneHot": (
        Limit("whose depth is no constant", ask.is_computed(1), _CONSTANT, since=V11),
        Limit("whose depth is a float put in", ask.is_float_data(1), "Put it in as INT64.", first=V11),
    ),
    "Pad": _PAD,
    "RNN": _RECURRENT,
    **dict.fromkeys(("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"), _RANDOM),
    "Range": (
        Limit(
            "of floats that are data",
            ask.all_of(ask.is_of_floats, ask.any_of(*(ask.is_float_data(slot) for slot in range(3)))),
            "Export it with constants, or on INT64.",
            first=V11,
        ),
    ),
    **dict.fromkeys(_OVER_AXES, _AXES),
    "Resize": _RESIZE,
    "ReverseSequence": (
        Limit("of open dimensions", ask.is_open, "Fix the dimensions, or use TensorRT 8.6.", since=(8, 6)),
    ),
    "ScatterElements": (
        Limit(
            "with a reduction",
            ask.text_is_not("reduction", "none", default="none"),
            "Export it without, or use TensorRT 10.",
            since=(10, 0),
        ),
    ),
    "ScatterND": (
        Limit("with a reduction", ask.text_is_not("reduction", "none", default="none"), "Export it without."),
        Limit(
            "that names a reduction of none",
            ask.all_of(ask.has_attribute("reduction"), ask.text_is("reduction", "none", default="none")),
            "`qdq fix` takes the attribute away.",
            since=(10, 9),
            first=(10, 0),
        ),
    ),
    "Slice": (Limit("whose axes are no constant", ask.is_computed(3), _CONSTANT, since=(10, 3)),),
    "Split": (
        Limit("whose last part is less than nothing", ask.splits_past_the_end, "Export it with the sizes of parts."),
    ),
    "STFT": _STFT,
    "TensorScatter": (
        _ON_INT8,
        Limit("in circular mode", ask.text_is("mode", "circular"), "Export it linear."),
        Limit("of a number of dimensions that is not 4", ask.rank_is_not(4), "Reshape to four dimensions."),
        Limit("along another axis than -2", ask.int_is_not("axis", -2, default=-2), "Transpose before and behind it."),
    ),
    "TopK": (
        Limit("whose K is no constant", ask.is_computed(1), _CONSTANT, since=(8, 6)),
        Limit("of 3840 elements or more", ask.keeps_more_than(3839), "Take fewer, or sort in parts.", since=V11),
    ),
    "Upsample": (Limit("by scales that are data", ask.is_float_data(1), "Export it with constant scales."),),
}  # fmt: skip
"""Operator -> the forms of it that are refused."""
