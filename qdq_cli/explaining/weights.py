"""Rules of weights, biases, operators and of what qdq writes: the rest of chapter 1, in the order of docs/rules.md."""

from __future__ import annotations

from qdq_cli.explaining.record import CHOICE, ENGINES, GUIDE, IMPORTER, LOG, MEASURED, Entry

AXES = (
    Entry(
        "1.5",
        "Which axis of a weight holds the output channels.",
        "Conv: 0, depthwise too. Gemm: 1, and 0 with transB. MatMul with a constant [K, N] on the right: 1; of rank "
        "3 or more per tensor, because per-channel scales are documented for two dimensions only. A constant on the "
        "left is not documented at all. ConvTranspose: 0 where it is depthwise; else 1, or 0 by some sources (section "
        "9, item 1), so the default is per tensor there.",
        "A Linear layer of PyTorch, exported as Gemm with transB=1 and a weight [10, 512]: 10 scales along axis 0.",
        "",
        f"{GUIDE}; {IMPORTER}; {MEASURED}",
    ),
    Entry(
        "A26",
        "The scales of a weight never run along the axis that the operator sums over.",
        "Such a scale cannot be taken out of the sum, and the result is wrong without any bound.",
        "ConvTranspose [C, M, k, k] with scales along axis 0.",
        "Quantize the weight along its output channels, or per tensor.",
        MEASURED,
    ),
)

BIASES = (
    Entry(
        "A27",
        "A bias is never quantized.",
        "The kernel adds it in float before it rounds. A bias stored as INT32 behind a DQ, which is the default of "
        "ONNX Runtime's quantizer, is refused.",
        "Conv with an INT32 bias behind DequantizeLinear.",
        "`qdq fix` writes the float bias; in ONNX Runtime's quantizer set the extra option QuantizeBias=False.",
        f"{GUIDE}; microsoft/onnxruntime issues 14229 and 17738; onnx/onnx-tensorrt issue 850",
    ),
    Entry(
        "A28",
        "Up to TensorRT 8.4 the bias of a quantized convolution is an initializer.",
        "The importer takes it as weights, not as a tensor; 8.5 takes either.",
        "A bias that a Reshape makes while the network runs.",
        "Make it an initializer, or use TensorRT 8.5.",
        IMPORTER,
    ),
)

FORMS = (
    Entry(
        "1.7",
        "Three ways to store a quantized weight: F1, F2 and F3.",
        "With the same scales all three compute the same; they differ in size and in which releases read them. A "
        "weight without a pair leaves its operator in float.",
        "`qdq quantize --weights fp32` writes F1, `int8` F2, `int8-compat` F3.",
    ),
    Entry(
        "F1",
        "A float initializer behind Q and DQ.",
        "TensorRT folds the Q when it builds the engine.",
        "weight [64, 32, 3, 3] in FP32 -> Q(axis=0) -> DQ(axis=0) -> Conv.",
        "Nothing needs to be done: every release reads it.",
        f"{GUIDE}; {LOG}",
    ),
    Entry(
        "F2",
        "An INT8 initializer behind a DQ alone.",
        "A quarter of the size. It is documented since TensorRT 10; 8.4 and below refuse it.",
        "weight [64, 32, 3, 3] in INT8 -> DQ(axis=0) -> Conv.",
        "For older releases write F1.",
        f"{GUIDE}; {LOG}",
    ),
    Entry(
        "F3",
        "A float initializer of whole numbers, behind a Q of scale 1 and a DQ of the real scale.",
        "The integers are those of F2, in a form that every release reads.",
        "weight of values such as -3.0 and 127.0 -> Q(scale 1.0) -> DQ(scale 0.02) -> Conv.",
        "Nothing needs to be done: every release reads it.",
        GUIDE,
    ),
    Entry(
        "A30",
        "Float weights behind Q and DQ are read by every version, INT8 weights behind a DQ since TensorRT 10.",
        "So F1 is what qdq writes unless it is told otherwise.",
        "TensorRT 8.2 refuses F2 with an error about weights of type Int8.",
        "Write `qdq quantize --weights fp32`, or use TensorRT 10.",
        f"{GUIDE}; {LOG}",
    ),
)

