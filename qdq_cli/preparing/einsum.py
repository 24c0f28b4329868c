"""Write an Einsum with a constant weight as the MatMul it is, with Transposes and Reshapes around it where needed.

TensorRT computes Einsum in float only. tf2onnx and the attention of SAM write every projection that way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, is_constant, is_float, is_op, rank, static_dims, string_attribute

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Product:
    """How an Einsum of an activation and a weight is a product of matrices.

    Args:
        data: Number of the operand that is the activation.
        labels: The labels of the activation, of the weight and of the output.
        batch: Labels in all three.
        rows: Labels of the activation that the output keeps.
        summed: Labels of both operands that the output has not.
        columns: Labels of the weight that the output keeps.
    """

    data: int
    labels: tuple[str, str, str]
    batch: str
    rows: str
    summed: str
    columns: str


def replace_einsums(model: ir.Model) -> int:
    """Replace every Einsum of the main graph that is a product with a constant weight; returns how many there were.

    Args:
        model: Its values have names, and types and shapes as far as they can be inferred.
    """
    names: Names | None = None
    count = 0
    for node in list(model.graph):
        product = product_of(node) if is_op(node, "Einsum") else None
        if product is not None:
            names = names or Names(model.graph)
            _replace(model.graph, node, product, names)
            count += 1
    return count


def equation_of(node: ir.Node) -> tuple[tuple[str, ...], str] | None:
    """Return the labels of each operand and of the output, an ellipsis written out; None where that cannot be told."""
    text = string_attribute(node, "equation", "").replace(" ", "")
    left, arrow, output = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(node.inputs):
        return None
    if not arrow:
        letters = sorted({letter for letter in left if letter.isalpha()})
        output = ("..." if "..." in left else "") + "".join(letter for letter in letters if left.count(letter) == 1)
    free = [letter for letter in _LETTERS if letter not in text]
    widths = [_ellipsis_width(term, rank(value)) for term, value in zip(terms, node.inputs, strict=True)]
    if any(width is None or width < 0 for width in widths):
        return None
    widest = max(width or 0 for width in widths)
    if widest > len(free):
        return None
    common = "".join(free[:widest])
    spelled = [term.replace("...", common[widest - (width or 0) :]) for term, width in zip(terms, widths, strict=True)]
    return tuple(spelled), output.replace("...", common)


def _ellipsis_width(term: str, dims: int | None) -> int | None:
    """Return how many dimensions the ellipsis of a term stands for, 0 without one; None where the rank is unknown."""
    if "..." not in term:
        return 0
    return None if dims is None else dims - len(term.replace("...", ""))


def product_of(node: ir.Node) -> Product | None:
    """Say how an Einsum is a product of an activation with a constant weight; None where it is none."""
    constant = [is_constant(value) for value in node.inputs]
    if len(node.inputs) != 2 or constant.count(True) != 1 or not all(is_float(value) for value in node.inputs):
        return None
    found = equation_of(node)
    if found is None:
        return None
    data = constant.index(False)
    activation, weight, output = found[0][data], found[0][1 - data], found[1]
    if any(len(set(term)) != len(term) for term in (activation, weight, output)):
        return None  # a diagonal
    product = Product(
        data,
        (activation, weight, output),
        batch="".join(label for label in output if label in activation and label in weight),
        rows="".join(label for label in activation if label in output and label not in weight),
        summed="".join(label for label in weight if label in activation and label not in output),
        columns="".join(label for label in output if label in weight and label not in activation),
    )
    return product if _is_matrix_product(product) and _sizes_agree(node, product) else None


def _is_matrix_product(product: Product) -> bool:
    """Say whether nothing is summed on one side alone, and the product of a stack needs no sizes that may be open."""
    activation, weight, output = product.labels
    used = set(product.batch + product.rows + product.summed + product.columns)
    if used != set(activation + weight + output) or not product.summed or not product.columns or not product.rows:
        return False
    return not product.batch or len(product.rows) == 1


def _sizes_agree(node: ir.Node, product: Product) -> bool:
    """Say whether the operands agree in every size: Einsum stretches a size of 1, MatMul does not."""
    data, weight = input_at(node, product.data), input_at(node, 1 - product.data)
    if weight is None or weight.const_value is None or rank(data) != len(product.labels[0]):
        return False
    sizes = dict(zip(product.labels[1], weight.const_value.shape.numpy(), strict=True))
    given = dict(zip(product.labels[0], static_dims(data) or (), strict=True))
    return all(sizes[label] == (given[label] or sizes[label]) != 1 for label in product.batch + product.summed)


def _replace(graph: ir.Graph, node: ir.Node, product: Product, names: Names) -> None:
    """Put the nodes of a product in the place of an Einsum; the MatMul takes its name."""
    name, result = node.name or "", node.outputs[0]
    activation, weight, output = product.labels
    sizes = dict(zip(weight, _array(node, product).shape, strict=True))
    chain = _Chain(graph, node, names, name)
    rows = product.batch + product.rows
    value = chain.transpose(node.inputs[product.data], activation, rows + product.summed)
    if len(product.summed) > 1:
        value = chain.reshape(value, [*[0] * len(rows), math.prod(sizes[label] for label in product.summed)])
    value = chain.matmul(value, _matrices(node, product))
    if len(product.columns) > 1:
        value = chain.reshape(value, [*[0] * len(rows), *(sizes[label] for label in product.columns)])
    value = chain.transpose(value, rows + product.columns, output)
    value.shape, value.type = result.shape, result.type
    new_name, old_name = names.value(f"{result.name}_einsum"), result.name
    ir.convenience.replace_all_uses_with(result, value, replace_graph_outputs=True)
    result.name, value.name = new_name, old_name
    graph.remove(node, safe=True)


def _array(node: ir.Node, product: Product) -> np.ndarray:
    weight = node.inputs[1 - product.data]
    if weight is None or weight.const_value is None:
        raise ValueError("a product without a constant weight")
    array: np.ndarray = weight.const_value.numpy()
    return array


def _matrices(node: ir.Node, product: Product) -> np.ndarray:
    """Lay the weight out as [batch..., summed, columns]."""
    array, labels = _array(node, product), product.labels[1]
    order = product.batch + product.summed + product.columns
    moved = np.transpose(array, [labels.index(label) for label in order])
    columns = math.prod(moved.shape[len(order) - len(product.columns) :])
    summed = math.prod(moved.shape[len(product.batch) : len(order) - len(product.columns)])
    return np.ascontiguousarray(moved.reshape(*moved.shape[: len(product.batch)], summed, columns))


class _Chain:
    """Nodes that are put in front of another one, each reading the one before."""

    def __init__(self, graph: ir.Graph, before: ir.Node, names: Names, stem: str) -> None:
        self._graph, self._before, self._names, self._stem = graph, before, names, stem

    def transpose(self, value: ir.Value | None, labels: str, order: str) -> ir.Value:
        """Bring the dimensions named `labels` into another order; the value itself where that is the same."""
        if value is None or labels == order:
            return self._present(value)
        attribute = ir.AttrInt64s("perm", [labels.index(label) for label in order])
        return self._put("Transpose", [value], [attribute])

    def reshape(self, value: ir.Value, target: list[int]) -> ir.Value:
        """Change the sizes; 0 keeps one."""
        shape = add_initializer(self._graph, self._names.value(f"{self._stem}_shape"), np.array(target, np.int64))
        return self._put("Reshape", [value, shape], [])

    def matmul(self, value: ir.Value, matrices: np.ndarray) -> ir.Value:
        """Multiply by constant matrices; the node gets the name of what is replaced."""
        weight = add_initializer(self._graph, self._names.value(f"{self._stem}_weight"), matrices)
        made = self._put("MatMul", [value, weight], [])
        self._before.name, self._graph_node(made).name = self._names.node(f"{self._stem}_einsum"), self._before.name
        return made

    def _put(self, op_type: str, inputs: list[ir.Value], attributes: list[ir.Attr]) -> ir.Value:
        stem = f"{self._stem}_{op_type}"
        node = ir.Node("", op_type, inputs, attributes, name=self._names.node(stem))
        node.outputs[0].name = self._names.value(stem)
        node.outputs[0].type = self._present(inputs[0]).type
        self._graph.insert_before(self._before, node)
        return node.outputs[0]

    @staticmethod
    def _present(value: ir.Value | None) -> ir.Value:
        if value is None:
            raise ValueError("an Einsum without an operand")
        return value

    @staticmethod
    def _graph_node(value: ir.Value) -> ir.Node:
        node = value.producer()
        if node is None:
            raise ValueError("a value that no node makes")
        return node
