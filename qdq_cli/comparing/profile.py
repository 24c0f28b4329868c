"""The graph that measures layers: float model, deployed model and shadows side by side, and gauges on all of them.

One run of it says for every shared tensor how far the deployed model is from the float model there, and how far the
piece in front of it is when it is fed FP32: once as it is, once with its activations left in float.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from qdq_cli.comparing.activations import CodeRange, code_range, pairs_left_out
from qdq_cli.comparing.gauges import Gauge, GaugedGraph, PairGauges
from qdq_cli.comparing.graft import Given, Graft
from qdq_cli.comparing.match import ACTIVATIONS, Match, Unmatched, is_quantize, match_tensors, unmatched_tensors
from qdq_cli.comparing.shadow import PREFIX, Piece, add_shadows, find_pieces, is_quantization
from qdq_cli.comparing.weights import WeightError, weight_error
from qdq_cli.model.linear import linear_of
from qdq_cli.model.nodes import consumers, rank
from qdq_cli.placement.operators import commutes, is_weighted
from qdq_cli.preparing.batch_norm import fold_batch_norms

_SIZED_BY_VALUES = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "If", "Loop", "Scan"})
"""Operators whose results have as many elements as the values say, so that two models need not agree on it."""


_SEVERAL = 2
"""Channels from which on they are looked at one by one."""


@dataclass(frozen=True)
class InputGauges:
    """Gauges on a tensor that a piece quantizes; the fields of `causes.InputError`."""

    tensor: str
    signal: Gauge
    noise: Gauge
    clipped: Gauge | None
    low: Gauge
    high: Gauge
    channels: Gauge | None
    range: CodeRange | None
    vanished: Gauge | None


@dataclass(frozen=True)
class Row:
    """One shared tensor and the gauges on it.

    Args:
        match: The tensor.
        node: The node that makes it.
        op_type: Its operator.
        accumulated: Deployed against FP32.
        local: Shadow against FP32; None where the piece quantizes nothing.
        by_weights: The same with the activations of the piece left in float; None where it has no quantized weights.
        inputs: Tensors that the piece quantizes.
        weights: What became of the piece's weights; None where that cannot be told.
        feeds: Weighted nodes that read the tensor, behind operators that only move values too.
        on_codes: Operators of the piece that compute on codes: weights and activations cannot be told apart there.
        channels: Signal and noise of each output channel, the shadow against FP32; None where the tensor does not have
            the channels of an operator with a constant weight.
    """

    match: Match
    node: str
    op_type: str
    accumulated: PairGauges
    local: PairGauges | None = None
    by_weights: Gauge | None = None
    inputs: tuple[InputGauges, ...] = ()
    weights: WeightError | None = None
    feeds: tuple[str, ...] = ()
    on_codes: tuple[str, ...] = ()
    channels: tuple[Gauge, Gauge] | None = None


@dataclass(frozen=True)
class Profile:
    """A graph whose outputs are gauges, and what they are of.

    Args:
        model: The graph; it takes the inputs of both models.
        gauges: Graph output -> gauge.
        rows: The shared tensors, in the float model's order.
        left_out: Shared tensors whose size depends on the values.
        unmatched: The other float tensors of the float model.
        deployed: Input of the deployed model -> the graph's input that it reads, where it has inputs of its own.
    """

    model: ir.Model
    gauges: Mapping[str, Gauge]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]
    unmatched: tuple[Unmatched, ...]
    deployed: Mapping[str, str] = field(default_factory=dict)


def make_profile(reference: ir.Model, quantized: ir.Model) -> Profile:
    """Build the graph that measures every tensor two models share; without rows where these are inputs and outputs.

    Args:
        reference: The float model, comparable and of the opset of the other (`alignment`); left as it is.
        quantized: The quantized model.
    """
    matches, kept = _matches(reference, quantized)
    builder = _Builder(reference, quantized, kept)
    ends = {value.name for value in reference.graph.outputs}
    rows = () if all(match.tensor in ends for match in kept if builder.is_computed(match)) else builder.rows({})
    left_out = tuple(match.tensor for match in matches if match not in kept)
    unmatched = unmatched_tensors(reference, quantized)
    return Profile(builder.graft.model, builder.gauged.gauges, rows, left_out, unmatched)


def measure_side_by_side(reference: ir.Model, quantized: ir.Model) -> Profile:
    """Build the graph that measures the tensors of two bodies as models, each of which is handed inputs of its own.

    Args:
        reference: The float body; left as it is.
        quantized: The deployed one, which has no input that the other does not have.
    """
    matches, kept = _matches(reference, quantized)
    builder = _Builder(reference, quantized, kept)
    given = {value: builder.graft.input_like(value, "deployed/") for value in quantized.graph.inputs}
    rows = builder.rows(given)
    left_out = tuple(match.tensor for match in matches if match not in kept)
    unmatched = unmatched_tensors(reference, quantized)
    deployed = {value.name or "": copy.name or "" for value, copy in given.items()}
    return Profile(builder.graft.model, builder.gauged.gauges, rows, left_out, unmatched, deployed)


def _matches(reference: ir.Model, quantized: ir.Model) -> tuple[tuple[Match, ...], list[Match]]:
    """Return the tensors that two models share, and those of them whose size does not depend on values."""
    matches = match_tensors(reference, quantized)
    loose = _sized_by_values(reference) | _sized_by_values(quantized)
    return matches, [match for match in matches if match.tensor not in loose and match.measured not in loose]


class _Builder:
    """Adds everything that is measured to one graph."""

    def __init__(self, reference: ir.Model, quantized: ir.Model, matches: list[Match]) -> None:
        self._nodes = {node.name: node for node in reference.graph}
        self._folded = _folded_nodes(reference)
        self._makers = {out.name: node for node in reference.graph for out in node.outputs}
        self._values = ir.convenience.create_value_mapping(reference.graph)
        self._quantized = quantized
        self._others = ir.convenience.create_value_mapping(quantized.graph)
        self._matches = matches
        self.graft = Graft(reference, quantized)
        self.gauged = GaugedGraph(self.graft)
        self._inputs: dict[tuple[ir.Node, bool], InputGauges] = {}
        self._fed = {self._others[match.fed]: match.tensor for match in matches if match.fed is not None}

    def is_computed(self, match: Match) -> bool:
        """Say whether a node of the quantized model makes a shared tensor."""
        return self._others[match.measured].producer() is not None

    def rows(self, given: Given) -> tuple[Row, ...]:
        """Measure every shared tensor that is computed.

        Args:
            given: Input of the quantized model -> what it reads in its place.
        """
        pieces = find_pieces(self._quantized, self._matches)
        quantizing = [piece for piece in pieces if piece.quantizes]
        weighted = [piece for piece in quantizing if self._has_weights(piece)]
        left_out = pairs_left_out(self._quantized, self.graft.constant_nodes)
        deployed = self.graft.copy([piece.result for piece in pieces], given, "deployed/")
        local = add_shadows(self.graft, quantizing, self._matches, PREFIX)
        by_weights = add_shadows(self.graft, weighted, self._matches, "weights/", left_out)
        rows = [
            self._row(piece, deployed[piece.result], local.get(piece.match.tensor), by_weights.get(piece.match.tensor))
            for piece in reversed(pieces)  # the runtime takes up last what comes first: so it need not hold much
        ]
        return tuple(reversed(rows))

    def _has_weights(self, piece: Piece) -> bool:
        return any(node in self.graft.constant_nodes and is_quantization(node) for node in piece.nodes)

    def _row(self, piece: Piece, deployed: ir.Value, local: ir.Value | None, by_weights: ir.Value | None) -> Row:
        source = self.graft.values[piece.match.tensor]
        node = _main_node(piece, self._makers)
        known = self._nodes.get(node.name) or _maker_behind(piece.match.tensor, self._makers)
        accumulated = self.gauged.pair(source, deployed)
        if local is None:
            return Row(piece.match, known.name or "", known.op_type, accumulated)
        noise = None if by_weights is None else self.gauged.squares(self.gauged.difference(source, by_weights))
        quantizes = [inner for inner in piece.nodes if is_quantize(inner) and inner.inputs[0] in self._fed]
        return Row(
            match=piece.match,
            node=known.name or "",
            op_type=known.op_type,
            accumulated=accumulated,
            local=self.gauged.pair(source, local),
            by_weights=noise,
            inputs=tuple(self._input(inner, node, piece.match.tensor) for inner in quantizes),
            weights=weight_error(node, [known, *self._folded.get(known.name, ())]) if is_weighted(node) else None,
            feeds=_weighted_readers(self._values[piece.match.tensor]),
            on_codes=piece.on_codes,
            channels=self._channels(known, source, local),
        )

    def _channels(self, known: ir.Node, source: ir.Value, local: ir.Value) -> tuple[Gauge, Gauge] | None:
        """Gauge the output channels of an operator by themselves, where the tensor has them in their place."""
        linear, dims = linear_of(known), rank(source)
        axis = _channel_axis(known, dims)
        if linear is None or dims is None or axis is None or source.shape is None:
            return None
        if source.shape[axis] != linear.channels or linear.channels < _SEVERAL:
            return None
        error = self.gauged.difference(source, local)
        return self.gauged.channel_squares(source, dims, axis), self.gauged.channel_squares(error, dims, axis)

    def _input(self, quantize: ir.Node, reader: ir.Node, tensor: str) -> InputGauges:
        """Gauge what a Q and its DQ do to the float model's tensor; its channels where it is not the piece's own."""
        source = quantize.inputs[0]
        assert source is not None
        own = self._fed[source] == tensor
        if (quantize, own) not in self._inputs:
            value = self.graft.values[self._fed[source]]
            image = self.graft.image(quantize, value)
            kept = code_range(quantize)
            dims = rank(value)
            axis = None if own else _channel_axis(reader, dims)
            self._inputs[quantize, own] = InputGauges(
                tensor=self._fed[source],
                signal=self.gauged.squares(value),
                noise=self.gauged.squares(self.gauged.difference(value, image)),
                clipped=None if kept is None else self.gauged.squares(self.gauged.outside(value, kept.low, kept.high)),
                low=self.gauged.lowest(value),
                high=self.gauged.highest(value),
                channels=None if dims is None or axis is None else self.gauged.channel_amax(value, dims, axis),
                range=kept,
                vanished=self.gauged.squares(self.gauged.vanished(value, image)) if _is_float(kept) else None,
            )
        return self._inputs[quantize, own]


def _is_float(kept: CodeRange | None) -> bool:
    return kept is not None and kept.qtype is not None


def _folded_nodes(reference: ir.Model) -> dict[str | None, tuple[ir.Node]]:
    """Node name -> the weighted node with the batch norm behind it folded in, as quantizers do first."""
    if not any(node.op_type == "BatchNormalization" for node in reference.graph):
        return {}
    folded = reference.clone()
    fold_batch_norms(folded)
    return {node.name: (node,) for node in folded.graph if is_weighted(node)}


def _weighted_readers(value: ir.Value) -> tuple[str, ...]:
    todo, found = [value], []
    while todo:
        for node, _ in consumers(todo.pop()):
            if is_weighted(node):
                found.append(node.name or "")
            elif commutes(node):
                todo.extend(node.outputs)
    return tuple(dict.fromkeys(found))


def _channel_axis(reader: ir.Node, dims: int | None) -> int | None:
    """Where channels lie in what a node reads: axis 1, but behind everything else for matrix products."""
    if dims is None or dims < 2:
        return None
    return dims - 1 if reader.op_type in ("MatMul", "Gemm") or dims == 2 else 1


def _main_node(piece: Piece, makers: Mapping[str | None, ir.Node]) -> ir.Node:
    """The weighted node of a piece, the last of several; where there is none, what makes the tensor in FP32."""
    weighted = [node for node in piece.nodes if is_weighted(node)]
    return weighted[-1] if weighted else makers[piece.match.tensor]


def _maker_behind(tensor: str, makers: Mapping[str | None, ir.Node]) -> ir.Node:
    """The float model's node that makes a tensor; the weighted one where a Relu, Clip or batch norm follows."""
    first = node = makers[tensor]
    while node.op_type in (*ACTIVATIONS, "BatchNormalization") and node.inputs[0] is not None:
        before = node.inputs[0].producer()
        if before is None or is_weighted(before):
            return before or first
        node = before
    return first


def _sized_by_values(model: ir.Model) -> set[str]:
    """Names of the tensors that are computed behind an operator whose result has a size that depends on values."""
    found: set[ir.Value] = set()
    for node in model.graph:
        reads: Iterable[ir.Value] = (value for value in node.inputs if value is not None)
        if node.op_type in _SIZED_BY_VALUES or any(value in found for value in reads):
            found.update(node.outputs)
    return {value.name or "" for value in found}
