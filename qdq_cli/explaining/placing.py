"""Rules of where Q/DQ belong: chapters 2 and 3, in the order of docs/rules.md."""

from __future__ import annotations

from qdq_cli.explaining.record import CHOICE, ENGINES, GUIDE, IMPORTER, LOG, MEASURED, TOOLKITS, Entry

CLASSES = (
    Entry(
        "2",
        "Every operator is of one of four classes: W, N, C or F.",
        "The class says what Q and DQ around the operator do: W has integer weights, N runs in INT8 with pairs on "
        "both sides, C only moves or selects values, F stays float.",
        "Conv is of class W, Sigmoid of N, MaxPool of C, Softmax of F.",
    ),
    Entry(
        "2.1",
        "Class W, weighted: Conv, ConvTranspose, Gemm, and MatMul with or without a constant operand.",
        "They multiply in INT8 where all of their operands but the bias come from DQ (A31).",
        "A Linear layer is a Gemm, or a MatMul and an Add.",
        "",
        GUIDE,
    ),
    Entry(
        "2.2",
        "Class N: poolings that average, and pointwise operators; INT8 only with DQ on every input and Q on the "
        "output.",
        "With float on one side the operator runs in float, and the pairs around it are kernels of their own. An "
        "average is not on the grid of its input, so Q cannot cross it. Batch normalization outside a convolution "
        "is documented for pre-activation networks only.",
        "DQ -> GlobalAveragePool -> Q is one INT8 kernel; DQ -> GlobalAveragePool -> Softmax is not.",
        "",
        f"{GUIDE}; {ENGINES}; {MEASURED}",
    ),
    Entry(
        "2.3",
        "Class C, commuting: operators for which Op(Q(x)) = Q(Op(x)), because they move values or select among them.",
        "Transpose, Reshape, Slice, Split, Concat, Gather and the like move values; MaxPool, ReduceMax and "
        "ReduceMin select one, and rounding keeps the order. Conditions: MaxPool without its Indices, Resize "
        "nearest, Pad with 0 on the two innermost dimensions, Concat forward only where all scales are equal. What "
        "interpolates, averages or pads with something else does not commute. Relu and Clip do, but fuse with what "
        "comes before them instead.",
        "Conv -> MaxPool -> Q -> DQ -> Conv: the Q moves before the MaxPool, which then runs on integers.",
        "",
        f"{GUIDE}; {ENGINES}; {LOG}; {MEASURED}; NVIDIA/TensorRT issue 2976 (Resize)",
    ),
)

