"""Rules of what happens in a build, as the simulator follows them: chapter 4, in the order of docs/rules.md."""

from __future__ import annotations

from qdq_cli.explaining.record import CHOICE, ENGINES, GUIDE, IMPORTER, LOG, Entry

IMPORTING = (
    Entry(
        "4",
        "What TensorRT does with Q and DQ when it builds an engine.",
        "Q moves backward and DQ forward, which makes the part between them larger; kernels take in what meets "
        "them; the rest becomes kernels of their own. Written down from documentation, builder logs and layers of "
        "engines.",
        "`qdq inspect MODEL --node NAME` tells the steps for one node.",
    ),
    Entry(
        "4.2",
        "A graph is read in one spelling, whatever its exporter wrote.",
        "The rules S1 to S3 say which operators are taken as the same thing.",
        "GlobalAveragePool and ReduceMean over height and width are one operator.",
    ),
    Entry(
        "S1",
        "Identity, Dropout, and Pad and Reshape that change nothing are removed.",
        "They compute nothing, so they are in nobody's way.",
        "Conv -> Identity -> Q is Conv -> Q.",
        "Nothing needs to be done.",
        IMPORTER,
    ),
    Entry(
        "S2",
        "Operators that are others in disguise are read as those.",
        "Split is one Slice for each output, Gemm a product and a bias, batch norm a scale for each channel, "
        "GlobalAveragePool a mean over space, DepthToSpace a few shuffles, Expand and Tile Slices.",
        "A Q behind one output of a Split crosses that Slice alone.",
        "Nothing needs to be done.",
        IMPORTER,
    ),
    Entry(
        "S3",
        "Constants behind Q and DQ fold; in the weight of an operator they become its INT8 weight.",
        "What does not depend on the input is computed once, while the engine is built.",
        "A constant behind Q and DQ that an Add reads becomes a float constant.",
        "Nothing needs to be done.",
        LOG,
    ),
)

MOVING = (
    Entry(
        "4.3",
        "Q moves backward and DQ forward until nothing moves any more.",
        "The rules R1 to R5 are applied in any order; scales are compared by value.",
        "Conv -> MaxPool -> Flatten -> Q: the Q ends behind the Conv, which takes it in.",
        "",
        f"{GUIDE}; {LOG}",
    ),
    Entry(
        "R1",
        "Qs of one tensor with equal scales merge.",
        "They compute the same.",
        "Two Convs that read one tensor through pairs of their own cost one Q.",
        "Nothing needs to be done; `qdq fix` merges them in the file.",
        LOG,
    ),
    Entry(
        "R2",
        "A DQ with several readers counts as one for each of them.",
        "Each reader takes in its own, or does not.",
        "DQ -> {Conv, Softmax}: the Conv takes its one in, the other is a kernel.",
        "Nothing needs to be done.",
        CHOICE,
    ),
    Entry(
        "R3",
        "A DQ and the Q behind it cancel where their scales are equal; else they are one rescaling kernel.",
        "With one scale the integers stay as they are. A convolution before them may take a rescaling in.",
        "DQ(0.02) -> Q(0.03).",
        "Give both one scale.",
        f"{GUIDE}; {LOG}",
    ),
    Entry(
        "R4",
        "Q moves backward over operators that move or select values, cloned to every input of a Concat.",
        "It has to be the only reader, and the tensor no output of the graph. The operator then works on integers, "
        "a quarter of the bytes.",
        "Conv -> MaxPool -> Q becomes Conv -> Q -> MaxPool.",
        "Nothing needs to be done.",
        f"{GUIDE}; {LOG}; {ENGINES}",
    ),
    Entry(
        "R5",
        "DQ moves forward over them; over a Concat only where all scales are equal.",
        "A DQ behind the Concat has one scale.",
        "DQ -> Transpose -> MatMul becomes Transpose -> DQ -> MatMul.",
        "Give the inputs of a Concat one scale (P11).",
        f"{GUIDE}; {ENGINES}",
    ),
)

