"""Rules of ranges, calibration tables and types: chapters 5 to 7, and what is open: chapter 9."""

from __future__ import annotations

from qdq_cli.explaining.record import (
    CHOICE,
    COMPILER,
    ENGINES,
    GUIDE,
    IMPORTER,
    MATRIX,
    MIGRATION,
    ONNX,
    TOOLKITS,
    Entry,
)

RANGES = (
    Entry(
        "5",
        "How a range is chosen from what calibration saw.",
        "A wide range loses small values, a narrow one cuts large ones off; methods differ in what they weigh.",
        "`qdq quantize --method auto` is the default: mse, but where depthwise convolutions read another range better.",
    ),
    Entry(
        "5.1",
        "TensorRT had a calibrator for each family of networks, up to 10.x.",
        "IInt8EntropyCalibrator2: convolutional networks, and the only one for DLA, which releases up to 10.7 have. "
        "IInt8MinMaxCalibrator: language models. All are deprecated since 10.1 and gone from 11, where ranges come "
        "with the model as Q/DQ; on DLA too, which 11.4.1 has again (AGX Orin, JetPack 7.2.2 on; Thor has none).",
        "A table written for DLA has EntropyCalibration2 in its first line.",
        "`qdq migrate MODEL --cache TABLE` writes the Q/DQ model that a table and its float model stand for.",
        f"{GUIDE}; NvInfer.h of 10.7 to 11.0; {MIGRATION}",
    ),
    Entry(
        "5.2",
        "The entropy method: the range whose 128 levels keep most of the information in the histogram.",
        "For each candidate the values outside are added to the last bin, the rest is merged into 128 groups, and "
        "the divergence of the two distributions is measured; the smallest wins. What TensorRT's second version "
        "changed is not published.",
        "2048 bins of |x| give 1920 candidates, from 128 bins to all.",
        "",
        "Migacz 2017, 8-bit Inference with TensorRT, GTC",
    ),
    Entry(
        "5.3",
        "Tools differ in details of entropy and mse.",
        "Which of two equal candidates wins, whether the bin of 0 counts, and where in a bin the range ends. qdq "
        "gives the bin of 0 the count of its neighbour, because a ReLU fills it with zeros that say nothing about a "
        "range, and takes the first of equal candidates.",
        "One layer had the range 16.9 by its largest value, 6.0 by mse and 0.95 by entropy.",
        "",
        "pytorch-quantization and ONNX Runtime, their source",
    ),
    Entry(
        "5.4",
        "What qdq does so that ranges depend on the data alone.",
        "Histograms of |x| with 2048 bins, which double by merging pairs of bins when a larger value comes, so that "
        "neither order nor batch size matters. Percentiles are interpolated inside their bin. A scale group merges "
        "its histograms. Models are run with the graph optimizations of ONNX Runtime off: they take Q/DQ away "
        "around some operators.",
        "The same samples in another order give the same bytes.",
        "",
        CHOICE,
    ),
)

TABLES = (
    Entry(
        "6",
        "Calibration tables of other tools.",
        "`qdq cache export` writes them, `--ranges` reads them.",
        "`qdq cache export model.qcal --format tensorrt` writes TensorRT's.",
    ),
    Entry(
        "6.1",
        "TensorRT's table: a first line with release and calibrator, then `name: scale` for each tensor.",
        "The scale is amax / 127 as the eight hexadecimal digits of a big-endian FP32, without leading zeros. Names "
        "may hold colons, so a line is split at its last `: `.",
        "`conv1_out: 3d418306` is amax 6.0; `TRT-8503-EntropyCalibration2` is 8.5.3, `TRT-101401-` 10.14.1.",
        "",
        f"{GUIDE}; trtexec, its source",
    ),
    Entry(
        "6.2",
        "A table holds for the release and the calibrator in its first line.",
        "TensorRT calibrates again where they differ.",
        "A table of 8.5 is not read by 8.6.",
        "`qdq cache export --trt 8.6.1` names the release.",
        GUIDE,
    ),
    Entry(
        "6.3",
        "Who reads which table.",
        "Up to TensorRT 10 trtexec reads TensorRT's own (`--calib`); 11 reads none, and its trtexec ends at that "
        "option. ONNX Runtime's TensorRT provider reads it too where it was built for 10 or older, or a FlatBuffers "
        "file of names and amax. A Q/DQ model needs none: where one is in the network, tables are ignored.",
        "ONNX Runtime's own file is called calibration.flatbuffers.",
        "For 11 `qdq migrate MODEL --cache TABLE` makes a Q/DQ model of a table.",
        f"trtexec and ONNX Runtime, their source; {MIGRATION}",
    ),
    Entry(
        "6.4",
        "TensorRT's ranges are symmetric: of (min, max) the larger absolute value counts.",
        "The scale is max(|min|, |max|) / 127. Networks with Q/DQ use no such ranges, and TensorRT 11 has none.",
        "(-1, 6) is taken as -6..6.",
        "",
        GUIDE,
    ),
)

