"""Make the shapes of a model known that depend on its batch size or on other shapes; for inspection, not for writing.

With a batch of one, exporters' shape computations become constants, and with them the Reshapes and Slices behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import every_node, inner_graphs, input_at, int_attribute, is_op
from qdq_cli.preparing.fold import fold_constants
from qdq_cli.preparing.prepare import infer_shapes

_MAX_ROUNDS = 4
"""Rounds of folding and shape inference: what one shape decides can make the next one known."""


def take_one_sample(model: ir.Model) -> bool:
    """Give every open batch dimension of an input, and what has its name, the size 1; says whether there was one."""
    named, found = _batch_names(model), False
    for value in model.graph.inputs:
        if value.shape is not None and value.shape.rank() and not isinstance(value.shape[0], int):
            value.shape = ir.Shape([1, *value.shape[1:]])
            found = True
    if found:
        _give_sizes(model, dict.fromkeys(named, 1))
    return found


def give_shapes(model: ir.Model, shapes: Mapping[str, tuple[int | str | None, ...]]) -> None:
    """Give inputs a shape each, and every dimension of the same name, in bodies too, the size it has there.

    Args:
        model: A model; types and shapes are to be inferred again afterwards.
        shapes: Input -> its shape, as long as the declared one where there is one.
    """
    sizes: dict[str, set[int]] = {}
    for value in model.graph.inputs:
        if (dims := shapes.get(value.name or "")) is None:
            continue
        for said, size in zip(value.shape or (), dims, strict=False):
            if isinstance(said, ir.SymbolicDim) and said.value and isinstance(size, int):
                sizes.setdefault(said.value, set()).add(size)
        value.shape = ir.Shape(list(dims))
    _give_sizes(model, {name: found.pop() for name, found in sizes.items() if len(found) == 1})


def settle_one_sample(model: ir.Model) -> bool:
    """Give every open batch dimension the size 1, in all shapes inferred with it open; says whether there was one.

    A shape that names the dimension needs no second inference, which takes a tenth of the time of a large model; it is
    done where some shape stays open.

    Args:
        model: A model with its shapes inferred.
    """
    if not take_one_sample(model):
        return False
    if any(not _is_known(value) for node in every_node(model.graph) for value in node.outputs):
        infer_shapes(model)
    return True


def _give_sizes(model: ir.Model, sizes: Mapping[str, int]) -> None:
    """Give every dimension of one of these names its size, in bodies too."""
    for value in _open_values(model.graph) if sizes else ():
        value.shape = ir.Shape([sizes.get(str(dim), dim) for dim in value.shape or ()])


def _open_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yield what has a shape with an open dimension: results of nodes, and what bodies are handed."""
    for node in every_node(graph):
        handed = [value for body in inner_graphs(node) for value in body.inputs] if node.attributes.data else ()
        for value in (*node.outputs, *handed):
            if value.shape is not None and not value.shape.is_static():
                yield value


def _batch_names(model: ir.Model) -> set[str]:
    """Return the names that inputs give to their batch dimension alone: all that is so called has one size."""
    shapes = [value.shape for value in model.graph.inputs if value.shape is not None and value.shape.rank()]
    others = {str(dim) for shape in shapes for dim in shape[1:]}
    return {str(shape[0]) for shape in shapes if isinstance(shape[0], ir.SymbolicDim) and shape[0].value} - others


def _is_known(value: ir.Value) -> bool:
    return not value.name or (value.shape is not None and value.shape.is_static())


def settle_shapes(model: ir.Model) -> None:
    """Fold constants and what is computed from known shapes, and infer shapes again, until nothing more is known.

    Products of constants stay: with an open batch they run in every engine, and here they are counted.
    """
    for _ in range(_MAX_ROUNDS):
        if not _fold_known_shapes(model) + fold_constants(model, products=False):
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
