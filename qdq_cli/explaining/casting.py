"""Why an operator stays FP32 beside a 16-bit rest, reason by reason; the short sentences stand in `casting.reasons`."""

from __future__ import annotations

from qdq_cli.explaining.record import Told

CASTS = {
    "NO_TYPE": Told(
        "The type constraints of ONNX, at the model's opset, leave the type out, so that no checker and no runtime "
        "would take the file.",
        "NonMaxSuppression reads FP32 boxes; IsInf reads FP16 from opset 20 on.",
        "Nothing needs to be done.",
    ),
    "CUSTOM_DOMAIN": Told(
        "What ONNX does not define, its types neither: a plugin reads what it was written for.",
        "A plugin of TensorRT, or an operator of com.microsoft.",
        "Export the operator as ONNX operators, if its speed matters.",
    ),
    "BODY": Told(
        "The body of an If, Loop or Scan is a graph of its own: its operators get the float type, with Casts where it "
        "begins and ends, and what stands around it sees FP32.",
        "A Loop that decodes step by step; a network inside an If.",
        "Nothing needs to be done.",
    ),
    "NEVER_TAKEN": Told(
        "FP16 ends at 65504, and of a branch that no calibration sample takes nothing says how far its tensors reach.",
        "The branch for another sample rate than that of the samples.",
        "Calibrate on samples that take the branch, or use BF16, which reaches as far as FP32.",
    ),
    "UNTYPED": Told(
        "Sequences, optional values, and what shape inference could not type cannot be cast.",
        "SplitToSequence; a result of an operator behind a plugin.",
        "Export the model without them.",
    ),
    "FROM_SHAPES": Told(
        "Sizes and offsets are exact numbers, and computing them takes no time.",
        "Shape, Cast to FP32, Mul by a factor, Floor: the size that a Resize makes.",
        "Nothing needs to be done.",
    ),
    "FIXED_TYPE": Told(
        "It makes numbers out of nothing, in a type that one of its attributes states.",
        "RandomNormal, EyeLike, HannWindow.",
        "Nothing needs to be done.",
    ),
    "COORDINATES": Told(
        "Eleven binary digits place a sample in a picture of 1,000 pixels to half a pixel, eight digits to four. A sum "
        "with a grid of cells or prior boxes counts, and all behind it, where the type moves a position by more than a "
        "sixteenth of a cell.",
        "The grid of a GridSample, the boxes of a RoiAlign, the last operators of a detector in BF16.",
        "Nothing needs to be done.",
    ),
    "SPECTRUM": Told(
        "Each result sums a whole axis with weights that cancel, so what every term rounds stays in the sum.",
        "DFT, STFT, Det.",
        "Nothing needs to be done.",
    ),
    "OVERFLOW": Told(
        "FP16 ends at 65504, and what is larger becomes infinite, then NaN. Other samples reach further than those "
        "that were seen, so a tensor counts that comes within a factor of four of the end.",
        "The square of an activation that reaches 200.",
        "Nothing needs to be done. BF16 reaches as far as FP32, with three digits fewer.",
    ),
    "VANISHES": Told(
        "Below its smallest normal value, 6.1e-05, FP16 has fewer digits the smaller a number is: seven at 7.6e-06, "
        "none below 3e-08. A tensor that nothing makes large again may vanish, as attention that was pruned does; one "
        "that something divides by, normalizes or multiplies by large numbers may not.",
        "A variance that is 1e-06 everywhere, below a root.",
        "Nothing needs to be done.",
    ),
    "CONSTANT_OVERFLOW": Told(
        "A constant beyond 65504 is infinite in FP16.",
        "Mul by 100000.",
        "Nothing needs to be done. A mask that a Softmax ignores, and the end of a Clip, are clamped instead.",
    ),
    "CONSTANT_VANISHES": Told(
        "A constant that is small against the others of its tensor may be lost; one that the result depends on may "
        "not. It counts by what its rounding moves the result.",
        "Mul by 1e-07; a convolution all of whose weights lie below 1e-06.",
        "Nothing needs to be done.",
    ),
    "GUARD": Told(
        "The epsilon below a root or in front of a division is 0 in FP16, and the first row of equal numbers then "
        "makes 0 / 0. The number, what it is added to, and all operators up to the division stay FP32.",
        "Pow, ReduceMean, Add 1e-12, Sqrt, Div: a LayerNorm written out.",
        "Export LayerNormalization as one operator (opset 17): it computes in FP32 inside, whatever it reads.",
    ),
    "SMALL_DIVISOR": Told(
        "A divisor below 4e-06 has less than seven digits in FP16, and the quotient as few.",
        "Div by a norm that is 1e-06 for some samples.",
        "Nothing needs to be done.",
    ),
    "LONG_SUM": Told(
        "A sum kept in 11 digits stands still when it is 2,048 times as large as what is added, one of 8 digits at 256 "
        "times.",
        "ReduceMean over 4,096 values.",
        "Nothing needs to be done. LayerNormalization and Softmax sum in FP32 inside and are not meant.",
    ),
    "INNER_OVERFLOW": Told(
        "A mean is a sum first, and a norm a sum of squares; what overflows on the way is lost although the result "
        "would fit.",
        "ReduceL2 of values up to 300; the logarithm of a Softmax that is 0 in FP16.",
        "Nothing needs to be done.",
    ),
    "TO_INTEGER": Told(
        "FP16 holds every integer up to 2,048, BF16 up to 256; an index beyond that would name a neighbour.",
        "Floor, then Cast to INT64, of positions up to 10,000.",
        "Nothing needs to be done.",
    ),
    "SCALE": Told(
        "A scale takes the type of the data it stands beside (A11). Below 1.5e-05 FP16 holds it too coarsely, below "
        "3e-08 not at all, and a Q or DQ with another scale means other numbers.",
        "Weights that are 0.0001 at most: their INT8 scale is 8e-07.",
        "Nothing needs to be done.",
    ),
    "COMPUTED_SCALE": Told(
        "A scale that is no constant cannot be rounded beforehand, so the pair stays FP32 (A8).",
        "DynamicQuantizeLinear, then DQ.",
        "Calibrate: a constant scale lets TensorRT fuse the pair.",
    ),
    "BLOCK_SCALES": Told(
        "The DQs of NVFP4 multiply by FP32 scales, and NVIDIA's compiler refuses ones that give another type: a Cast "
        "behind them gives the type of what reads it (decision 20).",
        "The two DQs behind TRT_FP4DynamicQuantize.",
        "Nothing needs to be done.",
    ),
    "ISLAND": Told(
        "The operator itself could be 16-bit, but what it reads and what reads it is FP32, and a Cast moves more bytes "
        "than the operator in FP32 does.",
        "The Reshape between two operators that stay FP32.",
        "Nothing needs to be done.",
    ),
}
