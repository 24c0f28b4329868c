"""Which tensors calibration takes the extremes of, besides those whose values it counts: what FP16 needs to know."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from qdq_cli.placement.topology import float_tensors


def extremes_to_watch(model: ir.Model, counted: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors whose smallest and largest value have to be observed so that all others follow from them.

    Args:
        model: The prepared model.
        counted: Names of the tensors that have a histogram.
    """
    known = set(counted)
    return tuple(name for name in float_tensors(model.graph) if name not in known)
