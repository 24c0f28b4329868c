"""Which operators a run quantizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlanConfig:
    """Which operators to quantize.

    Args:
        exclude: Names or globs of nodes that stay float.
        exclude_op: Operator types that stay float.
        only: Names or globs of the only weighted nodes to quantize; empty for all.
        skip_first: Keep the weighted operators that no other one comes before in float (P17).
        skip_last: Keep the weighted operators that no other one comes after in float (P17).
        per_tensor_weights: One scale a weight instead of one an output channel.
        deconv_per_channel: One scale an output channel for ConvTranspose too (section 9, item 1: sources disagree).
        mha: Quantize matrix products of two activations (section 3.3).
        group_rules: Leave grouped convolutions without an INT8 kernel float (A33).
        channel_rules: Leave convolutions with too few channels float (section 3.4).
        gemv_rules: Leave matrix-vector products float (section 3.4).
        residuals: Quantize residual branches so that the Add fuses (section 3.2, P8).
        residual_stream: Quantize both operands of residual Adds that feed float operators too (section 3.2, case 5).
        pooling: Quantize average pooling between INT8 operators (P9).
        safe: Treat operators with thin evidence in TensorRT (Gather) as float.
        range_rules: Leave depthwise convolutions float whose input is too wide for any range.
        wide: The nodes calibration found to be such.
    """

    exclude: tuple[str, ...] = ()
    exclude_op: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip_first: bool = False
    skip_last: bool = False
    per_tensor_weights: bool = False
    deconv_per_channel: bool = False
    mha: bool = False
    group_rules: bool = True
    channel_rules: bool = True
    gemv_rules: bool = True
    residuals: bool = True
    residual_stream: bool = False
    pooling: bool = True
    safe: bool = False
    range_rules: bool = True
    wide: frozenset[str] = frozenset()
