"""The body of an If, Loop or Scan as a model of its own, and back: what it reads from outside becomes inputs of it.

Whatever looks at a graph, plans for it or writes into it then does so in a body as it does in the main graph, and meets
the body's edge where a graph ends. What lies outside is never looked at: a body may run never, or many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.names import Names
from qdq_cli.model.nodes import defined_values, every_body, every_node, inner_graphs, is_constant, is_op

HOLDERS = ("If", "Loop", "Scan")
"""Operators of ONNX's default domain that have bodies whose tensors can be observed."""


@dataclass(frozen=True)
class Place:
    """Where a body stands.

    Args:
        holders: The operators around it, the outermost first; the last one runs it.
        body: The body.
    """

    holders: tuple[ir.Node, ...]
    body: ir.Graph


@dataclass(frozen=True)
class Lifted:
    """A copy of a body as a model.

    Args:
        place: Where it was taken from.
        model: Its own inputs come first, then what it takes from outside, in the order in which that is read.
        outside: Inputs and initializers of the model -> what they are outside.
    """

    place: Place
    model: ir.Model
    outside: dict[ir.Value, ir.Value]


def places_of_bodies(graph: ir.Graph, outer: tuple[ir.Node, ...] = ()) -> Iterator[Place]:
    """Yield every body that can be looked into, those in bodies included, each behind those in it.

    Bodies of other operators (SequenceMap, custom ones) are left out, with all that is in them.

    Args:
        graph: The main graph, or a body.
        outer: The operators around that body.
    """
    for node in graph:
        if is_op(node, *HOLDERS):
            for body in inner_graphs(node):
                yield from places_of_bodies(body, (*outer, node))
                yield Place((*outer, node), body)


def lifted(model: ir.Model, place: Place) -> Lifted:
    """Copy a body out as a model; weights are shared, and the body is left as it is."""
    graph = place.body.clone(allow_outer_scope_values=True)
    graph.opset_imports.update(model.opset_imports)
    own = _defined(graph)
    inside: dict[ir.Value, ir.Value] = {}
    for node in every_node(graph):
        for slot, value in enumerate(node.inputs):
            if value is not None and value not in own:
                inside.setdefault(value, _like(value))
                node.replace_input_with(slot, inside[value])
    for value, copy in inside.items():
        if is_constant(value):
            graph.register_initializer(copy)
        else:
            graph.inputs.append(copy)
    outside = {copy: value for value, copy in inside.items()}
    return Lifted(place, ir.Model(graph, ir_version=model.ir_version), outside)


def models_of(model: ir.Model) -> Iterator[ir.Model]:
    """Yield a model, and then each body of it that can be looked into, as a model of its own."""
    yield model
    for place in places_of_bodies(model.graph):
        yield lifted(model, place).model


def put_back(model: ir.Model, changed: Lifted) -> None:
    """Let a changed copy take the place of the body it was made from, and drop the weights that nothing reads then.

    Args:
        model: The whole model.
        changed: Its graph is part of the model afterwards. Names of what was added to it may change; a weight from
            outside that holds something else now stays in the body.
    """
    place, graph = changed.place, changed.model.graph
    kept = {value.name for value in _defined(place.body)}
    kept_nodes = {node.name for node in every_node(place.body)}
    _detach(place.body)
    for copy, value in changed.outside.items():
        if copy.const_value is value.const_value:
            _give_back(graph, copy, value)
        drop_if_unread(value)
    _give_free_names(model, graph, (kept, kept_nodes))
    _replace(place, graph)


def _give_back(graph: ir.Graph, copy: ir.Value, value: ir.Value) -> None:
    """Let what reads the copy of a value from outside of a graph read the value itself."""
    for use in tuple(copy.uses()):
        use.node.replace_input_with(use.idx, value)
    if copy.is_graph_input():
        graph.inputs.remove(copy)
    elif graph.initializers.get(copy.name or "") is copy:
        graph.initializers.pop(copy.name or "")


def drop_if_unread(value: ir.Value) -> None:
    """Remove an initializer from its graph, wherever that is, if nothing reads it."""
    graph, name = value.graph, value.name or ""
    unread = is_constant(value) and not value.uses() and not value.is_graph_output()
    if unread and isinstance(graph, ir.Graph) and name in graph.initializers:
        graph.initializers.pop(name)


def _defined(graph: ir.Graph) -> set[ir.Value]:
    """Return what a graph and the bodies in it define."""
    return {value for part in (graph, *every_body(graph)) for value in defined_values(part)}


def _like(value: ir.Value) -> ir.Value:
    """A value of the same name, type, shape, constant and marks."""
    shape = None if value.shape is None else value.shape.copy()
    copy = ir.Value(name=value.name, type=value.type, shape=shape, const_value=value.const_value)
    copy.meta.update(value.meta)
    return copy


def _detach(body: ir.Graph) -> None:
    """Let a body read nothing any more: it is about to go."""
    for node in every_node(body):
        for slot in range(len(node.inputs)):
            node.replace_input_with(slot, None)


def _give_free_names(model: ir.Model, graph: ir.Graph, kept: tuple[set[str | None], set[str | None]]) -> None:
    """Name what was added to a body so that nothing else in the model has the name.

    Args:
        model: With the body in it that the graph replaces.
        graph: The graph.
        kept: Names that its values and nodes had before.
    """
    names = Names(model.graph)
    for value in sorted(_defined(graph), key=lambda value: value.name or ""):
        if value.name not in kept[0] and value.name:
            value.name = names.value(value.name)
    for node in every_node(graph):
        if node.name not in kept[1]:
            node.name = names.node(node.name or "")


def _replace(place: Place, graph: ir.Graph) -> None:
    for name, attribute in tuple(place.holders[-1].attributes.items()):
        if attribute.type == ir.AttributeType.GRAPH and attribute.as_graph() is place.body:
            place.holders[-1].attributes[name] = ir.AttrGraph(name, graph)
