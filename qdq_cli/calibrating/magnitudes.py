"""Which tensors calibration takes the extremes of, besides those whose values it counts: what FP16 needs to know."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from calibrators import Extremes
from qdq_cli.casting.bounds import to_observe
from qdq_cli.casting.formats import FORMATS, limit
from qdq_cli.config.forms import FloatType

TYPICAL = 256.0
"""What a tensor that is observed is taken to reach, before that is known, when the others are chosen.

On the networks that were measured most activations stay below 30, and the largest of each reach 12 to 282. With this,
bounds of weights and operators leave few tensors open that have to be observed, and where one turns out far larger,
those that follow from it are looked at again."""


def extremes_to_watch(model: ir.Model, counted: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors whose smallest and largest value have to be observed so that all others follow from them.

    They depend on the model alone, not on the samples, so that shares of a calibration observe the same.

    Args:
        model: The prepared model.
        counted: Names of the tensors that have a histogram.
    """
    known = dict.fromkeys(counted, Extremes(-TYPICAL, TYPICAL))
    return to_observe(model, known, limit(FORMATS[FloatType.FP16]), TYPICAL)
