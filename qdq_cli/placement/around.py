"""Where Q and DQ stand for kernels that read and write codes: around every operator that computes on integers.

Such a kernel writes its result as codes and in no other way, so a tensor is quantized for all that read it or for none.
What weighted operators read is quantized, and the results of those whose kernels cannot write floats; then, against the
flow, what the operators between them read, where all of it can come as codes. A Relu or Clip that alone reads a result
is part of the kernel, as long as the codes reach no further than it does; so the tensor behind it is quantized, and not
the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import consumers, is_activation, is_op, is_unobservable, only_consumer
from qdq_cli.placement.groups import Run
from qdq_cli.placement.operators import OpClass, data_slots, is_weighted, operator_of
from qdq_cli.placement.selection import Selection, Skip, skip, weighted_slots
from qdq_cli.placement.target import Epilogue, OperatorTable, Target
from qdq_cli.placement.topology import Topology
from qdq_cli.placement.wants import Wants


@dataclass(frozen=True)
class Around:
    """What stands around the operators that compute on integers.

    Args:
        selection: The weighted operators that do.
        wants: Their tensors, each with all that reads it.
        runs: Commuting operators on codes, whose tensors share a scale.
        refused: Operators between that stay float.
    """

    selection: Selection
    wants: Wants
    runs: Run
    refused: tuple[Skip, ...]


def place_around(graph: Topology, selection: Selection, target: Target, config: PlanConfig) -> Around:
    """Decide which tensors are quantized, for every one that reads them."""
    kernels = _Kernels(graph, selection, target.operators, config)
    coded = kernels.coded()
    wants = Wants(frozenset(coded), target.operators, config.safe)
    inside = frozenset(graph.nodes)
    for value in coded:
        wants.hold(value)
        for node, slot in consumers(value):
            if node in inside:
                wants.add(node, slot)
    runs = Run(frozenset(kernels.sharing(coded)), {})
    return Around(selection, wants, runs, tuple(kernels.refused(coded)))


def candidates_around(
    graph: Topology, selection: Selection, target: Target, config: PlanConfig
) -> tuple[ir.Value, ...]:
    """Return every tensor that the placement of a selection or of any smaller one quantizes: fewer operators, fewer."""
    chosen = selection.taking(selection.optional)
    return tuple(_Kernels(graph, chosen, target.operators, config).coded())


def last_results(nodes: Sequence[ir.Node], operators: OperatorTable) -> frozenset[ir.Node]:
    """Return the weighted operators that no other one comes after, and whose kernels write codes alone.

    Their results become codes for their own sake: nothing behind them computes on integers.
    """
    before: set[ir.Node] = set()
    ends = set()
    for node in reversed(nodes):
        if any(reader in before or is_weighted(reader) for reader in node.successors()):
            before.add(node)
        elif is_weighted(node) and (rule := operators.rule(node)) is not None and not rule.writes_float:
            ends.add(node)
    return frozenset(ends)


class _Kernels:
    """The operators that can compute on integers, and what they read and write."""

    def __init__(self, graph: Topology, selection: Selection, operators: OperatorTable, config: PlanConfig) -> None:
        self._graph = graph
        self._quantized = selection.quantized
        self._kept_float = selection.kept_float
        self._operators = operators
        self._config = config
        self._between = [node for node in graph.nodes if self._is_between(node)]

    def coded(self) -> dict[ir.Value, None]:
        """Return the tensors that are quantized, those of the weighted operators first."""
        coded: dict[ir.Value, None] = {}
        for node in self._graph.nodes:
            rule = self._operators.rule(node)
            if node in self._quantized and rule is not None:
                around = [node.inputs[slot] for slot in weighted_slots(node)]
                around += [] if rule.writes_float else [self._result(node)]
                coded.update((value, None) for value in around if value is not None and _is_codable(value))
        size = -1
        while size != len(coded):
            size = len(coded)
            able = self._able(coded)
            for node in reversed(self._between):
                read = _read(node)
                if self._result(node) in coded and able.issuperset(read):
                    coded.update(dict.fromkeys(read))
        return coded

    def sharing(self, coded: dict[ir.Value, None]) -> Iterator[ir.Node]:
        """Yield the commuting operators all of whose tensors are quantized, and share a scale.

        A Concat of a clipped tensor and another one keeps its scales apart: the clipping is part of a kernel only where
        the codes end with it.
        """
        for node in self._between:
            commutes = self._operators.commutes(node, safe=self._config.safe)
            if commutes and all(value in coded for value in (*_read(node), node.outputs[0])):
                rule = self._operators.rule(node)
                if rule is None or not rule.rescales or len({self._clipped_by(value) for value in _read(node)}) == 1:
                    yield node

    def refused(self, coded: dict[ir.Value, None]) -> Iterator[Skip]:
        """Yield the operators that have kernels on integers and stay float, but for those that move data alone."""
        for node in self._between:
            moves = operator_of(node).op_class is OpClass.COMMUTING
            if not moves and not all(value in coded for value in (*_read(node), self._result(node))):
                yield skip(node, "FLOAT_AROUND")

    def _able(self, coded: dict[ir.Value, None]) -> set[ir.Value]:
        """Return the tensors that are quantized, or could be without more float operators writing codes."""
        able = set(coded)
        for node in self._graph.nodes:
            rule = self._operators.rule(node)
            if node in self._quantized and rule is not None and rule.writes_float:
                able.add(self._result(node))
        for node in self._between:
            if able.issuperset(_read(node)):
                able.add(self._result(node))
        return {value for value in able if _is_codable(value)}

    def _is_between(self, node: ir.Node) -> bool:
        rule = self._operators.rule(node)
        if rule is None or node in self._kept_float or is_weighted(node) or rule.epilogue is Epilogue.CLIP:
            return False
        slots = data_slots(node)
        if operator_of(node).op_class is OpClass.COMMUTING:
            whole = operator_of(node).data is not None or len(slots) == len(node.inputs)
            return whole and bool(slots) and self._operators.commutes(node, safe=self._config.safe)
        return bool(slots) and slots == operator_of(node).data and not self._operators.why_float(node)

    def _result(self, node: ir.Node) -> ir.Value:
        """Return what leaves the kernel of an operator: its result, or that of the clipping that alone reads it."""
        result = node.outputs[0]
        use = only_consumer(result)
        moves = operator_of(node).op_class is OpClass.COMMUTING and not is_op(node, "Concat")
        if use is None or moves or use[0] in self._kept_float or self._operators.epilogue(use[0]) is not Epilogue.CLIP:
            return result
        return use[0].outputs[0]

    def _clipped_by(self, value: ir.Value) -> tuple[str, ...] | None:
        """Name the clipping that a tensor comes from over operators that move data; None where there is none."""
        node = value.producer()
        while node is not None and self._operators.commutes(node) and len(_read(node)) == 1:
            node = _read(node)[0].producer()
        if node is not None and is_op(node, "Concat"):
            found = {self._clipped_by(read) for read in _read(node)}
            return found.pop() if len(found) == 1 else None
        if node is None or self._operators.epilogue(node) is not Epilogue.CLIP:
            return None
        bounds = [bound.name or "" for bound in node.inputs[1:] if bound is not None]
        return (node.op_type, *bounds)


def _read(node: ir.Node) -> tuple[ir.Value, ...]:
    return tuple(value for slot in data_slots(node) if (value := node.inputs[slot]) is not None)


def _is_codable(value: ir.Value) -> bool:
    made_of_codes = is_op(value.producer(), "DequantizeLinear")
    return is_activation(value) and not is_unobservable(value) and not made_of_codes
