"""Make the shapes of a model known that depend on its batch size or on other shapes; for inspection, not for writing.

With a batch of one, exporters' shape computations become constants, and with them the Reshapes and Slices behind them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, int_attribute, is_op
from qdq_cli.preparing.fold import add_initializer, fold_constants
from qdq_cli.preparing.prepare import infer_shapes

_MAX_ROUNDS = 4
"""Rounds of folding and shape inference: what one shape decides can make the next one known."""


def take_one_sample(model: ir.Model) -> bool:
    """Give every open batch dimension of an input the size 1; says whether there was one."""
    found = False
    for value in model.graph.inputs:
        if value.shape is not None and value.shape.rank() and not isinstance(value.shape[0], int):
            value.shape = ir.Shape([1, *value.shape[1:]])
            found = True
    return found


def settle_one_sample(model: ir.Model) -> bool:
    """Give every open batch dimension the size 1, in all shapes inferred with it open; says whether there was one.

    A shape that names the dimension needs no second inference, which takes a tenth of the time of a large model; it is
    done where some shape stays open.

    Args:
        model: A model with its shapes inferred.
    """
    named = _batch_names(model)
    if not take_one_sample(model):
        return False
    for node in model.graph:
        for value in node.outputs:
            if value.shape is not None and not value.shape.is_static():
                value.shape = ir.Shape([1 if str(dim) in named else dim for dim in value.shape])
    if any(not _is_known(value) for node in model.graph for value in node.outputs):
        infer_shapes(model)
    return True


def _batch_names(model: ir.Model) -> set[str]:
    """Return the names that inputs give to their batch dimension alone: all that is so called has one size."""
    shapes = [value.shape for value in model.graph.inputs if value.shape is not None and value.shape.rank()]
    others = {str(dim) for shape in shapes for dim in shape[1:]}
    return {str(shape[0]) for shape in shapes if isinstance(shape[0], ir.SymbolicDim) and shape[0].value} - others


def _is_known(value: ir.Value) -> bool:
    return not value.name or (value.shape is not None and value.shape.is_static())


def settle_shapes(model: ir.Model) -> None:
    """Fold constants and what is computed from known shapes, and infer shapes again, until nothing more is known."""
    for _ in range(_MAX_ROUNDS):
        if not _fold_known_shapes(model) + fold_constants(model):
            return
        infer_shapes(model)


def _fold_known_shapes(model: ir.Model) -> int:
    """Replace every Shape node whose input has a known shape by a constant; returns how many there were."""
    known = [
        (node, shape.numpy())
        for node in model.graph
        if is_op(node, "Shape") and not node.outputs[0].is_graph_output() and (shape := _static_shape(node)) is not None
    ]
    names = Names(model.graph) if known else None
    for node, dims in known:
        part = dims[int_attribute(node, "start", 0) : int_attribute(node, "end", len(dims))]
        name = f"{node.outputs[0].name}_known"
        constant = add_initializer(model.graph, names.value(name) if names else name, np.asarray(part, np.int64))
        node.outputs[0].replace_all_uses_with(constant)
        model.graph.remove(node, safe=True)
    return len(known)


def _static_shape(node: ir.Node) -> ir.Shape | None:
    value = input_at(node, 0)
    return value.shape if value is not None and value.shape is not None and value.shape.is_static() else None
