"""Scales that a 16-bit type holds exactly, and weights behind Q that keep their codes under them.

A Q and the DQs that read its codes may stand beside data of different types. Their scales have to agree by value, so
every scale of a model is rounded to one that the 16-bit type holds, and FP32 scales hold the same numbers.

Source: rules A11 (type of a scale), R4 and R5 (scales are compared by value).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qtypes import QTYPES
from qdq_cli.casting.formats import FloatFormat
from qdq_cli.casting.weights import spread, spread_scale
from qdq_cli.model.nodes import constant_at
from qdq_cli.model.scales import stored_type

COARSE = 2.0**-7
"""Largest relative change of an activation's scale: a step that is 1 % coarser is lost in the noise of 8 bits."""


def held_scale(scale: NDArray[Any], form: FloatFormat) -> NDArray[Any]:
    """Return scales that a type holds, in FP32: the nearest, and where the type is coarse there, the next above.

    Rounded up, a range is kept to its end, at the price of a coarser step. No scale becomes 0 (A7).
    """
    wide = np.asarray(scale, dtype=np.float32)
    nearest = form.rounded(wide).astype(np.float32)
    above = np.ceil(wide.astype(np.float64) / form.smallest) * form.smallest
    held = np.where(wide < form.smallest_normal, above, nearest)
    return np.where(wide > 0, np.minimum(held, form.largest), wide).astype(np.float32)


def is_held(scale: NDArray[Any], form: FloatFormat) -> bool:
    """Say whether a type holds scales closely enough for activations."""
    wide = np.asarray(scale, dtype=np.float32)
    return bool(np.all(np.abs(held_scale(wide, form) - wide) <= COARSE * wide))


def recoded(quantize: ir.Node, floats: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any] | None:
    """Return the constant that a Q turns into the same codes under another scale, in FP32.

    Args:
        quantize: A Q of a constant; its own scale is the one of before.
        floats: The constant.
        scale: The scale that its Q will have, of the shape of its own.

    Returns:
        Codes times the new scale; None where the codes cannot be computed.
    """
    qtype = QTYPES.get(stored_type(quantize).name.lower())
    before = spread_scale(quantize)
    after = spread(quantize, scale, floats.shape)
    zero = constant_at(quantize, 2)
    if qtype is None or before is None or after is None or not np.isfinite(floats).all():
        return None
    stored = np.zeros((), qtype.dtype) if zero is None else np.asarray(zero).view(qtype.dtype)
    offset = spread(quantize, stored, floats.shape)
    if offset is None:
        return None
    codes = qtype.encode(np.asarray(floats / before, dtype=np.float32).reshape(floats.shape), offset)
    return np.asarray(qtype.decode(codes, offset) * after)
