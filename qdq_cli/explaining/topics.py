"""What options for experts are about, where no rule, reason or finding says it."""

from __future__ import annotations

from qdq_cli.explaining.record import CHOICE, MEASURED, Entry

TOPICS = (
    Entry(
        "methods",
        "How the range of a tensor follows from its histogram.",
        "Of the four, minmax keeps everything that calibration saw, percentile all but a share of it, entropy and mse "
        "what costs least information or squared error. Values outside the range are cut off; a wider range has larger "
        "steps. auto is mse, but of a tensor that only depthwise convolutions read it takes the one of the four that "
        "leaves their outputs the least noise, channel by channel.",
        "Activations that reach 16.9 once and lie below 6 else: minmax keeps 16.9, `--percentile 99.9` about 6.",
        "Keep auto, which lost least on the measured models; `qdq cache show` has the ranges of every method.",
        "docs/accuracy.md",
    ),
    Entry(
        "recovery",
        "How accuracy is recovered with every operator still in INT8.",
        "Each step proposes changes of ranges, weights or biases, and one is kept only where the error of the layer "
        "and of the model's outputs falls on samples set aside. Operators that are to be float in the end are "
        "recovered with all others first, so that what they leave behind is measured as it was when they were chosen.",
        "`qdq quantize --recover-step bias` corrects biases alone; `qdq tune` prints the "
        "`--exclude-after-recovery` that makes its model again.",
        "Take `--recover` as it is; name single steps where time matters, or one of them is to be measured.",
        "docs/recover.md",
    ),
    Entry(
        "forms",
        "How a run of operators that only move values is written between INT8 operators.",
        "A pair at both ends of each (pairs) is what every tool writes and TensorRT reads; its Q and DQ move over such "
        "operators until they meet a kernel. With int8-regions these operators run on INT8 tensors in the file "
        "itself, so that a runtime that moves nothing computes the same with less traffic.",
        "Conv -> Transpose -> Conv: two pairs, or Q -> Transpose on INT8 -> DQ.",
        "Keep pairs for TensorRT; try int8-regions where another runtime runs the file as it stands.",
        CHOICE,
    ),
    Entry(
        "shares",
        "How one calibration is divided among processes and machines.",
        "Histograms of shares add up to that of a single run, bit for bit, whatever the order, because the bins are "
        "the same for all.",
        "`qdq calibrate --shard 2/8` on eight machines, then `qdq cache merge`; `--dask` lets a scheduler do both.",
        "Give each share the same data and options, and only another `--shard`.",
        MEASURED,
    ),
)
"""The topics in the order of docs/findings.md."""
