"""The layers that recovery works on, and rows of what they read in the float model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.scheme import Block, PerChannel, Scheme
from qdq_cli.data.batches import Batch
from qdq_cli.judging.trials import ABREAST
from qdq_cli.model.linear import Linear, linear_of
from qdq_cli.model.nodes import every_node, input_at, name_of
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.record import Use
from qdq_cli.running.tensors import TensorRunner


@dataclass(frozen=True)
class Layer:
    """A weighted operator that recovery can work on.

    Args:
        node: Its name.
        tensor: Name of the tensor it reads.
        group: Scale group of that tensor; None where it stays float.
        weight: Name of its weight.
        scheme: How its weight is quantized.
        linear: How it computes.
        result: Name of what it makes, which tells whether it ran, where it stands in a body and reads from outside of
            that; None elsewhere.
    """

    node: str
    tensor: str
    group: int | None
    weight: str
    scheme: Scheme
    linear: Linear
    result: str | None = None

    @property
    def axis(self) -> int | None:
        """Axis of the weight's scales; None for one scale."""
        granularity = self.scheme.granularity
        return granularity.axis if isinstance(granularity, PerChannel | Block) else None

    @property
    def block_size(self) -> int:
        """Inputs that share a scale of the weight; all of them without blocks."""
        granularity = self.scheme.granularity
        return granularity.size if isinstance(granularity, Block) else self.linear.inputs

    @property
    def beside(self) -> int | str:
        """What layers that are worked on together have in common: the scale of what they read, or the tensor itself."""
        return self.tensor if self.group is None else self.group


def take_rows(
    model: ir.Model, layers: Sequence[Layer], batches: Iterable[Batch], counts: Mapping[str, int]
) -> Mapping[str, NDArray[np.float32]]:
    """Collect rows of what layers read in a float model.

    Args:
        model: The model.
        layers: Which.
        batches: The samples, one batch in memory at a time.
        counts: Node -> rows of each batch.

    Returns:
        Node -> rows, shape [R, groups, K], of the layers that any batch runs; memory depends on the layers, `counts`
        and the number of batches, and on the rounds of one batch.

    Raises:
        ModelError: The model cannot be run.
    """
    asked = (name for layer in layers for name in (layer.tensor, layer.result) if name is not None)
    runner = TensorRunner(model, tuple(dict.fromkeys(asked)), abreast=ABREAST)
    parts: dict[str, list[NDArray[np.float32]]] = {layer.node: [] for layer in layers}
    for number, tensors in enumerate(runner.run_each(batches)):
        for layer in layers:
            if layer.result is not None and not tensors[layer.result]:
                continue
            parts[layer.node] += _rows_of(layer.linear, tensors[layer.tensor], counts[layer.node], number)
    return {node: np.concatenate(found) for node, found in parts.items() if found}


def _rows_of(linear: Linear, held: Sequence[NDArray[np.generic]], count: int, seed: int) -> list[NDArray[np.float32]]:
    """Take rows out of what a tensor held in a run, as many out of each round, and where these are many out of some."""
    held = [array for array in held if array.size]
    if len(held) > count:
        held = [held[number] for number in np.sort(np.random.default_rng(seed).choice(len(held), count, replace=False))]
    return [linear.rows(array, count // len(held), seed + number) for number, array in enumerate(held)]


_MOST_ROWS, _LEAST_ROWS, _ROWS_AN_INPUT = 16384, 4096, 64
"""Rows of a layer that its weights are fitted to, where memory allows: fewer, and the fit does not hold on others. A
layer of few inputs has little to fit, and needs no more of them than this many for each."""

_ROWS_BYTES = 256 << 20
"""Memory for the rows of the layers that are worked on together."""


def rows_of(layer: Layer) -> int:
    """How many rows a layer's weights are fitted to, where memory allows."""
    return min(_MOST_ROWS, max(_LEAST_ROWS, _ROWS_AN_INPUT * layer.linear.inputs))


def portions(layers: Sequence[Layer]) -> list[tuple[Layer, ...]]:
    """Divide layers into runs of neighbours whose rows fit in memory together; readers of one tensor stay together."""
    found: list[list[Layer]] = []
    size_bytes = 0
    for members in _by_group(layers):
        needed = _rows_bytes(members)
        if not found or size_bytes + needed > _ROWS_BYTES:
            found.append([])
            size_bytes = 0
        found[-1] += members
        size_bytes += needed
    return [tuple(portion) for portion in found]


def rows_a_batch(portion: Sequence[Layer], batches: int, most: int | None = None) -> Mapping[str, int]:
    """How many rows of each layer one batch gives, so that all of them fit in memory.

    Args:
        portion: The layers.
        batches: How many there are.
        most: Rows of a layer in all; None: as many as its weights are fitted to.
    """
    share = min(1.0, _ROWS_BYTES / _rows_bytes(portion))
    wanted = {layer.node: min(int(share * rows_of(layer)), most or _MOST_ROWS) for layer in portion}
    return {node: max(1, rows // max(1, batches)) for node, rows in wanted.items()}


def _rows_bytes(layers: Sequence[Layer]) -> int:
    return sum(_row_bytes(layer) * rows_of(layer) for layer in layers)


def _row_bytes(layer: Layer) -> int:
    return 4 * layer.linear.groups * layer.linear.inputs


def _by_group(layers: Sequence[Layer]) -> list[list[Layer]]:
    groups: dict[int | str, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.beside, []).append(layer)
    return list(groups.values())


def layers_of(model: ir.Model, plan: Plan) -> tuple[Layer, ...]:
    """Return the quantized weighted operators that recovery can work on, in the plan's order.

    Those with a constant weight of their own and a quantized input, or with a weight that alone is quantized: products
    of two activations and shared weights are left as they are. Bodies are looked into as the main graph is.
    """
    nodes = {node.name: node for node in every_node(model.graph)}
    read = {use: target for target in plan.targets for use in target.uses}
    found = []
    for weight in plan.weights:
        node = nodes[weight.use.node]
        linear, value = linear_of(node), input_at(node, weight.use.slot)
        target, data = read.get(Use(weight.use.node, 0)), input_at(node, 0)
        owned = value is not None and len(value.uses()) == 1 and not value.is_graph_output()
        if linear is None or data is None or not owned or weight.use.slot != 1:
            continue
        if target is not None or weight.alone:
            group = None if target is None else target.group
            result = name_of(node.outputs[0]) if _comes_from_outside(data, node) else None
            found.append(Layer(weight.use.node, name_of(data), group, weight.tensor, weight.scheme, linear, result))
    return tuple(found)


def _comes_from_outside(data: ir.Value, node: ir.Node) -> bool:
    """Say whether a node in a body reads a tensor that the body does not define."""
    maker = data.producer()
    return (data.graph if maker is None else maker.graph) is not node.graph
