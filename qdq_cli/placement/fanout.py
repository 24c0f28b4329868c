"""Operators that the rules leave float although that costs a kernel.

Where INT8 merely pays little (few channels, a matrix-vector product, a product of two activations), an operator is left
float, unless a Q becomes a kernel of its own because of it. There are two such places:

    a tensor that others read as INT8: it is written in float for the one reader, and the Q stands alone (P7);
    a result that is read as INT8: its Q stands alone behind an operator that computes in float.

The Q of the first place may also be one that would move back over commuting operators and meet another there, if only
the one reader did not hold it. All are mended by quantizing the operator, if nothing else it reads then needs a Q of
its own. In the second place one at the graph's inputs may take the other's: there it goes with the first INT8 input
(P16), and the operator writes INT8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import consumers, input_at, int_attribute, is_op
from qdq_cli.placement.operators import data_slots, is_data_slot, is_spatial_mean, is_weighted
from qdq_cli.placement.selection import Selection, Skip, weighted_slots
from qdq_cli.placement.target import Epilogue, Target
from qdq_cli.placement.topology import Topology, activation_inputs, comes_from_inputs, is_pointwise
from qdq_cli.placement.wants import Wants, want_everything


def place(
    graph: Topology, selection: Selection, target: Target, config: PlanConfig
) -> tuple[Selection, Wants, tuple[Skip, ...]]:
    """Decide every slot that reads INT8, and which optional operators join the selection because that saves a kernel.

    Returns:
        The selection that holds in the end; its wants and refusals, as `want_everything` gives them.
    """
    while True:
        wants, refused = want_everything(graph, selection, target, config)
        joining = _Fanout(graph, wants, selection).worth_quantizing() if selection.optional else frozenset()
        if not joining:
            return selection, wants, refused
        selection = selection.taking(joining)


class _Maker(NamedTuple):
    """An operator whose kernel ends in a tensor, and what that kernel takes in on the way."""

    node: ir.Node | None
    """A weighted operator, or None for anything that writes float whatever is behind it."""
    clipped: bool
    """Relu, Clip or another activation lies between."""
    activated: bool
    """An activation other than Relu and Clip lies between."""


class _Fanout:
    """What is asked of one state of placement: who reads a tensor, and who writes it."""

    def __init__(self, graph: Topology, wants: Wants, selection: Selection) -> None:
        self._graph = graph
        self._wants = wants
        self._quantized = selection.quantized
        self._optional = selection.optional

    def worth_quantizing(self) -> frozenset[ir.Node]:
        """Return the optional operators that save a kernel: all those of one tensor at once."""
        leading = self._wants.leading_to_q(self._graph)
        reaching = self._reaching(self._wants.wanted) & self._reaching(lambda node, _: node in self._optional)
        found: set[ir.Node] = set()
        for value in (*self._graph.sources, *(value for node in self._graph.nodes for value in node.outputs)):
            if value in leading:
                found |= self._makers_to_quantize(value)
            elif value in reaching:
                found |= self._readers_to_quantize(value)
        return frozenset(found)

    def _makers_to_quantize(self, value: ir.Value) -> frozenset[ir.Node]:
        """Return the float operators that make a tensor which is read as INT8 alone, where they could write INT8."""
        makers = frozenset(maker.node for maker in self._makers(value) if maker.node is not None)
        joining = makers - self._quantized
        if not joining or not joining <= self._optional or not self._writes_codes(value, joining):
            return frozenset()
        return joining if self._are_free(joining, at_inputs=1) else frozenset()

    def _readers_to_quantize(self, value: ir.Value) -> frozenset[ir.Node]:
        """Return the float readers of a tensor that others read as INT8, where it could be written as INT8."""
        readers = self._float_readers(value)
        if readers is None or not readers <= self._optional:
            return frozenset()
        if not self._writes_codes(value) and not self._meets_a_pair(value, readers):
            return frozenset()
        return readers if self._are_free(readers) else frozenset()

    def _meets_a_pair(self, value: ir.Value, joining: frozenset[ir.Node]) -> bool:
        """Say whether a Q on a tensor moves back to one that is there for others, once these readers join."""
        while (before := self._before(value)) is not None:
            if self._wants.holds(before):
                return True
            readers = self._float_readers(before)
            if readers is None or not readers <= joining:
                return False
            value = before
        return False

    def _are_free(self, nodes: frozenset[ir.Node], *, at_inputs: int = 0) -> bool:
        """Say whether these operators together can read INT8 without a Q of their own, or so many at graph inputs."""
        read = {input_at(node, slot) for node in nodes for slot in weighted_slots(node)}
        costly = [value for value in read if value is None or not self._is_free(value, nodes)]
        return len(costly) <= at_inputs and all(value is not None and comes_from_inputs(value) for value in costly)

    def _is_free(self, value: ir.Value, nodes: frozenset[ir.Node]) -> bool:
        if self._wants.holds(value):
            return True
        start = self._start_of_run(value)
        readers = self._float_readers(start)
        return readers is not None and readers <= nodes and self._writes_codes(start)

    def _start_of_run(self, value: ir.Value) -> ir.Value:
        """Follow a tensor back over commuting operators with one data input."""
        while (before := self._before(value)) is not None:
            value = before
        return value

    def _before(self, value: ir.Value) -> ir.Value | None:
        """Return what a commuting operator with one data input made a tensor of; None where something else made it."""
        node = value.producer()
        if node is None or not self._wants.commutes(node):
            return None
        slots = data_slots(node)
        return node.inputs[slots[0]] if len(slots) == 1 else None

    # Readers.

    def _reaching(self, wanted: Callable[[ir.Node, int], bool]) -> frozenset[ir.Value]:
        """Return the tensors that some reader of a kind reads, directly or behind commuting operators."""
        found: set[ir.Value] = set()
        for node in reversed(self._graph.nodes):
            found.update(value for value in node.outputs if self._reaches(value, wanted, found))
        return frozenset(found)

    def _reaches(self, value: ir.Value, wanted: Callable[[ir.Node, int], bool], found: set[ir.Value]) -> bool:
        return any(
            wanted(node, slot) or (self._is_crossed(node, slot) and not found.isdisjoint(node.outputs))
            for node, slot in consumers(value)
        )

    def _float_readers(self, value: ir.Value) -> frozenset[ir.Node] | None:
        """Return the operators that read a tensor in float, those behind commuting operators included.

        Returns:
            None where it is a graph output, or becomes one behind such operators: nothing can be done there.
        """
        found: set[ir.Node] = set()
        work, seen = [value], {value}
        while work:
            current = work.pop()
            if current.is_graph_output():
                return None
            for node, slot in consumers(current):
                if self._is_crossed(node, slot):
                    fresh = [out for out in node.outputs if out not in seen and (out.uses() or out.is_graph_output())]
                    seen.update(fresh)
                    work += fresh
                elif not self._wants.wanted(node, slot):
                    found.add(node)
        return frozenset(found)

    def _is_crossed(self, node: ir.Node, slot: int) -> bool:
        crossed = self._wants.commutes(node) and is_data_slot(node, slot)
        return crossed and not self._wants.wanted(node, slot)

    # Makers.

    def _writes_codes(self, value: ir.Value, joining: frozenset[ir.Node] = frozenset()) -> bool:
        """Say whether the kernels that make a tensor would take in a Q behind it (rules, section 4.4)."""
        return all(
            maker.node is not None
            and (maker.node in self._quantized or maker.node in joining)
            and _has_epilogue(maker.node, maker)
            for maker in self._makers(value)
        )

    def _makers(self, value: ir.Value) -> Iterator[_Maker]:
        """Yield the operators whose kernels end in a tensor, or before commuting operators in front of it.

        What is read as INT8 already, such as a residual, is left out.
        """
        work, seen = [(value, False, False)], {value}
        while work:
            current, clipped, activated = work.pop()
            node = current.producer()
            if node is None or is_op(node, "Einsum") or not (is_weighted(node) or self._passes_on(node)):
                yield _Maker(None, clipped, activated)
            elif is_weighted(node):
                yield _Maker(node, clipped, activated)
            else:
                epilogue, crossed = self._wants.operators.epilogue(node), self._wants.operators.commutes(node)
                activates = epilogue is Epilogue.ACTIVATION or _ends_an_activation(node)
                clipped = (clipped or activates or epilogue is Epilogue.CLIP) and not crossed
                activated = (activated or activates) and not crossed
                fresh = [read for read in self._read_in_float(node) if read not in seen]
                seen.update(fresh)
                work += [(read, clipped, activated) for read in fresh]

    def _passes_on(self, node: ir.Node) -> bool:
        if is_spatial_mean(node):
            return self._wants.wanted(node, 0)
        return is_pointwise(node) or is_op(node, "BatchNormalization") or self._wants.commutes(node)

    def _read_in_float(self, node: ir.Node) -> list[ir.Value]:
        int8 = {read for slot, read in enumerate(node.inputs) if self._wants.wanted(node, slot)}
        return [read for read in activation_inputs(node) if read not in int8]


def _ends_an_activation(node: ir.Node) -> bool:
    """Say whether a node ends an activation that is written out (SiLU, GELU)."""
    return len(activation_inputs(node)) > 1 and is_pointwise(node) and not is_op(node, "Add")


def _has_epilogue(node: ir.Node, maker: _Maker) -> bool:
    """Say whether a weighted operator's kernel goes on to the tensor: grouped ones take in Relu and Clip alone (P5)."""
    if is_op(node, "ConvTranspose"):
        return not maker.clipped
    return not maker.activated or int_attribute(node, "group", 1) == 1
