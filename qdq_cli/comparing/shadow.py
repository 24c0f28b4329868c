"""Shadows: what each piece of a quantized graph makes of FP32 input, computed beside the float model in one graph.

A tensor that both models have is computed in the quantized one from other such tensors: by a convolution with its Q/DQ,
say. Its shadow is a copy of that piece reading the *float model's* tensors. The difference between the tensor and its
shadow is the error this piece adds by itself, free of what came in from before.

    model, shadows = shadow_model(reference, quantized, match_tensors(reference, quantized))

The model has the float model's inputs and all of its tensors under their names, and the shadows as outputs: any runner
that takes tensors out of a model gets pairs to compare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.comparing.activations import code_range
from qdq_cli.comparing.graft import Given, Graft, nodes_behind
from qdq_cli.comparing.match import ACTIVATIONS, Match

PREFIX = "local/"

_CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Piece:
    """The nodes of a quantized graph that compute one shared tensor from others.

    Args:
        match: The tensor.
        result: The value of the quantized graph that stands for it.
        nodes: The nodes, in graph order.
    """

    match: Match
    result: ir.Value
    nodes: tuple[ir.Node, ...]

    @property
    def quantizes(self) -> bool:
        """Whether anything of the piece is quantization: Q, DQ or an operator on codes. If not, it adds no error."""
        return any(is_quantization(node) for node in self.nodes)

    @property
    def on_codes(self) -> tuple[str, ...]:
        """The operators of the piece that work on codes themselves."""
        found = (node.op_type for node in self.nodes if is_quantization(node) and node.op_type not in _CONVERSIONS)
        return tuple(dict.fromkeys(found))


def is_quantization(node: ir.Node) -> bool:
    """Say whether an operator quantizes, dequantizes or computes on codes, of any domain."""
    name = node.op_type.lower()
    return "quantize" in name or name.startswith(("qlinear", "qgemm", "qattention")) or name.endswith("integer")


def find_pieces(quantized: ir.Model, matches: Iterable[Match]) -> tuple[Piece, ...]:
    """Cut a quantized graph at the tensors it shares with the float model.

    Args:
        quantized: Comparable.
        matches: The shared tensors; what is no graph input has a piece.
    """
    listed = list(matches)
    values = ir.convenience.create_value_mapping(quantized.graph)
    cuts = _cuts(values, listed)
    order = {node: place for place, node in enumerate(quantized.graph)}
    pieces = []
    for match in listed:
        result = values[match.measured]
        if result.producer() is not None:
            own = cuts - _own_cut(values, match)
            nodes = sorted(nodes_behind([result], own), key=order.__getitem__)
            pieces.append(Piece(match, result, tuple(nodes)))
    return tuple(pieces)


def _cuts(values: Mapping[str, ir.Value], matches: Iterable[Match]) -> frozenset[ir.Value]:
    return frozenset(values[match.fed] for match in matches if match.fed is not None)


def _own_cut(values: Mapping[str, ir.Value], match: Match) -> frozenset[ir.Value]:
    """Where a tensor is read behind a Q that fused its activation, its piece has to go through its own cut."""
    fused = match.fed is not None and match.fed != match.measured
    return frozenset({values[match.fed]}) if match.fed is not None and fused else frozenset()


def shadow_model(
    reference: ir.Model, quantized: ir.Model, matches: Iterable[Match]
) -> tuple[ir.Model, Mapping[str, str]]:
    """Build the float model with a shadow of every shared tensor that a quantizing piece computes.

    Args:
        reference: The float model, comparable and of the opset of the other (`alignment`); left as it is.
        quantized: The quantized model; left as it is. Both models' weights are shared with the result.
        matches: The tensors to shadow, and where to cut: all that `match_tensors` found.

    Returns:
        (model, shadows): shadows is tensor -> name of its shadow, an output of the model, in the order of `matches`.
    """
    listed = list(matches)
    graft = Graft(reference, quantized)
    pieces = [piece for piece in find_pieces(quantized, listed) if piece.quantizes]
    shadows = add_shadows(graft, pieces, listed, PREFIX)
    graft.model.graph.outputs.clear()
    graft.model.graph.outputs.extend(dict.fromkeys(shadows.values()))
    for tensor, value in shadows.items():
        like = graft.values[tensor]
        value.type = like.type
        value.shape = None if like.shape is None else like.shape.copy()
    return graft.model, {tensor: value.name or "" for tensor, value in shadows.items()}


def add_shadows(
    graft: Graft, pieces: Iterable[Piece], matches: Iterable[Match], prefix: str, replaced: Given | None = None
) -> dict[str, ir.Value]:
    """Add the shadow of each piece; returns tensor -> shadow, in the order of `matches`.

    Args:
        graft: The graph.
        pieces: What to copy.
        matches: All shared tensors: where to cut.
        prefix: Begins the names of what is added.
        replaced: Results of Q and DQ -> what stands for them where pairs are left out (`Graft.copy`). A Q that fuses
            an activation is then a Clip to its range.
    """
    others = ir.convenience.create_value_mapping(graft.quantized.graph)
    fed = {others[match.fed]: graft.values[match.tensor] for match in matches if match.fed is not None}
    plain: list[Piece] = []
    through: list[Piece] = []
    for piece in pieces:
        (through if _own_cut(others, piece.match) else plain).append(piece)
    made = graft.copy([piece.result for piece in plain], fed, prefix, replaced)
    results = {piece.match.tensor: made[piece.result] for piece in plain}
    for piece in through:
        own = _own_cut(others, piece.match)
        given = {value: source for value, source in fed.items() if value not in own}
        copied = graft.copy([piece.result, *own], given, prefix, replaced)
        results[piece.match.tensor] = copied[piece.result]
        if replaced and piece.result in replaced:
            results[piece.match.tensor] = _clipped(graft, piece, copied, prefix)
    return {match.tensor: results[match.tensor] for match in matches if match.tensor in results}


def _clipped(graft: Graft, piece: Piece, copied: Given, prefix: str) -> ir.Value:
    """What a left-out Q leaves: where it does the work of a Relu or Clip, that work without the rounding."""
    value, dequantize = copied[piece.result], piece.result.producer()
    kept = None if dequantize is None else code_range(dequantize)
    made = graft.values[piece.match.tensor].producer()
    kind = None if made is None else made.op_type
    if kept is None or kind not in ACTIVATIONS or any(node.op_type == kind for node in piece.nodes):
        return value
    ends = (kept.low, kept.high if kind == "Clip" else math.inf)
    return graft.clip(value, ends, f"{prefix}{piece.match.tensor}/range")
