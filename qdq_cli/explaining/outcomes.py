"""What a run can end with: why an output is far from FP32, and the exit codes."""

from __future__ import annotations

from qdq_cli.explaining.record import Entry

LOW = (
    Entry(
        "CLIPPED",
        "Most of the error is of values outside the ranges.",
        "Without clipping the same model is at least 3 dB closer to FP32, so half of its squared error was clipping.",
        "A detector whose box sizes reach further than any value of most pictures.",
        "Try another --method (minmax clips nothing that calibration saw), or --recover.",
    ),
    Entry(
        "ROUNDED",
        "Most of the error is of values between two integers.",
        "Without clipping the same model is hardly closer to FP32.",
        "A depthwise convolution whose input has one wide channel and many narrow ones.",
        "Try --recover; else leave the operators float that `qdq compare --layers` names.",
    ),
    Entry(
        "INPUT_UNLIKE",
        "An input is unlike those of calibration.",
        "Its largest value is more than one and a half times as large as in calibration, or less than a third of "
        "it: the ranges are for other data.",
        "Calibrated on pictures in 0..1, verified on pictures in 0..255.",
        "Use the same preprocessing for both.",
    ),
    Entry(
        "FEW_SAMPLES",
        "Values lie outside ranges that fewer than eight samples have shown.",
        "A few samples do not show how large values get.",
        "`qdq quantize --samples 2`.",
        "Calibrate with more samples; a hundred or more are common.",
    ),
    Entry(
        "NOT_FINITE",
        "NaN or Inf comes up where FP32 has none.",
        "An operator divides by, or takes the logarithm of, what became 0 by rounding.",
        "Div by a small denominator that is read in INT8.",
        "`qdq compare --layers` says where it starts; leave that operator float.",
    ),
    Entry(
        "FP32_IS_ZERO",
        "FP32 gives nothing but zeros here.",
        "There is nothing to hold an error against.",
        "A mask that finds nothing in any of the samples.",
        "Verify on samples for which the output is not zero.",
    ),
    Entry(
        "UNKNOWN",
        "The cause was not found.",
        "The model could not be run once more without clipping, for example because a scale is computed.",
        "A model in which another tool has left computed scales.",
        "`qdq compare --layers` says where the error starts.",
    ),
)
"""Why an output is low; the report names it (`low`)."""

EXITS = (
    Entry(
        "exit 0",
        "Done: everything that was asked for is there.",
        "Warnings do not change it; limits such as --min-sqnr do.",
        "`qdq quantize model.onnx --calib images/` with its model written.",
        "Nothing needs to be done.",
    ),
    Entry(
        "exit 2",
        "The command line is wrong.",
        "An option is unknown, contradicts another one, or names something that is not there.",
        "`qdq inspect model.onnx --node conv99` where no node is called so.",
        "Read the hint below the error; `-h` lists the common options, `--help` all.",
    ),
    Entry(
        "exit 3",
        "The model cannot be read, prepared, run or written.",
        "The file is damaged or missing, ONNX Runtime refuses it, or the disk is full.",
        "A model whose external data file was left behind.",
        "Read the hint below the error; nothing was written.",
    ),
    Entry(
        "exit 4",
        "The calibration data or the calibration cache cannot be used.",
        "Shapes or types differ from the inputs of the model, values are NaN, or the cache is of another network.",
        "Arrays [N, 224, 224, 3] for an input [N, 3, 224, 224].",
        "Read the hint below the error; it names the sample and the input.",
    ),
    Entry(
        "exit 5",
        "A limit that was set was not met.",
        "The result is worse than --min-sqnr, --min-agreement or --min-int8-macs allow, slower than --min-speedup "
        "(`speed`), or `qdq inspect --fail-on` found what it names. `undecided`: an agreement or a speed below the "
        "limit, of which too little was measured to tell.",
        "`qdq quantize ... --min-sqnr 20` where the result has 17 dB: no model is left under its name.",
        "Try --recover or `qdq tune`; more samples where it is undecided; or set the limit lower.",
    ),
    Entry(
        "exit 130",
        "Interrupted before the result was finished.",
        "Ctrl-C or SIGTERM ended the run.",
        "A long calibration that was stopped.",
        "Start the command again; `--recover` goes on from where it was.",
    ),
)
"""What the process ends with."""
