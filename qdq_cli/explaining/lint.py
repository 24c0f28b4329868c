"""Why each lint code matters, and an example; what is expected and what to do stand in the table of findings."""

from __future__ import annotations

from qdq_cli.explaining.record import Told

LINT = {
    "E_SCALE_NONPOS": Told(
        "Q divides by the scale; the importer refuses 0, negative numbers, NaN and Inf.",
        "A weight with a channel of zeros and the scale 0.0 for it.",
    ),
    "E_SCALE_NOT_CONST": Told(
        "Kernels hold scales as numbers, so they have to be known when the engine is built.",
        "A scale that Div(amax, 127) computes while the model runs.",
    ),
    "E_SCALE_DTYPE": Told(
        "Up to 8.6 only FP32 scales are read. TensorRT 10 documents one type for scale and data. Later on FP32 scales "
        "go with any data; a 16-bit scale beside data of another type is refused with FP8, and with INT4 every scale "
        "of another type than the result.",
        "FP16 scales in a model for TensorRT 8.6; FP32 scales on INT4 weights whose DQ returns FP16.",
    ),
    "W_SCALE_DTYPE": Told(
        "The model is read and built, and nothing is said: the kernel that would compute on INT8 takes no DQ that "
        "turns a 16-bit scale into another type, so Q and DQ are kernels, and the product is one of floats.",
        "An FP32 model with FP16 scales, each DQ with output_dtype=FP32.",
    ),
    "E_ZP_MISSING": Told(
        "The importer of these releases demands the third input.",
        "QuantizeLinear(x, scale), which ONNX allows.",
    ),
    "W_ZP_MISSING": Told(
        "The file means two things: INT8 in TensorRT, UINT8 in every runtime that follows ONNX, where negative "
        "values become 0.",
        "QuantizeLinear(x, scale) behind a Conv without Relu.",
    ),
    "E_ZP_NONZERO": Told(
        "TensorRT has no arithmetic for integers whose zero is elsewhere.",
        "A range of -1 to 5 stored with zero point -85.",
    ),
    "E_ZP_DTYPE": Told(
        "The type of the zero point is that of the integers, and only INT8 has kernels.",
        "A UINT8 zero point, the default of several tools for activations.",
    ),
    "E_ZP_SIZE": Told(
        "Each scale goes with one zero point.",
        "64 scales with a single zero point.",
    ),
    "E_ACT_PER_AXIS": Told(
        "A scale for each channel of an activation cannot be taken out of the sum that the next operator makes.",
        "A Q on [1, 64, 56, 56] with 64 scales and axis=1.",
    ),
    "W_SCALE_SHAPE": Told(
        "ONNX takes a vector of one scale for a scalar. TensorRT for RTX 1.7 reads it, says nothing, and computes what "
        "reads such an activation in float, Q and DQ beside it; with a scalar the same file runs in INT8 (`qdq build` "
        "shows both). Whether the server's releases do so too was not seen.",
        "A QAT export whose observers keep their scale as a tensor of one element.",
    ),
    "E_AXIS_MISSING": Told(
        "Importers up to 10.1 take axis 0, newer ones 1, ONNX says 1: the scales go with other slices in each.",
        "A Conv weight with 64 scales, whose Q has no axis.",
    ),
    "E_AXIS_LEN": Told(
        "Each slice along the axis takes one element of the scale.",
        "A weight [64, 32, 3, 3] with axis=0 and 32 scales.",
    ),
    "E_AXIS_REDUCTION": Told(
        "Scales along the axis of the sum cannot be taken out of it, so an integer kernel would compute something "
        "else.",
        "A Conv weight [64, 32, 3, 3] with 32 scales and axis=1.",
    ),
    "E_BIAS_QUANTIZED": Told(
        "The kernel adds the bias in float. The importer refuses INT32 behind DQ, which is the default of ONNX "
        "Runtime's quantizer.",
        "Conv with a third input DequantizeLinear(INT32 bias).",
    ),
    "E_BIAS_NOT_CONST": Told(
        "These releases take the bias as weights, not as a tensor that the network computes.",
        "Conv with a bias that a Reshape or Mul makes.",
    ),
    "E_UNSUPPORTED_OP": Told(
        "The importer has no code for it, and stops.",
        "QLinearConv, ConvInteger or com.microsoft.FusedConv.",
        "Integer operators: quantize again in the QDQ format. Operators of ONNX Runtime's optimizer: export without "
        "it. Custom ones: write a plugin, or export operators of ONNX instead. The finding says which it is.",
    ),
    "E_UNSUPPORTED_FORM": Told(
        "ONNX allows more than a layer of TensorRT computes: the importer stops at what it has no layer for, or reads "
        "an attribute it does not know as if it were not there.",
        "A MaxPool that has Indices, a Resize with antialiasing, an LSTM of layout 1, a constant of INT16.",
        "`qdq fix` repairs what has an equal form. The finding says what else helps, and the releases it holds in.",
    ),
    "W_MINOR_RELEASE": Told(
        "Operators come with minor releases too: one says TensorRT 10, and means 10.0 to 10.16.",
        "An Attention of opset 23, which is read since 10.14.",
        "Build with the release that the finding names, or a newer one.",
    ),
    "W_DOUBLE": Told(
        "The importer turns FP64 into FP32, with what is too large as the largest number; inputs and outputs of the "
        "engine are FP32 as well.",
        "A model of a tabular toolkit whose features are FP64.",
    ),
    "W_RECURRENT_BRANCH": Told(
        "The builder of TensorRT for RTX 1.7 ends with an error of its own where such a recurrence stands right in a "
        "branch, whatever the other one holds; a Loop in a branch, a recurrence in a Loop there, and If in a Loop are "
        "built. Whether the server's releases do so too was not seen; their documents allow loops in conditionals.",
        "A voice detector whose branches for two sample rates hold an LSTM each.",
    ),
    "E_QDQ_TYPE": Told(
        "INT8 is the one type of codes that all releases have kernels for; since TensorRT 10 there are FP8 (E4M3), and "
        "INT4 and FP4 in blocks (section 7).",
        "Q to INT16, or to FLOAT8E5M2.",
    ),
    "W_CODES_CLIPPED": Told(
        "Q and DQ apart are no pair that a kernel takes in.",
        "Q -> Clip(-127, 127) -> DQ, as Brevitas writes narrow ranges.",
    ),
    "W_OPSET": Told(
        "An importer knows the operators of its time, and not what a newer opset changed.",
        "A model of opset 20 for TensorRT 8.6.",
    ),
    "W_WEIGHT_ONLY_OR_ACT_ONLY": Told(
        "There is no product of INT8 and float: the operator runs in float, and the pair that is there only costs "
        "roundings, on activations a kernel too.",
        "Q/DQ on the weight of a Conv whose input is float.",
    ),
    "W_DQ_ONLY_WEIGHTS": Told(
        "INT8 initializers behind a DQ are documented since TensorRT 10; 8.4 and below refuse them.",
        "A model written with `qdq quantize --weights int8`.",
    ),
    "E_GPU_TYPE": Told(
        "The file is read everywhere; the engine is built for one GPU, and there is no other type to fall back to.",
        "An FP8 model for an A100 (`qdq inspect model.onnx --gpu sm80`).",
    ),
    "W_GPU_TYPE": Told(
        "Without units for such products the weights are turned into floats first, which saves memory and no time.",
        "INT8 weights alone on a T4 (`qdq inspect model.onnx --gpu sm75`).",
    ),
    "W_FLOAT_REST": Told(
        "Up to TensorRT 10 trtexec can let the builder run the rest in FP16. TensorRT 11 has no such option: an FP32 "
        "rest moves twice the bytes, and INT8 may then be slower than the float model in FP16.",
        "A Q/DQ model whose attention, normalization and activations are FP32 and move most of the bytes.",
    ),
    "W_GROUP_ALIGN": Told(
        "Kernels for groups read four channels at once. Where none fits, the layer may run in float, or the build "
        "fail.",
        "A Conv of 6 channels in 3 groups.",
    ),
    "W_CHANNEL_ALIGN": Told(
        "Other counts are filled up with zeros, which cost as much as numbers.",
        "The first Conv of a network: 3 channels going in, 16 coming out.",
    ),
    "W_CONV1D": Told(
        "TensorRT computes 1-D convolutions as 2-D ones, and its shuffle on the weight can keep the pair from folding.",
        "A Conv with a kernel [64, 32, 3] in a speech model.",
    ),
    "W_SHARED_SCALE_MISMATCH": Told(
        "A kernel writes INT8 once, with one scale.",
        "Two Convs read one tensor through Qs with the scales 0.02 and 0.03.",
    ),
    "W_STANDALONE_Q": Told(
        "It reads the whole tensor in float and writes it in INT8: memory traffic that INT8 was to save.",
        "LayerNormalization -> Q: the normalization has no INT8 form, so the Q is a kernel.",
        "It depends on the reason in the finding, such as FLOAT_PRODUCER: `qdq explain FLOAT_PRODUCER` says.",
    ),
    "W_STANDALONE_DQ": Told(
        "It reads the whole tensor in INT8 and writes it in float: memory traffic that INT8 was to save.",
        "DQ -> Softmax: Softmax has no INT8 form, so the DQ is a kernel.",
        "It depends on the reason in the finding, such as FLOAT_CONSUMER: `qdq explain FLOAT_CONSUMER` says.",
    ),
    "W_REQUANT": Told(
        "With one scale both would vanish; with two they are a kernel, unless a convolution before takes them in.",
        "DQ(0.02) -> Q(0.03) between two Convs.",
    ),
    "W_Q_BEFORE_RELU": Told(
        "The pair breaks up the kernel of convolution and activation, and half of its integers stand for values "
        "that become 0.",
        "Conv -> Q -> DQ -> Relu.",
    ),
    "W_OUTPUT_QUANTIZED_THEN_FLOAT_ACT": Told(
        "The activation is computed in float inside the convolution's kernel; a pair before it adds a rounding and "
        "breaks the kernel up.",
        "Conv -> Q -> DQ -> Sigmoid.",
    ),
    "W_QDQ_BETWEEN_PAD_AND_CONV": Told(
        "With the pair before it, the Pad becomes part of the convolution and costs nothing.",
        "Pad -> Q -> DQ -> Conv.",
    ),
}
"""Lint code -> what is told about it."""
