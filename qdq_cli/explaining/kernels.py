"""What each reason of a stand-alone Q or DQ means, and an example; what would remove it stands in the remedies."""

from __future__ import annotations

from qdq_cli.explaining.record import Entry

STANDALONE = (
    Entry(
        "BOUNDARY_INPUT",
        "the tensor comes from the graph's inputs in float",
        "The caller gives float, so somebody has to convert it: one kernel, which is counted apart.",
        "image -> Q -> DQ -> Conv.",
    ),
    Entry(
        "BOUNDARY_OUTPUT",
        "a DQ makes a graph output",
        "The caller wants float, so somebody has to convert it: one kernel, which is counted apart.",
        "Conv -> Q -> DQ -> output.",
    ),
    Entry(
        "MIXED_FANOUT",
        "the tensor is read by a Q and in float, or is a graph output too",
        "The kernel that makes it writes one type. For the float reader it writes float, and the Q for the others "
        "is a kernel of its own.",
        "Conv -> {Q -> DQ -> Conv, Softmax}.",
    ),
    Entry(
        "SCALE_MISMATCH",
        "several scales on one tensor, or on the inputs of one Concat",
        "A kernel writes INT8 with one scale.",
        "Two Qs with the scales 0.02 and 0.03 read the result of one Conv.",
    ),
    Entry(
        "RESIDUAL_FLOAT",
        "the Add that a kernel absorbed has a float residual, so the kernel writes float",
        "A kernel adds a residual of the type that it writes.",
        "x -> Conv -> Add(x) -> Q without a pair on x.",
    ),
    Entry(
        "RESIDUAL_NOT_REQUANTIZED",
        "the residual is INT8, but the result of the Add is not read by a Q alone",
        "The kernel writes float, so it adds float, and the DQ of the residual has to be computed before.",
        "Conv -> Add(DQ) -> Softmax.",
    ),
    Entry(
        "FLOAT_PRODUCER",
        "an operator without INT8 form, or one that is not quantized, makes the tensor",
        "Only a kernel that computes on integers can round its result as it writes it.",
        "LayerNormalization -> Q -> DQ -> MatMul.",
    ),
    Entry(
        "FLOAT_CONSUMER",
        "an operator without INT8 form, or one that is not quantized, reads the tensor",
        "It reads float, so the integers have to be converted first.",
        "DQ -> Softmax.",
    ),
    Entry(
        "NONCOMMUTING",
        "a Pad, Resize or average pooling that Q or DQ cannot cross lies between",
        "These operators compute new values, which are not on the grid of what they read.",
        "Conv -> Resize(linear) -> Q -> DQ -> Conv.",
    ),
    Entry(
        "DEPTHWISE_ACT",
        "an activation behind a grouped convolution, whose kernels have no such epilogue",
        "They can end in Relu or Clip only. Another activation is a kernel of its own that reads float, and so is "
        "the Q behind it.",
        "depthwise Conv -> Sigmoid, Mul -> Q, as in EfficientNet.",
    ),
    Entry(
        "DECONV",
        "an activation behind ConvTranspose, which does not absorb the Q",
        "Reports about it contradict each other, so the worse case is predicted (`--deconv-absorbs-q` assumes the "
        "other).",
        "ConvTranspose -> Relu -> Q -> DQ -> Conv.",
    ),
)
"""Meaning of each reason; `says` is a part of a sentence, as the tables of the documentation show it."""
