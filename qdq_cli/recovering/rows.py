"""The layers that recovery works on, and rows of what they read in the float model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.data.batches import Batch
from qdq_cli.model.linear import Linear, linear_of
from qdq_cli.model.nodes import input_at
from qdq_cli.placement.plan import Plan, Use
from qdq_cli.running.outputs import part_for
from qdq_cli.running.runner import Runner


@dataclass(frozen=True)
class Layer:
    """A weighted operator that recovery can work on.

    Args:
        node: Its name.
        tensor: Name of the tensor it reads.
        group: Scale group of that tensor.
        weight: Name of its weight.
        axis: Axis of the weight's scales; None for one scale.
        linear: How it computes.
    """

    node: str
    tensor: str
    group: int
    weight: str
    axis: int | None
    linear: Linear


class TensorRunner:
    """Runs the part of a model that some of its tensors need, and hands these out.

    Args:
        model: Left as it is; its weights have to stay as they are.
        tensors: Names of graph inputs and of computed values.

    Raises:
        ModelError: A tensor is not there, or the model cannot be run.
    """

    def __init__(self, model: ir.Model, tensors: Sequence[str]) -> None:
        fed = {value.name for value in model.graph.inputs}
        self._fed = [name for name in tensors if name in fed]
        computed = [name for name in tensors if name not in fed]
        self._runner: Runner | None = None
        if computed:
            self._runner = Runner(part_for(model, computed)[1])

    def run(self, batch: Batch) -> dict[str, NDArray[np.generic]]:
        """Return the tensors of one batch by name.

        Raises:
            ModelError: The run failed.
        """
        found = {name: batch.arrays[name] for name in self._fed}
        return {**found, **(self._runner.run(batch) if self._runner else {})}


def take_rows(
    model: ir.Model, layers: Sequence[Layer], batches: Iterable[Batch], count: int
) -> Mapping[str, NDArray[np.float32]]:
    """Collect rows of what layers read in a float model.

    Args:
        model: The model.
        layers: Which.
        batches: The samples, one batch in memory at a time.
        count: Rows of each layer and batch.

    Returns:
        Node -> rows, shape [R, groups, K]; memory depends on the layers, `count` and the number of batches alone.

    Raises:
        ModelError: The model cannot be run.
    """
    runner = TensorRunner(model, tuple(dict.fromkeys(layer.tensor for layer in layers)))
    parts: dict[str, list[NDArray[np.float32]]] = {layer.node: [] for layer in layers}
    for number, batch in enumerate(batches):
        tensors = runner.run(batch)
        for layer in layers:
            parts[layer.node].append(layer.linear.rows(tensors[layer.tensor], count, number))
    return {node: np.concatenate(found) for node, found in parts.items() if found}


ROWS = 16384
"""Rows of a layer that its weights are fitted to, where memory allows: fewer, and the fit does not hold on others."""

_ROWS_BYTES = 256 << 20
"""Memory for the rows of the layers that are worked on together."""


def portions(layers: Sequence[Layer]) -> list[tuple[Layer, ...]]:
    """Divide layers into runs of neighbours whose rows fit in memory together; readers of one tensor stay together."""
    found: list[list[Layer]] = []
    size_bytes = 0
    for members in _by_group(layers):
        needed = sum(_row_bytes(layer) for layer in members) * ROWS
        if not found or size_bytes + needed > _ROWS_BYTES:
            found.append([])
            size_bytes = 0
        found[-1] += members
        size_bytes += needed
    return [tuple(portion) for portion in found]


def rows_a_batch(portion: Sequence[Layer], batches: int) -> int:
    """How many rows of each layer one batch gives, so that all of them fit in memory."""
    fit = _ROWS_BYTES // sum(_row_bytes(layer) for layer in portion)
    return max(1, min(ROWS, fit) // max(1, batches))


def _row_bytes(layer: Layer) -> int:
    return 4 * layer.linear.groups * layer.linear.inputs


def _by_group(layers: Sequence[Layer]) -> list[list[Layer]]:
    groups: dict[int, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.group, []).append(layer)
    return list(groups.values())


def layers_of(model: ir.Model, plan: Plan) -> tuple[Layer, ...]:
    """Return the quantized weighted operators that recovery can work on, in the plan's order.

    Those with a constant weight of their own and a quantized input: products of two activations and shared weights are
    left as they are.
    """
    nodes = {node.name: node for node in model.graph}
    read = {use: target for target in plan.targets for use in target.uses}
    found = []
    for weight in plan.weights:
        node = nodes[weight.use.node]
        linear, value = linear_of(node), input_at(node, weight.use.slot)
        target = read.get(Use(weight.use.node, 0))
        alone = value is not None and len(value.uses()) == 1 and not value.is_graph_output()
        if linear is not None and target is not None and alone and weight.use.slot == 1:
            found.append(Layer(weight.use.node, target.tensor, target.group, weight.tensor, weight.axis, linear))
    return tuple(found)
