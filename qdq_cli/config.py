"""Everything a run of `qdq quantize` can be told, as frozen records with working defaults."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class WeightForm(Enum):
    """How quantized weights are stored (rules, section 1.7)."""

    FP32 = "fp32"
    """F1: float initializer -> Q -> DQ. Every TensorRT reads it."""
    INT8 = "int8"
    """F2: INT8 initializer -> DQ. A quarter of the size; TensorRT 10 and above."""
    INT8_COMPAT = "int8-compat"
    """F3: float initializer of integer values -> Q(scale 1) -> DQ. Every TensorRT reads it."""


class Form(Enum):
    """How the INT8 region is written where operators commute with quantization."""

    PAIRS = "pairs"
    """A Q/DQ pair at each end of a run of commuting operators."""
    INT8_REGIONS = "int8-regions"
    """Q really moved backward and DQ forward: the commuting operators run on INT8 tensors."""


class TensorRT(Enum):
    """Oldest TensorRT release the model must be read by (rules, section 0.2)."""

    V8_4 = "8.4"
    V8_6 = "8.6"
    V10 = "10"
    V11 = "11"

    @property
    def reads_half_scales(self) -> bool:
        """FP16 and BF16 scales are read since TensorRT 10 (A10)."""
        return self in (TensorRT.V10, TensorRT.V11)


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
        deconv_per_channel: One scale an output channel for ConvTranspose too (section 9.1: sources disagree).
        mha: Quantize matrix products of two activations (section 3.3).
        group_rules: Leave grouped convolutions without an INT8 kernel float (A33).
        channel_rules: Leave convolutions with too few channels float (section 3.4).
        gemv_rules: Leave matrix-vector products float (section 3.4).
        residuals: Quantize residual branches so that the Add fuses (section 3.2, P8).
        residual_stream: Quantize both operands of residual Adds that feed float operators too (section 3.2, case 5).
        pooling: Quantize average pooling between INT8 operators (P9).
        safe: Treat operators with thin evidence in TensorRT (Gather) as float.
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