CONDITIONS = (
    Entry(
        "1.8",
        "What makes a weighted operator run in INT8 at all.",
        "Both of its operands have to be INT8, and a kernel for its channels has to exist: the rules A31 to A36.",
        "Conv with Q/DQ on its data and on its weight, 64 channels going in and 64 coming out.",
    ),
    Entry(
        "A31",
        "An operator runs in INT8 if its data and its weight both come from DQ.",
        "With one of the two in float there is no INT8 product: the operator runs in float, and the lone pair "
        "becomes a kernel of its own.",
        "Q/DQ on the weight of a Conv whose input is float.",
        "Quantize the other operand too, or take the pair away.",
        GUIDE,
    ),
    Entry(
        "A32",
        "Both operands have the same integer type.",
        "Kernels multiply INT8 by INT8, or FP8 by FP8.",
        "INT8 data with a weight in 4 bits.",
        "Quantize both to INT8.",
        GUIDE,
    ),
    Entry(
        "A33",
        "Grouped convolutions have INT8 kernels for multiples of 4 channels a group; depthwise ones have their own.",
        "Kernels read four integers at once.",
        "A Conv of 6 channels in 3 groups may have none, and may run in float or fail to build.",
        "Leave it float, as `qdq quantize` does by default (--group-rules).",
        f"{GUIDE}; {ENGINES}",
    ),
    Entry(
        "A34",
        "Grouped ConvTranspose needed at least 4 channels a group in TensorRT 8.4.",
        "8.0 refused it quantized, 8.4 built it from 4 channels a group on, and 10.9 lifted the limit.",
        "A depthwise ConvTranspose that scales a picture up.",
        "Leave it float, as `qdq quantize` does by default (--group-rules); with --no-group-rules a depthwise one gets "
        "a scale for each channel.",
        "NVIDIA/TensorRT issue 1934",
    ),
    Entry(
        "A36",
        "INT8 is fastest for multiples of 16 channels, and for at least 32 going in.",
        "Other counts are filled up with zeros, which are multiplied too.",
        "The first Conv of a network, with 3 channels going in.",
        "Nothing needs to be done; INT8 may bring no speed there.",
        "lint of trt-engine-explorer",
    ),
    Entry(
        "1.9",
        "What has no importer is refused: integer operators, other domains, some forms and types, INT8 without DQ.",
        "TensorRT reads Q and DQ around float operators, and no QLinearConv, ConvInteger, DynamicQuantizeLinear or "
        "com.microsoft operators; plugins go by their name. Of the operators it knows, some forms and types have no "
        "layer, and which ones depends on the release. An INT8 constant is for a DQ alone.",
        "A model in the QOperator format of ONNX Runtime.",
        "Quantize again in the QDQ format; the finding says more about each operator.",
        f"{IMPORTER}; operator page of onnx-tensorrt",
    ),
)

EMISSION = (
    Entry(
        "1.10",
        "What qdq writes, so that every release reads it.",
        "Opset 13 to 17 where the model allows it. Each pair shares one scale and one zero point, both "
        "initializers, FP32 and INT8 zeros; an axis on per-channel pairs. No pair on biases, integers, shapes or "
        "inside bodies of If and Loop. Names are those of the tensor with _QuantizeLinear, _scale and so on. Inputs "
        "and outputs keep name, type and shape.",
        "conv1_out -> conv1_out_QuantizeLinear -> conv1_out_DequantizeLinear, with conv1_out_scale of shape [].",
        "",
        CHOICE,
    ),
    Entry(
        "1.11",
        "The codes of `qdq inspect`: E_ for what TensorRT refuses or computes otherwise than ONNX, W_ for what costs.",
        "Codes are stable, so that pipelines can name them (`--fail-on E_ZP_MISSING`).",
        "`qdq explain E_ZP_MISSING` explains one; `qdq explain` lists all.",
    ),
)

WEIGHTS = (*AXES, *BIASES, *FORMS, *CONDITIONS, *EMISSION)
"""The rest of chapter 1."""
