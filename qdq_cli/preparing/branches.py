"""Take the branch of an If whose condition is known into the graph, where it can be quantized like everything else.

ONNX Runtime takes it too when it optimizes a graph, and 1.24 to 1.27 read freed memory then: the weights of the branch
are garbage, and so would be what is observed behind it.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.insertion import take_over_output
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, is_op


def take_known_branches(graph: ir.Graph) -> int:
    """Replace each If of a constant condition by the nodes of its branch; returns how many there were.

    Args:
        graph: The main graph; every name in it is set.
    """
    known = [(node, branch) for node in graph if (branch := _branch(node)) is not None]
    for node, _ in known:
        node.attributes.clear()  # so that the names of both branches are free
    names = Names(graph) if known else None
    for node, branch in known:
        assert names is not None
        _take(graph, node, branch, names)
    return len(known)


def _branch(node: ir.Node) -> ir.Graph | None:
    """The branch that is always taken; None where that is not known."""
    condition = constant_at(node, 0) if is_op(node, "If") else None
    if condition is None or condition.size != 1:
        return None
    return node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()


def _take(graph: ir.Graph, node: ir.Node, branch: ir.Graph, names: Names) -> None:
    """Move what is in a branch in front of the If, whose results become those of the branch."""
    results, nodes, weights = list(branch.outputs), list(branch), list(branch.initializers.values())
    branch.outputs.clear()
    branch.remove(nodes)
    branch.initializers.clear()
    for value in weights:
        value.name = names.value(value.name or "")
        graph.register_initializer(value)
    for inner in nodes:
        inner.name = names.node(inner.name or "")
        for value in inner.outputs:
            value.name = names.value(value.name) if value.name else value.name
    graph.insert_before(node, nodes)
    own = set(nodes)
    for old, new in zip(node.outputs, results, strict=True):
        if new.producer() in own:
            own.discard(new.producer())
            take_over_output(old, new)
        else:  # a weight, or the same tensor twice
            copy = ir.Node("", "Identity", [new], name=names.node(f"{node.name}/branch"))
            graph.insert_before(node, copy)
            take_over_output(old, copy.outputs[0])
    graph.remove(node, safe=True)
