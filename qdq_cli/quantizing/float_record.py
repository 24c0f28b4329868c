"""What became of the operators that are not quantized, as a record of reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.casting.kept import Kept


@dataclass(frozen=True)
class FloatRest:
    """The part of a model that computes on floats, where these are FP16 or BF16.

    Args:
        float_type: `fp16` or `bf16`.
        operators: How many operators compute on floats.
        kept: Those that stay FP32, in the order of the graph, each with its reason.
        reasons: Code -> how many stay FP32 for it, the commonest first.
        casts: Casts inserted; None where the model is not written.
        clamped: Constants that were clamped to the type's largest value, which changes nothing: masks and ends of Clip.
        unobserved: Tensors of which nothing is known, so that their size was not weighed; None before calibration.
    """

    float_type: str
    operators: int
    kept: tuple[Kept, ...]
    reasons: Mapping[str, int]
    casts: int | None
    clamped: tuple[str, ...] = ()
    unobserved: tuple[str, ...] | None = None
