"""Write an Einsum that is a product of matrices as the MatMul it is, with Transposes and Reshapes where it needs them.

TensorRT computes Einsum in float only. tf2onnx and the attention of SAM write every projection that way, others the
products of attention, of two activations, and those of relative positions, a matrix for each row of a picture. All
compute the same sums, so nothing but their order in them may change.

Labels that both operands keep are a stack of products. Further rows of the left operand stand in front of it, where
MatMul stretches the right one; further columns of the right one are laid together, and so are several that are summed.
What keeps nothing of one operand, a vector, or sums over one alone, is left an Einsum, and so are products of three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import (
    every_body,
    input_at,
    is_activation,
    is_constant,
    is_float,
    is_op,
    rank,
    static_dims,
    string_attribute,
)

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


@dataclass(frozen=True)
class Stack:
    """How an Einsum of two activations is one product of two matrices for each index of a batch.

    Args:
        left: Number of the operand whose rows the output keeps.
        labels: The labels of the left operand, of the right one and of the output.
        batch: Labels in all three.
        rows: Labels of the left operand that the output keeps.
        summed: Labels of both operands that the output has not.
        columns: Labels of the right operand that the output keeps.
        sizes: Of the summed labels, and of the columns; -1 for one that is open.
    """

    left: int
    labels: tuple[str, str, str]
    batch: str
    rows: str
    summed: str
    columns: str
    sizes: tuple[list[int], list[int]]


def replace_einsums(model: ir.Model) -> int:
    """Replace every Einsum that is a product of matrices, those in bodies too; returns how many there were.

    Args:
        model: Its values have names, and types and shapes as far as they can be inferred.
    """
    names: Names | None = None
    count = 0
    for graph in (model.graph, *every_body(model.graph)):
        for node in [node for node in graph if is_op(node, "Einsum")]:
            product, stack = product_of(node), stack_of(node)
            names = names or Names(model.graph)
            if product is not None:
                _replace(graph, node, product, names)
            elif stack is not None:
                _replace_stack(graph, node, stack, names)
            count += product is not None or stack is not None
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


def stack_of(node: ir.Node) -> Stack | None:
    """Say how an Einsum of two activations is a product of two matrices, or of a stack of them; None where it is none.

    What is summed has to have one size in both operands: Einsum stretches a size of 1, MatMul does not. Of a batch with
    two sizes ONNX infers another shape for one than for the other.
    """
    found = equation_of(node) if len(node.inputs) == 2 else None
    ranks = [rank(value) for value in node.inputs]
    if found is None or not all(is_activation(value) for value in node.inputs):
        return None
    (first, second), output = found
    if [len(first), len(second)] != ranks or any(len(set(term)) != len(term) for term in (first, second, output)):
        return None
    own = ["".join(label for label in output if label not in other) for other in (second, first)]
    summed = "".join(label for label in first if label not in output)
    batch = "".join(label for label in output if label in first and label in second)
    used = sorted(batch + summed + own[0]), sorted(batch + summed + own[1])
    whole = used == (sorted(first), sorted(second)) and summed and own[0] and own[1]
    if not whole or not _sizes_are_one(node, (first, second), (batch, summed)):
        return None
    left = _left_of(own, output)
    known = dict(zip((first, second)[1 - left], static_dims(node.inputs[1 - left]) or (), strict=True))
    inner, columns = (
        [-1 if (size := known[label]) is None else size for label in part] for part in (summed, own[1 - left])
    )
    together = len(inner) > 1 or len(columns) > 1
    if together and (0 in inner + columns or (-1 in inner and -1 in columns) or columns.count(-1) > 1):
        return None  # one Reshape finds one open size
    terms = (first, second) if left == 0 else (second, first)
    return Stack(left, (*terms, output), batch, own[left], summed, own[1 - left], (inner, columns))


def _left_of(own: list[str], output: str) -> int:
    """Say which operand's labels are to be rows: the one that has several, else the one that comes first."""
    if (len(own[0]) > 1) != (len(own[1]) > 1):
        return 0 if len(own[0]) > 1 else 1
    return 0 if output.index(own[0][0]) < output.index(own[1][0]) else 1