FUSING = (
    Entry(
        "4.4",
        "A weighted operator absorbs batch norm, bias, one residual Add and an activation, then decides what it "
        "writes.",
        "It goes on as long as one operator alone reads the result, and the graph does not return it. Relu and Clip "
        "fit every kernel, other activations only those of ungrouped operators. Of two branches that could absorb "
        "an Add, the one that comes last in the file does.",
        "Conv -> BatchNormalization -> Add -> Relu -> Q is one kernel.",
        "",
        f"{GUIDE}; {ENGINES}; {LOG}",
    ),
    Entry(
        "4.4, case 1",
        "INT8 where one Q alone reads its result.",
        "The kernel can round before it writes, and nobody needs the float values.",
        "Conv -> Relu -> Q.",
        "Nothing needs to be done.",
        ENGINES,
    ),
    Entry(
        "4.4, case 2",
        "Float where no residual is absorbed and something else reads the result.",
        "Reading INT8 and writing float costs nothing by itself.",
        "DQ -> Conv -> Softmax.",
        "Nothing needs to be done.",
        ENGINES,
    ),
    Entry(
        "4.4, case 3",
        "INT8 with a residual where that comes from DQ and one Q alone reads the result.",
        "The kernel takes in the DQ of the residual and the Q; their scales may differ.",
        "Conv -> Add(DQ) -> Relu -> Q.",
        "Nothing needs to be done.",
        ENGINES,
    ),
    Entry(
        "4.4, case 4",
        "Float where the residual is float; the Q behind it stands alone.",
        "A kernel adds a residual of the type that it writes.",
        "Conv -> Add(float) -> Relu -> Q: two kernels.",
        "Put Q/DQ on the residual (P8).",
        ENGINES,
    ),
    Entry(
        "4.4, case 5",
        "Float where the residual comes from DQ and not one Q alone reads the result; the DQ stands alone.",
        "The kernel writes float, so it adds float.",
        "Conv -> Add(DQ) -> Softmax.",
        "Quantize every reader of the sum, or leave the residual float.",
        ENGINES,
    ),
    Entry(
        "4.5",
        "Pooling and pointwise operators are INT8 where all they read comes from DQ and one Q alone reads the result.",
        "Else they run in float. Neighbouring pointwise operators are one kernel. Every Q and DQ that no kernel "
        "took in is a kernel of its own.",
        "DQ -> AveragePool -> Q is one kernel; DQ -> AveragePool -> Softmax is three.",
        "Put Q/DQ on both sides, or on none.",
        f"{GUIDE}; {ENGINES}",
    ),
)

PREDICTING = (
    Entry(
        "4.6",
        "What the simulator says: a type for every input and output of a layer, a reason for every stand-alone Q "
        "and DQ.",
        "Reasons are codes such as MIXED_FANOUT; each has what would remove the kernel.",
        "`qdq explain MIXED_FANOUT` explains one.",
        "",
        CHOICE,
    ),
    Entry(
        "4.8",
        "What is not quantized has the type that the file gives it.",
        "Up to TensorRT 10 the flags of the build may turn FP32 into FP16; strongly typed networks, all there are in "
        "TensorRT 11, keep what the file says.",
        "The layers of `qdq inspect` say f32, f16 or b16, as the file does.",
        "",
        f"{ENGINES}; {GUIDE}",
    ),
    Entry(
        "4.9",
        "Six published INT8 engines whose layers the simulator predicts exactly.",
        "ResNet-18 in three placements, MobileNetV2 in two, and a ResNet-50 of TensorFlow. The rules were derived "
        "from engines too, so this shows that they agree with each other, not more.",
        "ResNet-18 with pairs on residuals and pooling: 20 of 21 kernels write INT8, and one Q, that of the input, "
        "stands alone.",
        "",
        ENGINES,
    ),
)

BUILDING = (*IMPORTING, *MOVING, *FUSING, *PREDICTING)
"""Chapter 4."""
