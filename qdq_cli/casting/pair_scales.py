"""Operators that stay FP32 because a quantization scale beside them would not survive in the type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.casting import reasons
from qdq_cli.casting.constant_rules import SHARE
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.scales import held_scale, is_held
from qdq_cli.model.nodes import constant_at, consumers, input_at
from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize

_CLOSE = 2.0**-9
"""Relative change of a weight's scale that is lost in the rounding of its codes: half a step of the largest."""


def pair_scales(scene: Scene) -> Iterator[Finding]:
    """Find what stands beside a Q or DQ whose scale the type holds too coarsely."""
    if scene.single_scales:
        return
    for node in scene.graph:
        scale = constant_at(node, 1) if is_quantize(node) or is_dequantize(node) else None
        if scale is None or not scale.size or scale.dtype != np.float32:
            continue
        if is_quantize(node):
            if not holds_constant(node.inputs[0]) and not is_held(scale, scene.form):
                yield from _beside(node, node.inputs[0], scale, scene)
        elif holds_constant(input_at(node, 0)):
            yield from _of_weight(node, scale, scene)
        elif not is_held(scale, scene.form):
            yield from _readers(node, scale, scene)


def _beside(node: ir.Node, data: ir.Value | None, scale: NDArray[Any], scene: Scene) -> Iterator[Finding]:
    maker = None if data is None else data.producer()
    if maker is not None:
        yield Finding(maker, reasons.SCALE, _detail(node, float(scale.min()), scene))


def _readers(node: ir.Node, scale: NDArray[Any], scene: Scene) -> Iterator[Finding]:
    for reader, _ in consumers(node.outputs[0]):
        if reader.graph is scene.graph:
            yield Finding(reader, reasons.SCALE, _detail(node, float(scale.min()), scene))


def _detail(node: ir.Node, scale: float, scene: Scene) -> str:
    return f"'{node.name}' has {scale:.2g}, and {scene.form.name} counts by {scene.form.smallest:.2g} there"


def _of_weight(node: ir.Node, scale: NDArray[Any], scene: Scene) -> Iterator[Finding]:
    """A weight has a scale a channel: a lost one does not matter where its channel is nothing beside the others."""
    held = held_scale(scale, scene.form)
    change = np.abs(held.astype(np.float64) - scale)
    coarse = change > _CLOSE * scale
    if not coarse.any() or float(change[coarse].max()) <= SHARE * float(scale.max()):
        return
    yield from _readers(node, scale[coarse], scene)