PLACES = (
    Entry(
        "3",
        "Where Q/DQ stand, so that kernels take them in.",
        "A pair that nothing takes in is a kernel that reads and writes the whole tensor: it can cost more than "
        "INT8 saves. The rules P1 to P20 avoid that.",
        "`qdq inspect` counts what is left over as stand-alone kernels.",
    ),
    Entry(
        "P1",
        "Q/DQ stand on every input of a quantized weighted operator but its bias.",
        "Both operands have to be INT8 (A31).",
        "x -> Q -> DQ -> Conv, and weight -> Q -> DQ -> Conv.",
        "Nothing needs to be done: `qdq quantize` places them.",
        GUIDE,
    ),
    Entry(
        "P2",
        "The result of a weighted operator gets Q/DQ only where something reads it in INT8.",
        "A kernel can read INT8 and write float at no cost, so a pair that leads to float operators only adds "
        "roundings and a kernel.",
        "Conv -> Q -> DQ -> Softmax.",
        "Take the pair away; `qdq fix` does.",
        f"{GUIDE}; NVIDIA/TensorRT issue 2383",
    ),
    Entry(
        "P3",
        "No Q/DQ between a convolution and its batch norm or activation.",
        "One kernel computes all three and rounds once, behind the activation. A pair between them breaks the "
        "kernel up, and one before Relu gives half of its integers to values that become 0.",
        "Right: Conv -> Relu -> Q -> DQ. Wrong: Conv -> Q -> DQ -> Relu.",
        "Move the pair behind the activation; `qdq fix` does where the scales allow.",
        GUIDE,
    ),
    Entry(
        "P4",
        "Batch norm behind ConvTranspose is folded into its weights.",
        "TensorRT has no fused kernel for the two with Q/DQ around them.",
        "ConvTranspose -> BatchNormalization -> Relu in a segmentation network.",
        "Nothing needs to be done: `qdq quantize` folds it.",
        "NVIDIA/TensorRT issue 3412",
    ),
    Entry(
        "P5",
        "Activations such as SiLU, GELU and Sigmoid read float, and the Q follows them; grouped kernels do not "
        "absorb them.",
        "They are computed in float at the end of the convolution's kernel. Depthwise kernels have no such end, "
        "only one for Relu and Clip.",
        "Conv -> Sigmoid, Mul -> Q is one kernel; with a depthwise Conv it is three.",
        "Move the pair behind the activation; behind depthwise convolutions Relu or Clip are cheaper.",
        f"{GUIDE}; NVIDIA/TensorRT issue 3205",
    ),
    Entry(
        "P6",
        "One tensor has one scale.",
        "Its kernel writes INT8 once. With two scales it writes float, and each Q is a kernel.",
        "Two Convs read one tensor through Qs with the scales 0.02 and 0.03.",
        "Give all Qs of a tensor the same scale.",
        f"{ENGINES}; {TOOLKITS}",
    ),
    Entry(
        "P7",
        "A tensor that is read in INT8 and in float costs a kernel: all of its readers are quantized, or none.",
        "The kernel that makes it writes one type. Where a float reader is left, it writes float, and the Q for the "
        "others is a kernel of its own.",
        "MaxPool -> {Q -> DQ -> Conv, Softmax}.",
        "Quantize the other readers too, or leave all of them float.",
        ENGINES,
    ),
    Entry(
        "P8",
        "The residual that a kernel adds has the type of its result: Q/DQ on the other branch of the Add.",
        "Conv and Add are one kernel, which writes INT8 only if what it adds is INT8 too. The branch of that Conv "
        "itself stays without a pair.",
        "x -> Conv -> Relu -> Conv -> Add(x): Q/DQ on x, none between the second Conv and the Add.",
        "`qdq fix` adds the missing pair where it knows a range, and takes the other away.",
        f"{GUIDE}; {ENGINES}; {TOOLKITS}",
    ),
    Entry(
        "P9",
        "Average poolings are INT8 with Q/DQ before and behind.",
        "Q cannot cross an average, so it needs a pair of its own (class N). Without it the last block of a "
        "classifier writes float.",
        "Relu -> Q -> DQ -> GlobalAveragePool -> Flatten -> Q -> DQ -> Gemm.",
        "Nothing needs to be done: `qdq quantize` places the pair where both sides are INT8 (--pooling).",
        f"{GUIDE}; {ENGINES}",
    ),
    Entry(
        "P10",
        "MaxPool needs no Q/DQ of its own; where both of its sides are quantized, they share one scale.",
        "It selects values, so the Q behind it moves before it.",
        "The chain of three MaxPools in a YOLO detector: one scale for all.",
        "Give both sides one scale.",
        f"{GUIDE}; {TOOLKITS}",
    ),
    Entry(
        "P11",
        "All inputs and the output of a Concat share one scale.",
        "The Q behind it is copied to each of its inputs; an input with another scale would have to be rescaled.",
        "Concat(conv1, conv2) -> Q: conv1 and conv2 write INT8 with the scale of the result.",
        "Give them one scale: the largest range of all.",
        f"{TOOLKITS}; {LOG}",
    ),
    Entry(
        "P12",
        "Tensors that commuting operators connect share one scale: a scale group.",
        "It is P10 and P11 for every operator of class C. The range of the group comes from the merged statistic of "
        "its tensors.",
        "In a dense block, where each Concat reads the one before, all tensors are one group.",
        "Nothing needs to be done; `qdq quantize --verbose` lists the groups.",
        CHOICE,
    ),
    Entry(
        "P13",
        "A Concat of float tensors takes one kernel for each when it is quantized.",
        "The Q moves to its inputs, and no kernel there can take it in.",
        "Concat(Softmax, Softmax) -> Q takes two kernels instead of one.",
        "Leave the operator that reads it float, or quantize what makes its inputs.",
        "NVIDIA/TensorRT issue 4366",
    ),
    Entry(
        "P14",
        "Q/DQ stand before a zero Pad, never between it and its convolution.",
        "Zero is on every grid, so the Pad works on integers and becomes part of the convolution.",
        "Right: Q -> DQ -> Pad -> Conv. Wrong: Pad -> Q -> DQ -> Conv.",
        "Move the pair before the Pad; `qdq fix` does.",
        "NVIDIA/TensorRT issue 2592",
    ),
    Entry(
        "P15",
        "What has INT8 on one side only is not quantized.",
        "An operator of class N or C among float operators gains less in INT8 than its pairs cost.",
        "A lone Mul between two LayerNormalizations.",
        "Quantize what is around it, or leave it float.",
        GUIDE,
    ),
    Entry(
        "P16",
        "Q at the graph's inputs and DQ at its outputs are unavoidable, unless the network takes and returns INT8.",
        "Somebody has to convert, and the caller gives and takes float.",
        "image -> Q is one kernel in every quantized classifier.",
        "Nothing needs to be done; such kernels are counted apart, as those at the boundary.",
        f"{GUIDE}; {ENGINES}",
    ),
    Entry(
        "P17",
        "The first and the last layer are quantized, unless that costs accuracy.",
        "NVIDIA's examples quantize both. They read pictures and write scores, where roundings can show.",
        "`qdq quantize --skip-first --skip-last` leaves both float.",
        "Compare with and without; `qdq sensitivity` measures each layer.",
        TOOLKITS,
    ),
    Entry(
        "P18",
        "What adds or multiplies a constant is not quantized by itself.",
        "A bias, a scale or an attention mask is part of the kernel before it.",
        "MatMul -> Add(bias): no pair between the two.",
        "Nothing needs to be done.",
        TOOLKITS,
    ),
    Entry(
        "P20",
        "LSTM, GRU and RNN stay float.",
        "TensorRT has no INT8 kernels for them.",
        "The Linear layer behind an LSTM can be quantized, the LSTM cannot.",
        "Nothing needs to be done.",
        IMPORTER,
    ),
)

