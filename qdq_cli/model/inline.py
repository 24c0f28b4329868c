"""Replace calls of model-local functions by what they do.

onnx-ir's inliner does the work. Before it runs, functions and calls are brought into a form it handles: a function that
returns one of its own inputs would rename a value of the caller, and calls may leave out outputs. Behind it, names
inside bodies are made different from those around them: it keeps them apart as objects, but a file has only the names.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx.inliner
import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.model.names import Names
from qdq_cli.model.wire import root_cause, to_proto, weights_left_out
from qdq_cli.process.errors import ModelError


def inline_functions(model: ir.Model) -> None:
    """Replace every call of a local function by its body, in place, and drop the functions.

    Raises:
        ModelError: A function cannot be inlined.
    """
    if not model.functions:
        return
    for function in model.functions.values():
        _return_own_values(function)
    places: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for node in [node for place in places for node in place.all_nodes()]:
        if node.op_identifier() in model.functions:
            _take_every_output(node, model.functions[node.op_identifier()])
    if _opsets_agree(model):
        _inline(model)
    else:
        _inline_converting(model)
    model.functions.clear()
    _rename_shadowing(model.graph, frozenset(), Names(model.graph))


def _return_own_values(function: ir.Function) -> None:
    """Put an Identity behind every output that is an input of the function, or an output already."""
    seen: set[ir.Value] = set(function.inputs)
    for position, value in enumerate(function.outputs):
        if value in seen:
            identity = ir.node("Identity", [value])
            function.append(identity)
            function.outputs[position] = identity.outputs[0]
        seen.add(value)


def _take_every_output(call: ir.Node, function: ir.Function) -> None:
    """Let a call name every output of its function; those it left out get names of their own."""
    call.resize_outputs(max(len(call.outputs), len(function.outputs)))
    for value in call.outputs:
        if not value.name:
            value.name = None


def _opsets_agree(model: ir.Model) -> bool:
    return all(
        model.opset_imports.get(domain, version) == version
        for function in model.functions.values()
        for domain, version in function.opset_imports.items()
    )


def _inline(model: ir.Model) -> None:
    try:
        passes.InlinePass()(model)
    except (ir.passes.PassError, ir.passes.InvariantError, ValueError) as error:
        raise ModelError(
            f"The model's local functions cannot be inlined: {root_cause(error)}.", "Inline them when exporting."
        ) from error


def _inline_converting(model: ir.Model) -> None:
    """Inline functions that are written for another opset than the model; ONNX's own inliner converts them."""
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    with weights_left_out(model):
        proto = to_proto(model)
    try:
        inlined = onnx.inliner.inline_local_functions(proto, convert_version=True)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            "The model's local functions have another opset than the model, and cannot be converted: "
            f"{root_cause(error)}.",
            "Export the model with one opset.",
        ) from error
    model.graph = ir.serde.deserialize_model(inlined).graph
    for name, value in model.graph.initializers.items():
        value.const_value = tensors.get(name, value.const_value)


def _rename_shadowing(graph: ir.Graph, outer: frozenset[str], names: Names) -> None:
    """Rename what a body defines under a name that is visible from outside.

    Args:
        graph: The main graph, or a body.
        outer: Names that are visible from outside.
        names: The names of the model.
    """
    defined = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    for value in defined:
        if value.name and value.name in outer:
            value.name = names.value(value.name)
    visible = outer | {value.name for value in defined if value.name}
    for body in _bodies(graph):
        _rename_shadowing(body, visible, names)


def _bodies(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Yield the bodies of the nodes of a graph, not those inside them."""
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield attribute.as_graph()
            elif attribute.type == ir.AttributeType.GRAPHS:
                yield from attribute.as_graphs()
