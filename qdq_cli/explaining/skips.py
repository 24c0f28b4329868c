"""Why an operator input stays float, reason by reason; the short sentences stand in the planner's table."""

from __future__ import annotations

from qdq_cli.explaining.record import Told

SKIPS = {
    "EXCLUDED": Told(
        "You asked for it: --exclude names it.",
        "`--exclude 'head.*'` keeps every node float whose name begins with head.",
        "Take the name out of --exclude.",
    ),
    "OP_EXCLUDED": Told(
        "You asked for it: --exclude-op names its type.",
        "`--exclude-op MatMul` keeps all matrix products float.",
        "Take the type out of --exclude-op.",
    ),
    "NOT_SELECTED": Told(
        "You asked for some operators only, and it is none of them.",
        "`--only 'backbone.*'` leaves the head float.",
        "Add its name to --only.",
    ),
    "FIRST_LAYER": Told(
        "You asked for it with --skip-first: no other weighted operator comes before it (P17).",
        "The Conv that reads the picture.",
        "Leave --skip-first out.",
    ),
    "LAST_LAYER": Told(
        "You asked for it with --skip-last: no other weighted operator comes behind it (P17).",
        "The Gemm that makes the class scores.",
        "Leave --skip-last out.",
    ),
    "IN_BODY": Told(
        "Bodies of If, Loop and Scan are observed and quantized, each as a graph of its own. Other bodies are not "
        "(those of SequenceMap and of custom operators), nor any behind an operator that ONNX Runtime does not know, "
        "nor any where the target computes nothing on integers in bodies (OpenVINO).",
        "A Conv in the body of a SequenceMap.",
        "Export the model without the body: the loop unrolled, or one branch alone.",
    ),
    "NEVER_RUN": Told(
        "Nothing was seen of what it reads, so there is no range: no sample takes the branch of the If, or no Loop "
        "around it had a round.",
        "The network for 8 kHz of a model that has one for each sample rate, calibrated on sound of 16 kHz.",
        "Add samples that take the branch, or give its ranges with --range.",
    ),
    "NO_KERNEL": Told(
        "What the model is quantized for computes this operator in float alone.",
        "A ConvTranspose, for a runtime whose table of operators has none.",
        "Nothing needs to be done.",
    ),
    "NOT_FLOAT": Told(
        "Q reads FP32, FP16 and BF16 (A12).",
        "A Gemm of doubles.",
        "Export the model in FP32.",
    ),
    "ALREADY_QUANTIZED": Told(
        "What holds Q/DQ is kept as it is, with the scales that were trained or calibrated.",
        "A model that was quantized in part by another tool.",
        "Start from the float model to quantize it again; `qdq inspect` checks the pairs that are there.",
    ),
    "CONSTANT_INPUT": Told(
        "What is the same for every sample is no activation: an engine computes it once, and there is no range to "
        "measure (A31).",
        "A Conv of a position grid that is made from the shape of the input.",
        "Nothing needs to be done.",
    ),
    "WEIGHT_COMPUTED": Told(
        "TensorRT makes an INT8 weight from a constant (A31).",
        "A Conv whose kernel another network computes.",
        "Export with constant weights, if they are the same for every input.",
    ),
    "CONSTANT_LEFT": Told(
        "INT8 is documented for a constant on the right (section 1.5).",
        "MatMul(constant [64, 64], x).",
        "Write the product the other way round, with both transposed.",
    ),
    "ATTENTION": Told(
        "TensorRT fuses attention in FP16, and pairs inside stand in its way (section 3.3).",
        "The products QK and PV of a transformer.",
        "Give --mha where the rest of the engine is slower in float, and measure both.",
    ),
    "LONG_ATTENTION": Told(
        "A float kernel of 16 bits computes both products and the Softmax between without storing the weights of "
        "attention; in INT8 they are stored, tokens times tokens of them. NVIDIA's own tool draws the line at 512 "
        "tokens (section 3.3, decision 13).",
        "`--mha` on a vision transformer with 577 tokens a picture.",
        "Nothing needs to be done; --no-attention-rules quantizes such products too. Beside an FP32 rest they are.",
    ),
    "EINSUM": Told(
        "An Einsum is written as the MatMul it is, and then treated as one, where it is a product with a constant "
        "weight or of two activations: each operand has axes of its own, some are summed, and any others are common to "
        "both, a stack of products. Any other one is of class F (section 2): of three operands, with a diagonal, a sum "
        "over one operand alone, an operand without an axis of its own, or a summed axis that is not known to have one "
        "size.",
        "Einsum('bid,bjd,bkd->bijk'), of three tensors.",
        "Export the product as MatMul.",
    ),
    "OPTIMIZER_MADE": Told(
        "ONNX Runtime's optimizer fuses convolutions and products into operators of its own, which no other runtime "
        "reads and which have no Q/DQ form (section 1.9).",
        "com.microsoft.FusedConv, com.microsoft.nchwc.Conv, com.microsoft.FusedMatMul.",
        "Quantize the model from before the optimizer, or save it at its level ORT_ENABLE_BASIC.",
    ),
    "UNOBSERVED": Told(
        "Calibration runs the model in ONNX Runtime, which cannot compute what stands behind an operator that it "
        "has no code for, such as a plugin of TensorRT.",
        "A Conv behind a custom attention operator.",
        "Export the model without that operator, or what stands behind it as a model of its own.",
    ),
    "GROUP_ALIGN": Told(
        "Kernels for groups read four channels at once; without one, the layer may run in float, or the build fail "
        "(A33, A34).",
        "A Conv of 6 channels in 3 groups.",
        "Train with multiples of 4 a group, or give --no-group-rules.",
    ),
    "FP8_GROUPED": Told(
        "With --type fp8: NVIDIA documents no fast kernel for grouped and depthwise convolutions on FP8 (section 7).",
        "A depthwise Conv of a mobile network.",
        "Nothing needs to be done; --type int8 has kernels for groups, --no-group-rules quantizes it all the same.",
    ),
    "FP8_LARGE_FILTER": Told(
        "With --type fp8: convolutions on FP8 have kernels for filters of at most 32 elements, and one of 7 x 7 runs "
        "in float between stand-alone Q and DQ (section 7).",
        "The first Conv of a ResNet.",
        "Nothing needs to be done; --type int8 has kernels for it.",
    ),
    "ALONE_CONV": Told(
        "With --type int8-weights and int4-weights: a convolution uses each weight many times, so it does not wait for "
        "them, and NVIDIA's compiler makes them float in a kernel of its own (decision 18).",
        "The first Conv of a speech model.",
        "Nothing needs to be done; --type int8 quantizes what it reads as well.",
    ),
    "ALONE_PRODUCT": Told(
        "Weights alone are quantized, and both operands of this product are computed from inputs.",
        "Queries by keys in attention.",
        "Nothing needs to be done.",
    ),
    "ALONE_STACK": Told(
        "Weights alone are documented for matrices; a stack of matrices for a batched product is none.",
        "A MatMul with a constant of shape [8, 64, 64].",
        "Nothing needs to be done.",
    ),
    "BLOCK_SIZE": Told(
        "A block of inputs shares a scale, and the importer reads blocks that divide the inputs alone (section 7).",
        "A MatMul with a weight [96, 384] and blocks of 64; one with [24, 96] and --type nvfp4, whose blocks are 16.",
        "Of INT4, give --block-size 64 where 128 is too large, or --type int8-weights; of NVFP4 and MXFP8, --type-of "
        "gives the operator another type.",
    ),
    "BLOCKS_CONV": Told(
        "With --type nvfp4 and mxfp8: blocks lie along the inputs of a matrix product, and TensorRT quantizes data of "
        "two or three dimensions in blocks (section 7.3).",
        "The first Conv of a vision transformer.",
        "Nothing needs to be done; --type-of gives convolutions another type.",
    ),
    "BLOCKS_DATA": Told(
        "With --type nvfp4 and mxfp8: TensorRT quantizes data of two or three dimensions in blocks along the last one, "
        "which has to be the one that the product sums over (section 7.3, decision 20).",
        "A MatMul of [N, 8, 64, 96], or a Gemm with transA.",
        "Reshape the data to three dimensions before the product, or give it another type with --type-of.",
    ),
    "BLOCKS_FEW": Told(
        "With --type nvfp4: NVIDIA's compiler dequantizes operands of a single block before the product, which it "
        "computes in float (decision 20).",
        "A MatMul with a weight [16, 64] and --type nvfp4.",
        "Nothing needs to be done.",
    ),
    "OTHER_TYPE": Told(
        "`--type-of` gives the operator another type, and the plan of that type is about it.",
        "A MatMul with --type-of '/head/*=fp8', in the plan of all others.",
        "Nothing needs to be done.",
    ),
    "FEW_CHANNELS": Told(
        "Such a convolution waits for memory, not for arithmetic, so INT8 makes it no faster and costs accuracy "
        "(section 3.4).",
        "A Conv from 64 channels to 1, which makes a mask.",
        "Nothing needs to be done; --no-channel-rules quantizes it too.",
    ),
    "WIDE_RANGE": Told(
        "A depthwise convolution sums few products, so that nothing averages its roundings out; where a few values "
        "are many times the others, those keep less than four bits.",
        "A depthwise Conv whose input reaches 126 where most values are below 1.",
        "Nothing needs to be done; --no-range-rules quantizes it too, --recover may bring its range down first.",
    ),
    "RUINED": Told(
        "On calibration samples the results of the operator are that noisy under every range, each channel by its own "
        "signal (below 20 dB), and it has at most 2 % of the multiply-accumulates, with all others of its kind: left "
        "float, it costs little and stops spoiling what reads it. Where kernels write codes, the operator that writes "
        "those which ruin it stays float with it.",
        "A depthwise Conv of 0.7 % of the MACs that reads channels which hardly move, with large weights for them.",
        "Nothing needs to be done; --all-int8 quantizes it too.",
    ),
    "DEPTHWISE_PADDED": Told(
        "TensorRT for RTX 1.7 pads the codes that a depthwise convolution reads to four times its channels: kernels "
        "move more bytes with it in INT8 than with it in float (docs/decisions/15-tensorrt-for-rtx.md).",
        "The 3x3 Conv of an inverted residual, for --target tensorrt-rtx.",
        "Nothing needs to be done; --no-channel-rules quantizes it too.",
    ),
    "GEMV": Told(
        "Each weight is used once, so the operator waits for memory, not for arithmetic (section 3.4).",
        "A Gemm with a weight [512, 1].",
        "Nothing needs to be done; --no-gemv-rules quantizes it too.",
    ),
    "RESIDUAL_FLOAT_CONSUMER": Told(
        "The kernel has to write float for such a reader, and a pair on the other branch would be a kernel of its "
        "own (section 3.2, cases 1 and 2).",
        "The last Add of a network whose result the graph returns.",
        "Nothing needs to be done; --residual-stream quantizes both operands all the same.",
    ),
    "RESIDUAL_BROADCAST": Told(
        "A kernel adds its residual element by element, so that both have one shape (section 3.2).",
        "Add of [1, 64, 56, 56] and [1, 64, 1, 1].",
        "Nothing needs to be done.",
    ),
    "RESIDUAL_FLOAT_PRODUCER": Told(
        "Pairs behind float operators would be kernels of their own (P15).",
        "Add of two results of LayerNormalization.",
        "Quantize what makes the operands, if it can be.",
    ),
    "RESIDUAL_OFF": Told(
        "You asked for it with --no-residuals; the kernels of these blocks then write float (P8).",
        "Every block of a ResNet.",
        "Leave --no-residuals out.",
    ),
    "FEW_BYTES": Told(
        "ONNX Runtime's QLinearConv copies the channels of each tap together before it multiplies. Where these are 1, "
        "2, 3, 5, 6 or 7 bytes, and their number times that of the output channels is below 144, copying takes longer "
        "than the whole convolution in float (decision 16). Groups, 1 x 1 filters and --integer-io are not meant.",
        "The first Conv of a detector, 3 to 16 channels, `--target onnxruntime`: 0.45 times the speed of float.",
        "Nothing needs to be done; --no-channel-rules quantizes it all the same.",
    ),
    "FLOAT_AROUND": Told(
        "Its kernel on integers reads codes alone and writes codes, and a float operator stands on one side: Q and DQ "
        "there would be two kernels to save one (decision 16).",
        "An Add of a Conv's result and a Softmax's, `--target onnxruntime`.",
        "Nothing needs to be done.",
    ),
    "POOL_FLOAT": Told(
        "An average needs pairs on both sides; next to a float operator one of them would be a kernel of its own (P9).",
        "GlobalAveragePool in front of a Softmax.",
        "Nothing needs to be done.",
    ),
    "POOL_OFF": Told(
        "You asked for it with --no-pooling; the last block of a classifier then writes float (P9).",
        "GlobalAveragePool in front of the last Gemm.",
        "Leave --no-pooling out.",
    ),
}
"""Code of a reason -> what is told about it."""
