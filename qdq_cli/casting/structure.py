"""Operators that stay FP32 for what they are, whatever their tensors hold."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq_cli.casting import reasons
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.slots import is_single, low_slots
from qdq_cli.model.bodies import HOLDERS
from qdq_cli.model.dynamic import is_about_blocks, is_of_two_steps
from qdq_cli.model.nodes import ONNX_DOMAIN, inner_graphs, input_at, is_constant, is_op
from qdq_cli.model.scales import is_pair_half

_STATED = frozenset(
    {"Constant", "EyeLike", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
    | {"Bernoulli", "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"}
)
"""Operators that make numbers out of nothing, in a type that an attribute states."""

_COORDINATES = frozenset({"GridSample", "RoiAlign", "AffineGrid", "MaxRoiPool"})

_SPECTRA = frozenset({"DFT", "STFT", "Det"})

FOLLOWING = frozenset({"QuantizeLinear", "Shape", "Size"})
"""Operators that read a tensor in whatever float type it has and give the same."""


def structural(scene: Scene) -> Iterator[Finding]:
    """Find operators of other domains, with bodies, of unknown types, and those that ONNX lacks in the type."""
    shapes = shape_values(scene.graph)
    for node in scene.graph:
        if touches_single(node) or _holds_body(node):
            code = _code(node, scene, shapes)
            if code:
                yield Finding(node, code)


def touches_single(node: ir.Node) -> bool:
    """Say whether an operator reads or makes an FP32 tensor."""
    return any(map(is_single, node.inputs)) or any(map(is_single, node.outputs))


def _holds_body(node: ir.Node) -> bool:
    return bool(node.attributes.data) and any(True for _ in inner_graphs(node))


def _code(node: ir.Node, scene: Scene, shapes: frozenset[ir.Value]) -> str:
    if is_about_blocks(node):
        return ""  # they take and give each float type
    if node.domain != ONNX_DOMAIN:
        return reasons.CUSTOM_DOMAIN
    if is_op(node, *HOLDERS):
        return reasons.BODY
    if any(_is_untyped(value) for value in (*node.inputs, *node.outputs)):
        return reasons.UNTYPED
    if is_of_two_steps(node):
        return reasons.BLOCK_SCALES
    if is_pair_half(node):
        return "" if is_constant(input_at(node, 1)) else reasons.COMPUTED_SCALE
    if node.op_type in FOLLOWING:
        return ""
    if node.op_type in _STATED:
        return reasons.FIXED_TYPE
    if all(value in shapes for value in node.outputs):
        return reasons.FROM_SHAPES
    slots = low_slots(node, scene.opset, scene.form.dtype)
    if not slots.inputs and not slots.outputs:
        return reasons.NO_TYPE
    return _BY_NAME.get(node.op_type, "")


_BY_NAME = {**dict.fromkeys(_COORDINATES, reasons.COORDINATES), **dict.fromkeys(_SPECTRA, reasons.SPECTRUM)}


def _is_untyped(value: ir.Value | None) -> bool:
    """Say whether a value that is there is no tensor of a known element type; an output left out has no name."""
    if value is None or not value.name:
        return False
    return not isinstance(value.type, ir.TensorType) or value.type.dtype is ir.DataType.UNDEFINED


def shape_values(graph: ir.Graph) -> frozenset[ir.Value]:
    """Return the values that are computed from shapes and constants alone."""
    found: set[ir.Value] = set()
    for node in graph:
        reads = [value for value in node.inputs if value is not None]
        from_shapes = any(value in found for value in reads) and all(v in found or is_constant(v) for v in reads)
        if from_shapes or (node.op_type in ("Shape", "Size") and not node.domain):
            found.update(node.outputs)
    return frozenset(found)
