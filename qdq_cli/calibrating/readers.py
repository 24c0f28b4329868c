"""The operators that read a tensor, run on pieces of it: what a range does to their own outputs.

An operator is given rows of its float input as they are, and as a range stores them. The noise of a channel counts by
the signal of that channel, and all channels count alike: what reads the outputs multiplies each by weights of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Dynamic, Range, ScaleGroup, Scheme, dequantize, qparams_of, quantize
from qdq_cli.model.linear import Linear, linear_of
from qdq_cli.model.nodes import constant_at, every_node, input_at, is_op
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.record import Use, WeightTarget

ROWS = 256
"""Results of an operator that are looked at."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Reader:
    """A weighted operator with a constant weight, and the tensor that it reads.

    Args:
        node: The operator.
        linear: How it computes.
        tensor: Name of the tensor.
        group: Of the plan, the tensor's.
        scheme: How that is quantized.
        target: Its weight, as the plan has it.
    """

    node: ir.Node
    linear: Linear
    tensor: str
    group: ScaleGroup
    scheme: Scheme
    target: WeightTarget

    @property
    def weight(self) -> NDArray[np.generic]:
        """The weight as it is stored; it was a constant when the reader was found."""
        return cast(NDArray[np.generic], constant_at(self.node, 1))

    def layer(self, pieces: Iterable[Floats]) -> Layer:
        """The operator on rows out of these pieces of its input."""
        return Layer(_rows(self.linear, pieces), self.matrices(self.weight), self._bias())

    def matrices(self, weight: NDArray[np.generic]) -> Floats:
        """A weight of the operator as [groups, K, O]."""
        return self.linear.matrices(weight).astype(np.float32)

    def _bias(self) -> Floats | None:
        """The constant bias of a convolution, [groups, 1, O]; None where there is none to add to single results."""
        has_bias = is_op(self.node, "Conv") and input_at(self.node, 2) is not None
        bias = constant_at(self.node, 2) if has_bias else None
        return None if bias is None else np.asarray(bias, np.float32).reshape(self.linear.groups, 1, -1)


def readers_of(model: ir.Model, plan: Plan) -> Iterator[Reader]:
    """The weighted operators of a plan whose input may be looked at, in the plan's order.

    One that reads an input of a graph is none of them, be it what a round of a Loop is handed: nobody wants pieces of
    his samples in a file. Nor is one whose data is quantized in blocks that find their scales at run time: there is no
    range to look for.
    """
    nodes = {node.name: node for node in every_node(model.graph)}
    read = {use: target for target in plan.targets for use in target.uses}
    for target in plan.weights:
        node = nodes[target.use.node]
        linear, data = linear_of(node), read.get(Use(target.use.node, 0))
        value = input_at(node, 0)
        if linear is None or linear.transposed_data or data is None or value is None or value.producer() is None:
            continue
        scheme = plan.scheme_of(data.group)
        if not isinstance(scheme.granularity, Dynamic):
            yield Reader(node, linear, data.tensor, plan.groups[data.group], scheme, target)


def as_stored(rows: Floats, kept: Range, scheme: Scheme) -> Floats:
    """Values as they come out of their codes again."""
    qparams = qparams_of(kept, scheme)
    return np.asarray(dequantize(quantize(rows, qparams), qparams), np.float32)


def noise_ratio(noise: NDArray[np.float64], signal: NDArray[np.float64]) -> float:
    """The mean over channels of their noise by their signal, at most 1 each.

    Args:
        noise: Energy, any shape.
        signal: The same; a channel without any counts 1 where it has noise.
    """
    drowned = ~(noise < signal)
    return float(np.where(drowned, noise != 0, noise / np.where(drowned, 1.0, signal)).mean())


@dataclass(frozen=True)
class Layer:
    """An operator on rows of its input.

    Args:
        rows: What single results are computed from, [groups, R, K].
        weight: [groups, K, O].
        bias: [groups, 1, O]; None for none.
    """

    rows: Floats
    weight: Floats
    bias: Floats | None

    def noise(self, rows: Floats, weight: Floats | None = None) -> NDArray[np.float64]:
        """The energy of what other rows, and another weight, do to each channel of the results: [groups, O]."""
        found = np.matmul(rows, self.weight if weight is None else weight) - self._product
        return np.asarray(np.square(found, dtype=np.float64).sum(axis=1))

    @cached_property
    def results(self) -> Floats:
        """The results in float: [groups, R, O]."""
        return self._product if self.bias is None else self._product + self.bias

    @cached_property
    def signal(self) -> NDArray[np.float64]:
        """The energy of each channel of the results: [groups, O]."""
        return np.asarray(np.square(self.results, dtype=np.float64).sum(axis=1))

    @cached_property
    def _product(self) -> Floats:
        """The results in float without their bias, the same for every range that is tried: [groups, R, O]."""
        return np.asarray(np.matmul(self.rows, self.weight))


def _rows(linear: Linear, pieces: Iterable[Floats]) -> Floats:
    """What single results are computed from, shape [groups, R, K], evenly out of all pieces."""
    by_shape: dict[tuple[int, ...], list[Floats]] = {}
    for piece in pieces:
        by_shape.setdefault(piece.shape[1:], []).append(piece)
    total = sum(map(len, by_shape.values()))
    taken = []
    for shape, alike in by_shape.items():
        inside = linear.inside(shape[1:]) if linear.is_spatial else linear
        taken.append(inside.rows(np.concatenate(alike), -(-ROWS * len(alike) // total), 0))
    return np.concatenate(taken).transpose(1, 0, 2)
