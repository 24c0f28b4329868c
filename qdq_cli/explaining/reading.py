"""Rules of what TensorRT reads: chapters 0 and 1 up to 1.4, in the order of docs/rules.md."""

from __future__ import annotations

from qdq_cli.explaining.record import COMPILER, GUIDE, IMPORTER, LOG, MEASURED, ONNX, TOOLKITS, Entry

VERSIONS = (
    Entry(
        "0",
        "Which TensorRT releases are told apart.",
        "What is read differs between releases; what fuses was seen in engines of 8.4, and newer ones may fuse more.",
        "`qdq inspect --trt 8.6` reports only what holds for 8.6.",
    ),
    Entry(
        "0.2",
        "Each TensorRT release reads opsets up to a newest one.",
        "Releases fall into four groups that read the same files: 8.4; 8.5 and 8.6; 9 and 10; 11. 8.4 to 8.6 read "
        "opset 17 and below, 9.0 reads 19, 10.0 reads 20 and its later releases more, 11 reads 9 to 25.",
        "A model of opset 19 for TensorRT 8.6 needs an export with opset 17.",
        "Export with opset 17 or below; `qdq quantize` raises an opset only as far as Q and DQ need it.",
        f"{IMPORTER}; release notes",
    ),
)

ARITHMETIC = (
    Entry(
        "1",
        "What TensorRT reads.",
        "The importer refuses what breaks these rules, or, in a few cases, computes something else than ONNX says.",
        "`qdq inspect` checks them, without TensorRT.",
    ),
    Entry(
        "1.1",
        "Q divides by the scale, rounds half to even and saturates to -128..127; DQ multiplies by the scale.",
        "TensorRT quantizes symmetrically: scale = amax / 127, zero point 0. Sums run in INT32; bias and activation "
        "are applied in float before the result is rounded once. TensorRT may multiply by 1 / scale, which moves "
        "some values that lie between two integers to the other one.",
        "With scale 1.0, 0.5 becomes 0, 1.5 becomes 2, 127.5 becomes 127 and -129 becomes -128.",
        "Allow results of a GPU to differ by one integer.",
        f"{ONNX}; {GUIDE}; {MEASURED}",
    ),
    Entry(
        "A1",
        "Q saturates to -128..127, for weights too, and nothing stands between Q and DQ.",
        "TensorRT knows no narrower range. With scale = amax / 127, -128 never comes up, so nothing is lost.",
        "Q -> Clip(-127, 127) -> DQ, as some training tools write it, is not the pair that TensorRT looks for.",
        "`qdq fix` takes the clip out and keeps every number.",
        f"{GUIDE}; {TOOLKITS}",
    ),
)

GRANULARITY = (
    Entry(
        "1.3",
        "An activation has one scale; a weight has one, or one for each output channel.",
        "Kernels multiply the INT32 sum by one number for each output channel, so a scale has to be the same for "
        "everything that is summed.",
        "A Conv weight [64, 32, 3, 3] takes 1 or 64 scales; the tensor that the Conv reads takes 1.",
    ),
    Entry(
        "A2",
        "Activations have one scale for the whole tensor.",
        "Scales for each channel of an activation run along the axis that the next operator sums over.",
        "A Q on [1, 64, 56, 56] with 64 scales is refused.",
        "Quantize activations per tensor.",
        f"{GUIDE}; {IMPORTER}",
    ),
    Entry(
        "A3",
        "Weights have one scale, or one for each output channel.",
        "The scale of an output channel can be multiplied after the sum; any other one cannot.",
        "A Conv weight [64, 32, 3, 3] with 64 scales along axis 0.",
        "Nothing needs to be done: `qdq quantize` writes one for each output channel.",
        f"{GUIDE}; {IMPORTER}",
    ),
    Entry(
        "A4",
        "A scale of one element is per tensor, whatever `axis` says.",
        "TensorRT counts elements, not dimensions.",
        "Scale of shape [1] with axis=1 on [1, 64, 56, 56]: one scale for all 64 channels.",
        "Nothing needs to be done.",
        IMPORTER,
    ),
    Entry(
        "A5",
        "A per-channel scale is 1-D and as long as the tensor is along its axis.",
        "Each slice along the axis takes the element at its own place.",
        "A weight [64, 32, 3, 3] with axis 0 takes 64 scales; with 32 it is refused.",
        "Quantize the weight again along its output channels.",
        IMPORTER,
    ),
)