TYPES = (
    Entry(
        "7",
        "Newer types, and the opset that each needs.",
        "Q and DQ: opset 10; `axis` 13; FP16 scales and FP8 19; INT4 and block scales 21; FP4 23. Opset 13 goes "
        "with IR version 7, 19 with 9, 21 with 10, 23 with 11. TensorRT 10 and above read FP8 and, for weights "
        "alone, INT4 with a scale for each block of 64 or 128. The scale of FP8 is amax / 448, that of INT4 amax / "
        "7.",
        "DequantizeLinear(axis=0, block_size=128) on an INT4 weight [K, N].",
        "",
        f"{ONNX}; {GUIDE}",
    ),
    Entry(
        "7.1",
        "Products compute in INT8 or FP8 where both operands come from Q/DQ of that type.",
        "FP8 is written as INT8 is, with zero points of FLOAT8E4M3FN. A Cast between float types behind a DQ or before "
        "a Q costs nothing. Pooling has INT8 kernels and no FP8 ones.",
        "Q and DQ with FP8 zero points on data and weight of a MatMul: one FP8 kernel.",
        "Nothing needs to be done.",
        f"{GUIDE}; {COMPILER}",
    ),
    Entry(
        "7.2",
        "A weight alone may be stored as codes: the operator computes in float, and reads fewer bytes.",
        "A DQ without a Q on the data is no half of a pair that is missing. Matrix products read INT8 weights with a "
        "scale a column and INT4 in blocks inside their kernels; a convolution makes its weight float first.",
        "DequantizeLinear on an INT8 weight [K, N], read by a MatMul of FP16 data.",
        "Nothing needs to be done.",
        f"{GUIDE}; {COMPILER}",
    ),
    Entry(
        "7.3",
        "NVFP4 and MXFP8 have a scale for each block, which the network computes for activations while it runs.",
        "NVFP4: TRT_FP4DynamicQuantize makes codes and FP8 scales of blocks of 16; one DQ turns the scales into FP32 "
        "by a scale for all of them, a second one the codes. MXFP8: TRT_MXFP8DynamicQuantize and "
        "TRT_MXFP8DequantizeLinear, blocks of 32, scales that are powers of two and stored as UINT8. The operator that "
        "quantizes is a kernel of its own.",
        "A MatMul whose operands are both FP4 codes behind two DQs each.",
        "Nothing needs to be done.",
        f"{GUIDE}; custom operators of onnx/onnx-tensorrt; {COMPILER}",
    ),
    Entry(
        "7.4",
        "Each type needs a GPU that has units for it.",
        "Turing (sm75) has FP16 and INT8; Ampere (sm80, sm86) adds BF16 and weights alone in INT8 and INT4; Ada (sm89) "
        "and Hopper (sm90) add FP8, Blackwell (sm100, sm120) NVFP4 and MXFP8. A file with a type that the GPU lacks is "
        "read, and refused when the engine is built; INT8 weights alone are built and made float first.",
        "An FP8 model on an A100 (sm80) ends in an error of the builder.",
        "Quantize to a type that the GPU has, or build for another one.",
        f"{MATRIX}; {COMPILER}",
    ),
)

OPEN = (
    Entry(
        "9",
        "What public sources leave open.",
        "Predictions that depend on it are marked uncertain, with the number of the question.",
        "`qdq inspect --layers` puts a ? behind such layers.",
    ),
    Entry(
        "9, item 1",
        "Along which axis ConvTranspose takes per-channel scales.",
        "The guide says output channels (axis 1); a maintainer said in 2022 that kernels take axis 0; tools have "
        "changed from one to the other. Only for depthwise ones is axis 0 exact.",
        "A weight [C, M, 2, 2].",
        "One scale is safe, and the default but for depthwise ones, where both readings mean axis 0; "
        "`--deconv-per-channel` writes axis 1 for the others.",
        f"{GUIDE}; {TOOLKITS}",
    ),
    Entry(
        "9, item 2",
        "Whether ConvTranspose runs in INT8, and whether a Q fuses behind it, depends on version and activation.",
        "Without an activation between them the Q fuses; with one, reports contradict each other. TensorRT for RTX 1.7 "
        "has run no ConvTranspose in INT8 in any form that was tried (docs/conformance.md).",
        "ConvTranspose -> Relu -> Q.",
        "`qdq inspect --deconv-absorbs-q` assumes that it fuses; `qdq build` shows what is built.",
        "NVIDIA/TensorRT issues 1699, 2597, 3412, 4366 and 4668",
    ),
    Entry(
        "9, item 9",
        "Nearest Resize is documented to run in INT8; one user saw it in float.",
        "A maintainer says that it does by itself; the report is of 8.4.",
        "Conv -> Resize(nearest) -> Q -> DQ -> Conv.",
        "Nothing needs to be done; look at the layers of the engine.",
        "NVIDIA/TensorRT issue 2976",
    ),
    Entry(
        "9, item 10",
        "Gather is listed with INT8; one report says that Q/DQ around it do not pair up.",
        "The table of the importer speaks of types, not of fusing.",
        "Gather of rows of an activation, behind a DQ.",
        "`qdq quantize --safe` takes Gather as float.",
        f"{IMPORTER}; NVIDIA/TensorRT issue 2323",
    ),
    Entry(
        "9, item 11",
        "Some pointwise kernels read INT8 and write float; on which GPUs is not documented.",
        "Seen on newer GPUs, and not on Pascal.",
        "DQ, DQ -> Add -> Softmax.",
        "Nothing needs to be done; look at the layers of the engine.",
        "NVIDIA/TensorRT issues 2204, 3127 and 3205",
    ),
    Entry(
        "9, item 16",
        "Which of two convolutions absorbs an Add was seen for one version only: the last in the file.",
        "The prediction then depends on the order of nodes, and another release may choose otherwise.",
        "A down-sampling block without Q/DQ on its branches.",
        "Q/DQ on one of the two branches settle it (P8).",
        ENGINES,
    ),
)

CALIBRATING = (*RANGES, *TABLES, *TYPES)
"""Chapters 5 to 7."""