RESIDUALS = (
    Entry(
        "3.2",
        "Which operand of a residual Add gets Q/DQ.",
        "The kernel of one branch adds the other one and writes the type of what it adds (P8). The operands have "
        "equal shapes. A branch absorbs the Add if it ends in a quantized weighted operator, with nothing but batch "
        "norm or a bias behind, and only the Add reads it.",
        "A block of ResNet: the second Conv absorbs the Add and the Relu.",
        "",
        f"{GUIDE}; {ENGINES}; {TOOLKITS}",
    ),
    Entry(
        "3.2, case 1",
        "No operand, where nothing behind the Add reads INT8.",
        "The kernel writes float all the same, and a DQ on the other branch would stand alone.",
        "The last Add of a network whose result the graph returns.",
        "Quantize what reads the sum, if it can be.",
    ),
    Entry(
        "3.2, case 2",
        "No operand, where the sum is read in INT8 and in float.",
        "Its kernel has to write float for the one reader (P7).",
        "A pre-activation network: BatchNormalization and the next Add read the sum.",
        "Quantize all of its readers, if they can be.",
    ),
    Entry(
        "3.2, case 3",
        "Else: one absorbing branch takes none and the other one the pair; of two the shortcut takes it; of none "
        "both do.",
        "Exactly one branch absorbs the Add, and what it adds is INT8. The shortcut is the branch with the shorter "
        "way to where both part. Where no branch absorbs it, the Add is an INT8 kernel of its own.",
        "A down-sampling block: Q/DQ behind the Conv of the shortcut. A YOLO bottleneck: Q/DQ on both operands.",
        "Nothing needs to be done: `qdq quantize` places them (--residuals).",
    ),
    Entry(
        "3.2, case 5",
        "In transformers the stream of residuals stays float, unless it is asked for.",
        "LayerNormalization reads it, which has no INT8 form (case 1).",
        "`qdq quantize --residual-stream` quantizes both operands all the same.",
        "Measure both; NVIDIA advises pairs there for attention in INT8.",
        "NVIDIA/TensorRT issue 3243",
    ),
)

CHOICES = (
    Entry(
        "3.3",
        "Products of two activations, as in attention, stay float, unless the rest runs in FP32.",
        "TensorRT has fused kernels for attention in FP16, which are usually faster than parts of it in INT8; pairs "
        "inside stand in their way. TensorRT 11 has no precision flags: there an FP32 rest of the file runs in FP32, "
        "and the products in INT8 save most of the traffic. In INT8 all four inputs of the two products take pairs; "
        "what Softmax returns lies in 0..1, so its range is known exactly.",
        "MatMul(Q, K) -> Softmax -> MatMul(V): no pairs, unless `qdq quantize --mha` is given.",
        "`--mha` and `--no-mha` decide it; above 512 tokens `--no-attention-rules` is needed too.",
        f"{GUIDE}; {TOOLKITS}",
    ),
    Entry(
        "3.4",
        "Convolutions with few channels, and products of a matrix and a vector, stay float by default.",
        "They are bound by memory, not by arithmetic, so that INT8 brings no speed and costs accuracy. The line is "
        "drawn at 16 channels, with exceptions for the first layer, for square kernels and for multiples of 8.",
        "Conv from 64 channels to 1; Gemm with a weight [512, 1].",
        "`--no-channel-rules` and `--no-gemv-rules` quantize them too.",
        TOOLKITS,
    ),
    Entry(
        "3.5",
        "The order in which places are decided.",
        "First the weighted operators; then, again and again until nothing changes, poolings and residual branches, "
        "which enable each other; then which tensors share a scale. A tensor counts as read in INT8 if every reader "
        "does, directly or through commuting operators.",
        "A pooling that gets its pair makes the last Add of a classifier worth quantizing.",
        "",
        CHOICE,
    ),
)

PLACING = (*CLASSES, *PLACES, *RESIDUALS, *CHOICES)
"""Chapters 2 and 3."""
