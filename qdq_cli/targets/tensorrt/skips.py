"""The reasons an operator input stays float that TensorRT adds, or has more to say about; needs no graph."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "NOT_FLOAT": "its element type has no INT8 counterpart in TensorRT (FP32, FP16 and BF16 do)",
    "WEIGHT_COMPUTED": "its weight is computed at run time, TensorRT needs a constant",
    "CONSTANT_LEFT": "its constant is the left operand, undocumented in TensorRT",
    "EINSUM": "TensorRT computes Einsum in float, and it is no product of two matrices",
    "GROUP_ALIGN": "channels a group are no multiple of 4 (--no-group-rules)",
    "FEW_CHANNELS": "too few channels for INT8 to pay (--no-channel-rules)",
    "LONG_ATTENTION": "attention over more than 512 tokens, far faster in one float kernel (--no-attention-rules)",
    "FP8_GROUPED": "grouped, and no kernel for groups is fast on FP8 (--no-group-rules)",
    "FP8_LARGE_FILTER": "its filter has more than 32 elements, too many for kernels on FP8",
    "GEMV": "a matrix-vector product, bound by memory (--no-gemv-rules)",
}
"""Stable code -> sentence."""
