"""An operator that stays FP32 beside FP16 or BF16, as reports name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """An operator that stays FP32.

    Args:
        node: Its name.
        op_type: Its operator.
        code: Why, as a stable code that `qdq explain` explains.
        reason: Why, as a sentence without its full stop.
    """

    node: str
    op_type: str
    code: str
    reason: str
