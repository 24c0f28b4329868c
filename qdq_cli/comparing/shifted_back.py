"""Bring tensors that are shifted in a quantized model (`placement.shifting`) back where the float model has them.

Ahead of the Q that reads such a tensor the constant is taken out and put in again, with the Relu or Clip between that
its codes do the work of. So a layer can be compared, and be fed the float model's values, as every other one.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import clip_bounds, consumers, is_op
from qdq_cli.model.provenance import shifted_of


def shift_back(reference: ir.Model, quantized: ir.Model) -> None:
    """Give the quantized model the float model's tensors that are shifted in it, in place; what it computes stays.

    Args:
        reference: The float model, of the same opset; left as it is.
        quantized: Its quantized form.
    """
    shifted = shifted_of(quantized)
    if not shifted:
        return
    values = ir.convenience.create_value_mapping(quantized.graph)
    floats = ir.convenience.create_value_mapping(reference.graph)
    names = Names(quantized.graph)
    for name, amount in shifted.items():
        value, clip = values.get(f"{name}_shifted"), None
        maker = floats[name].producer() if name in floats else None
        if value is None and maker is not None and is_op(maker, "Relu", "Clip"):  # the codes do its work
            value, clip = values.get(f"{maker.inputs[0].name}_shifted" if maker.inputs[0] is not None else ""), maker
        if value is not None and value.producer() is not None and name not in values:
            _bring_back(quantized.graph, value, name, amount, clip, names)


def _bring_back(graph: ir.Graph, value: ir.Value, name: str, amount: float, clip: ir.Node | None, names: Names) -> None:
    """Take a constant out behind what makes a tensor, under a name, and put it in again for all that read it."""
    dtype = np.dtype((value.dtype or ir.DataType.FLOAT).numpy())
    readers = list(consumers(value))

    def constant(number: float) -> ir.Value:
        return add_initializer(graph, names.value(f"{name}_bound"), np.asarray(number, dtype))

    nodes = [ir.Node("", "Sub", [value, constant(amount)], name=names.node(f"{name}_Sub"))]
    if clip is not None:
        bounds = [constant(bound) if np.isfinite(bound) else None for bound in clip_bounds(clip)]
        nodes.append(ir.Node("", "Clip", [nodes[-1].outputs[0], *bounds], name=names.node(f"{name}_Clip")))
    nodes.append(ir.Node("", "Add", [nodes[-1].outputs[0], constant(amount)], name=names.node(f"{name}_Add")))
    for node in nodes:
        node.outputs[0].name, node.outputs[0].type = names.value(f"{node.name}_Output"), value.type
        node.outputs[0].shape = value.shape
    nodes[-2].outputs[0].name = name
    behind = value.producer()
    assert behind is not None
    graph.insert_after(behind, nodes)
    for node, slot in readers:
        node.replace_input_with(slot, nodes[-1].outputs[0])
