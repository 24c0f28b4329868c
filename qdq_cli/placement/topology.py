"""The shape of a graph, computed once: depth of every node, an order that the file's order cannot change, ancestors.

Everything the planner decides by "earlier" or "shorter" is decided here, from structure alone, so that a plan depends
neither on the order of nodes in the file nor on the batch size.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.nodes import (
    consumers,
    every_node,
    inner_graphs,
    input_at,
    is_activation,
    is_constant,
    is_op,
    is_unobservable,
    only_consumer,
)
from qdq_cli.placement.operators import OpClass, data_slots, is_spatial_mean, is_weighted, operator_of
from qdq_cli.placement.target import OperatorTable


@dataclass(frozen=True)
class Topology:
    """Structure of the main graph.

    Args:
        nodes: Nodes in topological order; by depth, then name.
        depth: Longest path from a graph input or constant to each node, in nodes.
        reads: The run-time float tensors each node reads, as `activation_inputs` returns them.
        sources: Those that no node makes: graph inputs.
    """

    nodes: tuple[ir.Node, ...]
    depth: dict[ir.Node, int]
    reads: dict[ir.Node, tuple[ir.Value, ...]]
    sources: tuple[ir.Value, ...]


def topology(graph: ir.Graph) -> Topology:
    """Measure the structure of a graph (its nodes in any topological order)."""
    depth: dict[ir.Node, int] = {}
    for node in graph:
        before = [producer for value in reads_of(node) if (producer := value.producer()) is not None]
        depth[node] = 1 + max([depth.get(producer, 0) for producer in before], default=0)
    ordered = sorted(depth, key=lambda node: (depth[node], node.name or ""))
    reads = {node: activation_inputs(node) for node in ordered}
    sources = dict.fromkeys(value for read in reads.values() for value in read if value.producer() is None)
    return Topology(tuple(ordered), depth, reads, tuple(sources))


def reads_of(node: ir.Node) -> list[ir.Value]:
    """Return what a node reads, the values captured by its If/Loop bodies included."""
    read = [value for value in node.inputs if value is not None]
    for body in inner_graphs(node):
        for inner in every_node(body):
            read += [value for value in inner.inputs if value is not None]
    return read


def activation_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the run-time float tensors a node reads, each once, in slot order."""
    return tuple(dict.fromkeys(value for value in node.inputs if value is not None and is_activation(value)))


def is_pointwise(node: ir.Node) -> bool:
    """Say whether a node computes each element from elements at the same place (class N without pooling and BN)."""
    if operator_of(node).op_class is not OpClass.QUANTIZABLE or is_spatial_mean(node):
        return False
    return node.op_type not in ("ReduceMean", "BatchNormalization")


MAX_ACTIVATION_NODES = 8
"""GELU written out takes five nodes, HardSwish four; a longer chain is no activation."""


@dataclass(frozen=True)
class Chain:
    """Pointwise nodes that compute one tensor from one other tensor.

    Args:
        nodes: The nodes, in no particular order.
        result: The one tensor that leaves them.
    """

    nodes: frozenset[ir.Node]
    result: ir.Value


def pointwise_chain(value: ir.Value) -> Chain | None:
    """Find the activation function behind a tensor, however it is spelled.

    Grows the set of pointwise nodes that read nothing but `value` and each other until one tensor alone leaves the set:
    one node for Relu, two for SiLU (Sigmoid, Mul), five for GELU written out. Returns None where no such set is found,
    or where `value` is read by anything else too.
    """
    inside = {value}
    nodes: set[ir.Node] = set()
    while len(nodes) < MAX_ACTIVATION_NODES:
        grown = {
            node
            for known in inside
            for node, _ in consumers(known)
            if node not in nodes
            and node.graph is value.graph  # a body runs apart
            and is_pointwise(node)
            and inside.issuperset(activation_inputs(node))
        }
        if not grown:
            return None
        nodes |= grown
        inside |= {out for node in grown for out in node.outputs}
        leaving = [known for known in inside if known.is_graph_output() or _read_outside(known, nodes)]
        if len(leaving) == 1:
            return Chain(frozenset(nodes), leaving[0])
    return None


def after_activation(value: ir.Value) -> ir.Value:
    """Follow a tensor through its activation function to the tensor that leaves it; `value` itself without one."""
    chain = pointwise_chain(value)
    return value if chain is None else chain.result


def _read_outside(value: ir.Value, nodes: set[ir.Node]) -> bool:
    return not value.uses() or any(node not in nodes for node, _ in consumers(value))


