"""The reasons an operator input stays float whatever it is quantized for, as one table that needs no graph."""

from __future__ import annotations

OPTIMIZER_MADE = "OPTIMIZER_MADE"

OTHER_TYPE = "OTHER_TYPE"

REASONS: dict[str, str] = {
    "EXCLUDED": "excluded by its name",
    "OP_EXCLUDED": "its operator type is excluded by --exclude-op",
    "NOT_SELECTED": "not matched by --only",
    "FIRST_LAYER": "a first layer, kept float by --skip-first",
    "LAST_LAYER": "a last layer, kept float by --skip-last",
    "IN_BODY": "in the body of another operator, where it is not observed or not computed on integers",
    OTHER_TYPE: "quantized to another type",
    "NO_KERNEL": "there is no integer kernel for its operator",
    "NOT_FLOAT": "its element type is none of FP32, FP16 and BF16",
    "ALREADY_QUANTIZED": "the model already holds Q/DQ here",
    "CONSTANT_INPUT": "its input is the same for every sample, made from shapes or constants alone",
    "WEIGHT_COMPUTED": "its weight is computed at run time and is no constant",
    "ATTENTION": "a product of two activations, usually faster in float (--mha)",
    OPTIMIZER_MADE: "made by ONNX Runtime's optimizer, nothing else reads it",
    "UNOBSERVED": "behind an operator that ONNX Runtime does not know",
    "NEVER_RUN": "in a branch that no calibration sample takes",
    "WIDE_RANGE": "depthwise, and no range keeps four bits of its input (--no-range-rules)",
    "RUINED": "too noisy, quantized, for its small share of the work (--all-int8)",
    "ALONE_CONV": "a convolution, whose weight alone no kernel reads as codes",
    "ALONE_PRODUCT": "a product of two activations, it has no weight",
    "ALONE_STACK": "its weight is no matrix",
    "BLOCKS_CONV": "a convolution, and blocks are for products of matrices",
    "BLOCKS_DATA": "its data is no matrix or stack of matrices that lies along its inputs",
    "BLOCKS_FEW": "its inputs are a single block, which kernels compute in float",
    "BLOCK_SIZE": "its inputs are no multiple of the block (--block-size, --type int8-weights)",
    "RESIDUAL_FLOAT_CONSUMER": "no quantized reader behind this Add, or float readers as well",
    "RESIDUAL_BROADCAST": "operands differ in shape, a fused residual needs equal ones",
    "RESIDUAL_FLOAT_PRODUCER": "neither operand comes from an operator that can give codes",
    "RESIDUAL_OFF": "residual branches are kept float by --no-residuals",
    "FEW_BYTES": "its kernel gathers a few bytes at a time, slower than in float (--no-channel-rules)",
    "FLOAT_AROUND": "what it reads or what reads it is float",
    "POOL_FLOAT": "average pooling pays only between quantized operators",
    "POOL_OFF": "average pooling is kept float by --no-pooling",
}
"""Stable code -> sentence, short enough for a line of the summary; targets add reasons, and say some in their words.

The rules behind each stand in `qdq_cli.explaining.skips`.
"""