LEGALITY = (
    Entry(
        "1.4",
        "What scales and zero points may be.",
        "The importer checks them before anything is built, and differs between releases: the rules A7 to A22 say how.",
        "FP32 scale, INT8 zero point of zeros, both initializers, three inputs on each Q and DQ: every release "
        "reads it.",
    ),
    Entry(
        "A7",
        "Every element of a scale is finite and above 0.",
        "Q divides by it. The importer ends with an error about scales that are not positive.",
        "A channel of zeros that a tool gave the scale 0.",
        "`qdq fix` writes 1.0 for constants that are all zero, and keeps what others compute; else calibrate again.",
        IMPORTER,
    ),
    Entry(
        "A8",
        "Scales are known when the engine is built: initializers or Constant nodes.",
        "Kernels hold scales as numbers. From 10.13 on computed scales are tolerated; up to 8.6 zero points have to "
        "be constant too, without Identity before them.",
        "Scales that a fake-quantization module computes from its observer while it is exported.",
        "Export with frozen observers; `qdq fix` carries out what is computed from constants alone.",
        f"{GUIDE}; {IMPORTER}",
    ),
    Entry(
        "A9",
        "Up to TensorRT 8.6 scales are FP32.",
        "The importer of these releases reads no other type.",
        "An FP16 export with FP16 scales needs TensorRT 10.",
        "Store scales in FP32.",
        IMPORTER,
    ),
    Entry(
        "A10",
        "Since TensorRT 10 scales are FP32, FP16 or BF16.",
        "Opset 19 allows them, and strongly typed networks need them.",
        "An FP16 model with FP16 scales.",
        "Nothing needs to be done for TensorRT 10 and above.",
        IMPORTER,
    ),
    Entry(
        "A11",
        "A scale is FP32, or has the type of the floats around it.",
        "DQ returns the type of its scale, or since opset 23 the one that `output_dtype` names. An FP32 scale goes "
        "with any of them. A 16-bit scale whose DQ returns another type is read by TensorRT 11, and its operator runs "
        "in float; with FP8 it is refused. INT4 returns the type of its scale and no other. TensorRT 10 documents one "
        "type for scale and data.",
        "FP16 data takes FP16 scales, or FP32 scales and output_dtype=FP16 on each DQ; FP32 data takes FP32 scales.",
        "Store the scale in the type of the data.",
        f"{GUIDE}; {IMPORTER}; {COMPILER}",
    ),
    Entry(
        "A12",
        "Q reads float; DQ reads INT8, and since TensorRT 10 FP8, and INT4 and FP4 in blocks.",
        "Kernels have no other types (section 7).",
        "A DQ on INT32, as some tools write it for biases, is refused.",
        "Quantize to INT8.",
        GUIDE,
    ),
    Entry(
        "A13",
        "Zero points are INT8 zeros, as many as scales.",
        "TensorRT quantizes symmetrically: 0.0 is always the integer 0.",
        "A range of -1 to 5 kept as UINT8 with zero point 43 is refused.",
        "Calibrate with symmetric ranges.",
        IMPORTER,
    ),
    Entry(
        "A14",
        "Up to TensorRT 8.6 Q and DQ have three inputs, the zero point among them.",
        "The importer of these releases demands the third input.",
        "QuantizeLinear(x, scale) without a zero point.",
        "`qdq fix` adds the zero point.",
        IMPORTER,
    ),
    Entry(
        "A15",
        "Since TensorRT 10 the zero point may be missing: TensorRT then takes INT8, although ONNX says UINT8.",
        "Two runtimes compute different things from one file: in ONNX Runtime all negative values become 0.",
        "QuantizeLinear(-3.0, 1.0) is -3 in TensorRT and 0 in ONNX Runtime.",
        "`qdq fix` adds the zero point, so that all compute the same.",
        f"{IMPORTER}; {MEASURED}",
    ),
    Entry(
        "A16",
        "UINT8 data and zero points are refused, or silently taken as INT8.",
        "TensorRT has no UINT8 arithmetic on GPUs. Which of the two happens depends on the release. For DLA alone a "
        "flag of the parser takes them, from 10.11 on.",
        "What ONNX Runtime's quantizer writes by default for activations.",
        "`qdq fix` turns UINT8 with zero point 128 into INT8; others need a new calibration.",
        IMPORTER,
    ),
    Entry(
        "A19",
        "What is all zeros, or too small for a scale of its type, gets the scale 1.0.",
        "The scale amax / 127 would be 0 or denormal, and Q would divide by it. With 1.0 all becomes 0, as it was.",
        "A channel that pruning has set to zero.",
        "Nothing needs to be done: `qdq quantize` writes 1.0.",
        TOOLKITS,
    ),
    Entry(
        "A20",
        "A per-channel Q or DQ says its `axis`.",
        "Left out, importers up to 10.1 take 0, newer ones 1, and ONNX says 1.",
        "A Conv weight with 64 scales and no axis: right in one release, refused in the next.",
        "`qdq fix` writes the axis.",
        f"{IMPORTER}; {ONNX}",
    ),
    Entry(
        "A21",
        "The axis is not negative.",
        "TensorRT 8.0 and 8.2 take a negative axis as it is.",
        "axis=1 for a weight [128, 10], not axis=-1.",
        "Nothing needs to be done for models of qdq, which never writes a negative one.",
        IMPORTER,
    ),
    Entry(
        "A22",
        "Between the DQ of a weight and its operator there is nothing.",
        "TensorRT folds the pair of a weight into the operator that reads it. A Transpose before the Q of a "
        "constant folds; one behind the DQ may not.",
        "Q -> DQ -> Transpose -> MatMul of a Linear layer.",
        "Store the weight as it is read; `qdq quantize` does before it places pairs.",
        LOG,
    ),
    Entry(
        "A23",
        "TensorRT puts shuffles around 1-D convolutions, behind the DQ of the weight.",
        "It computes them as 2-D ones. The shuffle can keep the pair from folding into the weight (A22).",
        "Conv with a kernel [64, 32, 3], as in speech models.",
        "Write it as 2-D with a kernel of height 1, or leave it float.",
        IMPORTER,
    ),
)

READING = (*VERSIONS, *ARITHMETIC, *GRANULARITY, *LEGALITY)
"""Chapter 0 and the first half of chapter 1."""