def int8_capable(graph: Topology, quantized: frozenset[ir.Node], operators: OperatorTable) -> frozenset[ir.Value]:
    """Return the tensors whose producer could emit INT8 if a Q followed (rules, section 3.5).

    A quantized weighted node, what follows it pointwise, and class C operators all of whose data inputs are capable.
    """
    capable: set[ir.Value] = set()
    for node in graph.nodes:
        if is_weighted(node):
            able = node in quantized
        elif node.op_type == "DequantizeLinear":
            able = True
        elif operators.commutes(node) or is_spatial_mean(node):
            reads = [input_at(node, slot) for slot in data_slots(node)]
            able = bool(reads) and all(value in capable for value in reads)
        elif is_pointwise(node) or node.op_type == "BatchNormalization":
            able = not capable.isdisjoint(graph.reads[node])
        else:
            able = False
        if able:
            capable.update(node.outputs)
    return frozenset(capable)


def comes_from_inputs(tensor: ir.Value) -> bool:
    """Say whether a tensor is a graph input, or made from graph inputs by moving and pointwise operators alone.

    The Q that such a tensor needs stands at the boundary of the network, and only an INT8 input removes it (P16).
    """
    seen, work = {tensor}, deque([tensor])
    found_input = False
    while work:
        value = work.popleft()  # the nearest first: a convolution stands one step behind each Add, the input all blocks
        producer = value.producer()
        if value.is_graph_input():
            found_input = True
        elif producer is not None:
            if not _is_light(producer):
                return False
            reads = [read for read in producer.inputs if read is not None and not is_constant(read)]
            work += [read for read in reads if read not in seen]
            seen.update(reads)
    return found_input


def _is_light(node: ir.Node) -> bool:
    return operator_of(node).op_class in (OpClass.COMMUTING, OpClass.QUANTIZABLE) or is_op(node, "Cast")


def steps_to_common_ancestor(first: ir.Value, second: ir.Value) -> tuple[int, int] | None:
    """Return how many nodes lie between each tensor and their lowest common ancestor; None where they share none.

    Breadth first from both sides; of all common ancestors the one with the smallest sum of steps counts.
    """
    seen: tuple[dict[ir.Value, int], dict[ir.Value, int]] = ({first: 0}, {second: 0})
    fronts: list[list[ir.Value]] = [[first], [second]]
    best: tuple[int, int] | None = None
    step = 0
    while any(fronts) and (best is None or step < sum(best)):
        for side in (0, 1):
            other = seen[1 - side]
            found = [(seen[side][value], other[value]) for value in fronts[side] if value in other]
            for steps in found if side == 0 else [(theirs, mine) for mine, theirs in found]:
                best = steps if best is None or sum(steps) < sum(best) else best
        step += 1
        for side in (0, 1):
            fronts[side] = _one_step_back(fronts[side], seen[side], step)
    return best


def _one_step_back(front: list[ir.Value], seen: dict[ir.Value, int], step: int) -> list[ir.Value]:
    before = [
        value
        for known in front
        if (producer := known.producer()) is not None
        for value in activation_inputs(producer)
        if value not in seen
    ]
    seen.update(dict.fromkeys(before, step))
    return list(dict.fromkeys(before))


_BETWEEN = frozenset({"Add", "Mul", "Div", "Sub", "Where", "Cast", "Identity", "Dropout", "Reshape", "Transpose"})
"""What stands between a product of attention and its Softmax: scale, mask, and what exporters leave there."""


def softmax_beside(product: ir.Node) -> ir.Node | None:
    """Return the Softmax of the attention that a product of two activations belongs to, on either side of it."""
    return _softmax_behind(product) or _softmax_before(product)


def _softmax_behind(product: ir.Node) -> ir.Node | None:
    read = only_consumer(product.outputs[0])
    while read is not None and is_op(read[0], *_BETWEEN):
        read = only_consumer(read[0].outputs[0])
    return read[0] if read is not None and is_op(read[0], "Softmax") else None


def _softmax_before(product: ir.Node) -> ir.Node | None:
    value = input_at(product, 0)
    node = None if value is None else value.producer()
    while node is not None and is_op(node, *_BETWEEN):
        data = node.inputs[1] if is_op(node, "Where") else node.inputs[0]
        node = None if data is None else data.producer()
    return node if is_op(node, "Softmax") else None


def float_tensors(graph: ir.Graph) -> tuple[str, ...]:
    """Return the names of all float tensors of the main graph in topological order: what implicit quantization ranges.

    Shape computations, outputs that nothing reads and what cannot be observed are left out.
    """
    values = (*graph.inputs, *(value for node in graph for value in node.outputs))
    used = (value for value in values if value.uses() or value.is_graph_output())
    return tuple(
        value.name or ""
        for value in used
        if is_activation(value) and value.dtype is not None and not is_unobservable(value)
    )
