"""Operators that stay FP32 because of what their tensors hold: too large for the type, or too small."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.casting import reasons
from qdq_cli.casting.bounds import float_values
from qdq_cli.casting.findings import Finding, Scene, touching
from qdq_cli.casting.formats import limit


def out_of_reach(scene: Scene) -> Iterator[Finding]:
    """Find what makes and what reads tensors that were seen to leave the type, or to lie below its full precision.

    A bound that was computed says that a tensor is small, never that it is large: it is no observation.
    """
    form = scene.form
    for value in float_values(scene.graph):
        found = scene.reach(value)
        if found is None or value in scene.masks:
            continue
        if found.amax > limit(form) and value in scene.seen:
            detail = f"'{value.name}' reaches {found.amax:.4g}, and {form.name} ends at {form.largest:.4g}"
            yield from (Finding(node, reasons.OVERFLOW, detail) for node in touching(value, scene.graph))
        elif 0.0 < found.amax < form.smallest_normal:
            least = f"{form.name} is exact from {form.smallest_normal:.2g} on"
            detail = f"'{value.name}' stays below {found.amax:.2g}, and {least}"
            yield from (Finding(node, reasons.VANISHES, detail) for node in touching(value, scene.graph))