def _sizes_are_one(node: ir.Node, terms: tuple[str, str], common: tuple[str, str]) -> bool:
    """Say whether both operands have one size where they have a summed label, known or of one name.

    Args:
        node: The Einsum.
        terms: The labels of its operands.
        common: The labels of the batch, whose sizes must not be known to differ, and the summed ones.
    """
    shapes = [() if value is None or value.shape is None else tuple(value.shape) for value in node.inputs]
    first, second = (dict(zip(term, shape, strict=False)) for term, shape in zip(terms, shapes, strict=True))
    batch, summed = common
    known = [(first.get(label), second.get(label)) for label in batch]
    agree = all(one == other for one, other in known if isinstance(one, int) and isinstance(other, int))
    return agree and all(str(first.get(label)) == str(second.get(label)) != "None" for label in summed)


def _is_matrix_product(product: Product) -> bool:
    """Say whether nothing is summed on one side alone, and each operand keeps something."""
    activation, weight, output = product.labels
    used = set(product.batch + product.rows + product.summed + product.columns)
    return used == set(activation + weight + output) and all((product.summed, product.columns, product.rows))


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
    name = node.name or ""
    activation, weight, output = product.labels
    sizes = dict(zip(weight, _array(node, product).shape, strict=True))
    chain = _Chain(graph, node, names, name)
    rows = product.rows[:-1] + product.batch + product.rows[-1]
    value = chain.transpose(node.inputs[product.data], activation, rows + product.summed)
    if len(product.summed) > 1:
        value = chain.reshape(value, [*[0] * len(rows), math.prod(sizes[label] for label in product.summed)])
    value = chain.matmul(value, _matrices(node, product))
    if len(product.columns) > 1:
        value = chain.reshape(value, [*[0] * len(rows), *(sizes[label] for label in product.columns)])
    chain.end(chain.transpose(value, rows + product.columns, output))


def _replace_stack(graph: ir.Graph, node: ir.Node, stack: Stack, names: Names) -> None:
    """Put a MatMul of two activations in the place of an Einsum, which takes its name."""
    first, second, output = stack.labels
    chain = _Chain(graph, node, names, node.name or "")
    rows, batch = stack.rows[:-1] + stack.batch + stack.rows[-1], stack.batch
    left = chain.transpose(node.inputs[stack.left], first, rows + stack.summed)
    right = chain.transpose(node.inputs[1 - stack.left], second, batch + stack.summed + stack.columns)
    if len(stack.summed) > 1:
        left = chain.reshape(left, [*[0] * len(rows), -1])
    if len(stack.summed) > 1 or len(stack.columns) > 1:
        right = chain.reshape(right, [*[0] * len(batch), *(_together(sizes) for sizes in stack.sizes)])
    value = chain.multiply(left, right)
    if len(stack.columns) > 1:
        value = chain.reshape(value, [*[0] * len(rows), *stack.sizes[1]])
    chain.end(chain.transpose(value, rows + stack.columns, output))


def _together(sizes: list[int]) -> int:
    """The size of axes that are laid together; -1 where one of them is open."""
    return -1 if -1 in sizes else math.prod(sizes)


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
        return self.multiply(value, weight)

    def multiply(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """Multiply two matrices, or stacks of them; the node gets the name of what is replaced."""
        made = self._put("MatMul", [left, right], [])
        self._before.name, self._graph_node(made).name = self._names.node(f"{self._stem}_einsum"), self._before.name
        return made

    def end(self, value: ir.Value) -> None:
        """Let a value, which the chain made, take the place of the result of the node, and its name."""
        result = self._before.outputs[0]
        value.shape, value.type = result.shape, result.type
        new_name, old_name = self._names.value(f"{result.name}_einsum"), result.name
        ir.convenience.replace_all_uses_with(result, value, replace_graph_outputs=True)
        result.name, value.name = new_name, old_name
        self._graph.remove(self._before, safe=True)

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
