"""A model or a plan as text for diffs: one line a node, names sorted where order carries no meaning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qdq_cli.placement.plan import Plan

_FEW = 4
"""Constants with at most this many elements are written out; of larger ones only type and shape."""


def model_text(model: ir.Model) -> str:
    """Return a graph as text: inputs, outputs, nodes in file order with their attributes, constants without weights."""
    graph = model.graph
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(model.opset_imports.items()))
    lines = [f"opset {opsets}"]
    lines += [f"input {_typed(value)}" for value in graph.inputs]
    lines += [f"output {_typed(value)}" for value in graph.outputs]
    lines += [f"constant {name}: {_constant(value)}" for name, value in sorted(graph.initializers.items())]
    lines += [_node(node) for node in graph]
    return "\n".join(lines) + "\n"


def plan_text(plan: Plan) -> str:
    """Return a plan as text: quantized nodes, pairs with their readers, weights, scale groups and skips."""
    return "\n".join(_plan_lines(plan)) + "\n"


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield f"quantized {len(plan.quantized)} of {plan.weighted}: {', '.join(plan.quantized)}"
    yield f"on INT8: {', '.join(plan.int8_nodes) or '-'}"
    for target in plan.targets:
        readers = ", ".join(f"{use.node}:{use.slot}" for use in target.uses)
        yield f"pair {target.tensor} -> {readers} [group {target.group}]{' opens a run' * target.opens_run}"
    for weight in plan.weights:
        yield f"weight {weight.tensor} -> {weight.use.node}:{weight.use.slot} [axis {weight.axis}]"
    for number, group in enumerate(plan.groups):
        known = "" if group.known is None else f" known amax {group.known.amax:g}"
        known += " depthwise" * group.depthwise
        yield f"group {number}: {', '.join(group.tensors)} observes {', '.join(group.observed)}{known}"
    for skip in plan.skips:
        yield f"skip {skip.op_type} {skip.node} ({skip.input}): {skip.code}"
    yield from (f"note {note}" for note in plan.notes)


def _typed(value: ir.Value) -> str:
    shape = "?" if value.shape is None else ", ".join(str(dim) for dim in value.shape)
    return f"{value.name}: {value.dtype.name if value.dtype is not None else '?'}[{shape}]"


def _constant(value: ir.Value) -> str:
    tensor = value.const_value
    if tensor is None:
        return "?"
    shape = ", ".join(map(str, tensor.shape.numpy()))
    text = f"{tensor.dtype.name}[{shape}]"
    if tensor.size <= _FEW and tensor.dtype != ir.DataType.STRING:
        text += " " + " ".join(f"{element:.6g}" for element in np.ravel(tensor.numpy()).tolist())
    return text


def _node(node: ir.Node) -> str:
    inputs = ", ".join((value.name or "") if value is not None else "" for value in node.inputs)
    outputs = ", ".join(value.name or "" for value in node.outputs)
    attributes = ", ".join(f"{name}={_attribute(node.attributes[name])}" for name in sorted(node.attributes))
    suffix = f" {{{attributes}}}" if attributes else ""
    return f"{outputs} = {node.domain + '.' if node.domain else ''}{node.op_type}({inputs}){suffix}"


def _attribute(attribute: ir.Attr) -> str:
    if attribute.type == ir.AttributeType.GRAPH:
        return f"body of {len(attribute.as_graph())} nodes"
    if attribute.type == ir.AttributeType.FLOAT:
        return f"{attribute.as_float():.6g}"
    if attribute.type == ir.AttributeType.INTS:
        return "[" + ", ".join(map(str, attribute.as_ints())) + "]"
    return str(attribute.value)
