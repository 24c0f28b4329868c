"""Replace calls of model-local functions by what they do.

onnx-ir's inliner does the work. Before it runs, functions and calls are brought into a form it handles: a function that
returns one of its own inputs would rename a value of the caller, and calls may leave out outputs. Behind it, names
inside bodies are made different from those around them: it keeps them apart as objects, but a file has only the names.
"""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Iterator

import onnx
import onnx.checker
import onnx.inliner
import onnx.shape_inference
import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.model.maps import from_proto
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import defined_values
from qdq_cli.model.wire import root_cause, to_proto, weights_left_out
from qdq_cli.process.errors import ModelError

MAX_INLINED_NODES = 50_000
"""Nodes that calls of local functions may become: sixteen functions that call one another twice are 65,536 already."""

MAX_INLINED_BYTES = 2**31 - 1
"""Bytes of the constants in functions, once for every call; one ONNX file holds no more."""

_MANY_CALLS = 500  # of one function; onnx-ir tries as many names for each value in it, ONNX's inliner does not

_Function = ir.OperatorIdentifier


def inline_functions(model: ir.Model) -> None:
    """Replace every call of a local function by its body, in place, and drop the functions.

    Raises:
        ModelError: A function cannot be inlined, calls itself, or becomes more than can be handled.
    """
    if not model.functions:
        return
    calls = _calls(model)
    _refuse_explosion(model, calls)
    for function in model.functions.values():
        _return_own_values(function)
    places: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for node in [node for place in places for node in place.all_nodes()]:
        if node.op_identifier() in model.functions:
            _take_every_output(node, model.functions[node.op_identifier()])
    agree = _opsets_agree(model)
    if agree and max(calls.values(), default=0) <= _MANY_CALLS:
        _inline(model)
    else:
        _inline_by_onnx(model, convert=not agree)
    model.functions.clear()
    _rename_shadowing(model.graph, frozenset(), Names(model.graph))


def _calls(model: ir.Model) -> Counter[_Function]:
    """Return how often each function runs: calls of calls multiply.

    Raises:
        ModelError: A function calls itself, at once or through others.
    """
    callees = {name: _called(function, model) for name, function in model.functions.items()}
    try:
        callees_first = list(graphlib.TopologicalSorter(callees).static_order())
    except graphlib.CycleError as error:
        name = error.args[1][0][1]
        raise ModelError(f"The model's local function '{name}' calls itself.", "ONNX allows no recursion.") from error
    calls = _called(model.graph, model)
    for name in reversed(callees_first):
        for callee, count in callees[name].items():
            calls[callee] += calls[name] * count
    return calls


def _called(place: ir.Graph | ir.Function, model: ir.Model) -> Counter[_Function]:
    called = (node.op_identifier() for node in place.all_nodes())
    return Counter(name for name in called if name in model.functions)


def _refuse_explosion(model: ir.Model, calls: Counter[_Function]) -> None:
    nodes = sum(calls[name] * sum(1 for _ in function.all_nodes()) for name, function in model.functions.items())
    size_bytes = sum(calls[name] * _constant_bytes(function) for name, function in model.functions.items())
    if nodes > MAX_INLINED_NODES or size_bytes > MAX_INLINED_BYTES:
        raise ModelError(
            f"The calls of the model's {len(model.functions)} local functions become {nodes:,} nodes with "
            f"{size_bytes:,} bytes of constants; at most {MAX_INLINED_NODES:,} and {MAX_INLINED_BYTES:,} are taken.",
            "Export the model without functions that call one another so often.",
        )


def _constant_bytes(function: ir.Function) -> int:
    return sum(
        tensor.nbytes
        for node in function.all_nodes()
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref()
        for tensor in (attribute.as_tensor(),)
    )


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
    except (ir.passes.PassError, ir.passes.InvariantError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"The model's local functions cannot be inlined: {root_cause(error)}.", "Inline them when exporting."
        ) from error


def _inline_by_onnx(model: ir.Model, *, convert: bool) -> None:
    """Inline by ONNX's own inliner, which can also convert functions that are written for another opset."""
    tensors = {name: value.const_value for name, value in model.graph.initializers.items()}
    with weights_left_out(model):
        proto = to_proto(model)
    try:
        inlined = onnx.inliner.inline_local_functions(proto, convert_version=convert)
    except (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        what = "have another opset than the model, and cannot be converted" if convert else "cannot be inlined"
        raise ModelError(
            f"The model's local functions {what}: {root_cause(error)}.",
            "Export the model with one opset." if convert else "Inline them when exporting.",
        ) from error
    model.graph = from_proto(inlined).graph
    for name, value in model.graph.initializers.items():
        value.const_value = tensors.get(name, value.const_value)


def _rename_shadowing(graph: ir.Graph, outer: frozenset[str], names: Names) -> None:
    """Rename what a body defines under a name that is visible from outside.

    Args:
        graph: The main graph, or a body.
        outer: Names that are visible from outside.
        names: The names of the model.
    """
    defined = defined_values(graph)
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
