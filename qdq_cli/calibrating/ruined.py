"""Weighted operators that INT8 ruins: too noisy by themselves for the small share of the work that they have.

Each is run on pieces of its own float input: once as it is, once with input and weight quantized, under every range
that a method would choose. The noise of a channel counts by the signal of that channel, and all channels count alike:
what reads the result multiplies each by weights of its own. An operator can be ruined although its input tensor looks
well as a whole: where channels that hardly move meet large weights, as batch norm folded into a depthwise convolution
leaves them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Histogram, Method, Range, ScaleGroup, choose_range, dequantize, qparams_of, quantize
from calibrators.wide import is_seen, merged
from qdq_cli.model.linear import Linear, linear_of
from qdq_cli.model.nodes import constant_at, input_at, is_op
from qdq_cli.placement.operators import is_weighted
from qdq_cli.placement.plan import Plan, Use, WeightTarget
from qdq_cli.placement.rounded import round_weight
from qdq_cli.placement.shares import MOST_PERCENT, Shares, shares_of

LEAST_SQNR_DB = 15.0
"""Under this an operator is ruined: noise of a thirtieth of its signal, channel by channel."""

_METHODS = (Method("mse"), Method("minmax"), Method("percentile"), Method("entropy"))
_ROWS = 256  # results of an operator that are looked at


@dataclass(frozen=True)
class _Trial:
    """An operator that may be left float."""

    node: ir.Node
    linear: Linear
    tensor: str
    group: ScaleGroup
    target: WeightTarget
    percent: float


def small_readers(model: ir.Model, plan: Plan) -> dict[str, list[Linear]]:
    """Return the tensors that have to be looked at closer, with the operators that read them and may be left float."""
    found: dict[str, list[Linear]] = {}
    for trial in _trials(model, plan, _shares(model)) if plan.can_shrink else ():
        found.setdefault(trial.tensor, []).append(trial.linear)
    return found


def ruined_operators(
    model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram], groups: Sequence[ScaleGroup]
) -> dict[str, str]:
    """Find the operators to leave float, the worst first, as long as they have 2 % of the MACs together.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        histograms: Of its tensors, with their excerpts.
        groups: Those of its scale groups whose range calibration chooses.

    Returns:
        Node -> why, such as `11.2 dB by itself, 0.7 % of the MACs`; empty where no excerpts are known.
    """
    shares = _shares(model)
    found = []
    for trial in _trials(model, plan, shares) if plan.can_shrink else ():
        seen = histograms.get(trial.tensor)
        if trial.group in groups and seen is not None and seen.excerpts.pieces and is_seen(histograms, trial.group):
            sqnr_db = _best_sqnr_db(trial, seen, merged(histograms, trial.group.observed), plan)
            found.append((sqnr_db, trial.node.name or "", trial.percent))
    left, chosen = MOST_PERCENT, {}
    for sqnr_db, name, percent in sorted(found):
        if sqnr_db < LEAST_SQNR_DB and percent <= left:
            left -= percent
            chosen[name] = f"{sqnr_db:.1f} dB by itself, {percent:.1f} % of the {shares.unit} (--all-int8)"
    return chosen


def lacks_excerpts(model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram]) -> bool:
    """Say whether there are tensors to be looked at closer, and none has excerpts (an older cache)."""
    names = [name for name in small_readers(model, plan) if name in histograms]
    return bool(names) and not any(histograms[name].excerpts.pieces for name in names)


def _shares(model: ir.Model) -> Shares:
    return shares_of(node for node in model.graph if is_weighted(node))


def _trials(model: ir.Model, plan: Plan, shares: Shares) -> Iterator[_Trial]:
    """The operators with a constant weight and a small share, in the plan's order.

    One that reads an input of the graph is none of them: nobody wants pieces of his samples in a file.
    """
    nodes = {node.name: node for node in model.graph}
    read = {use: target for target in plan.targets for use in target.uses}
    for target in plan.weights:
        node = nodes[target.use.node]
        linear, data = linear_of(node), read.get(Use(target.use.node, 0))
        percent = shares.percent.get(node, 100.0)
        if linear is None or linear.transposed_data or data is None or percent > MOST_PERCENT:
            continue
        read_value = input_at(node, 0)
        if read_value is not None and read_value.producer() is not None:
            yield _Trial(node, linear, data.tensor, plan.groups[data.group], target, percent)


def _best_sqnr_db(trial: _Trial, seen: Histogram, together: Histogram, plan: Plan) -> float:
    """The SQNR of an operator's results under the first range that serves, else the best of those methods choose."""
    weight = constant_at(trial.node, 1)
    if weight is None:
        return math.inf
    scheme = plan.target.activations
    rounded = round_weight(weight, trial.target.axis, plan.target.weights.qtype)
    layer = _Layer(_rows(trial.linear, seen.excerpts.pieces), _matrices(trial.linear, weight), _bias(trial))
    quantized = _matrices(trial.linear, rounded)
    best = -math.inf
    for method in _METHODS:
        kept = choose_range(together, method, scheme, depthwise=method.name == "entropy")
        best = max(best, layer.sqnr_db(_as_stored(layer.rows, kept, plan), quantized))
        if best >= LEAST_SQNR_DB:
            break
    return best


def _as_stored(rows: NDArray[np.float32], kept: Range, plan: Plan) -> NDArray[np.float32]:
    qparams = qparams_of(kept, plan.target.activations)
    return np.asarray(dequantize(quantize(rows, qparams), qparams), np.float32)


def _rows(linear: Linear, pieces: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What single results are computed from, shape [groups, R, K], evenly out of all pieces."""
    by_shape: dict[tuple[int, ...], list[NDArray[np.float32]]] = {}
    for piece in pieces:
        by_shape.setdefault(piece.shape[1:], []).append(piece)
    total = sum(map(len, by_shape.values()))
    taken = []
    for shape, alike in by_shape.items():
        inside = linear.inside(shape[1:]) if linear.is_spatial else linear
        taken.append(inside.rows(np.concatenate(alike), -(-_ROWS * len(alike) // total), 0))
    return np.concatenate(taken).transpose(1, 0, 2)


def _matrices(linear: Linear, weight: NDArray[np.generic]) -> NDArray[np.float32]:
    return linear.matrices(weight).astype(np.float32)


def _bias(trial: _Trial) -> NDArray[np.float32] | None:
    """The constant bias of a convolution, shape [groups, 1, O]; None where there is none to add to single results."""
    bias = constant_at(trial.node, 2) if is_op(trial.node, "Conv") and input_at(trial.node, 2) is not None else None
    return None if bias is None else np.asarray(bias, np.float32).reshape(trial.linear.groups, 1, -1)


@dataclass(frozen=True)
class _Layer:
    """Rows [groups, R, K] of an operator's input, its weight [groups, K, O] and its bias [groups, 1, O]."""

    rows: NDArray[np.float32]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None

    def sqnr_db(self, rows: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
        """The SQNR of the results from other rows and another weight, channels counted alike."""
        noise = np.square(np.matmul(rows, weight) - self._product, dtype=np.float64).sum(axis=1)
        drowned = ~(noise < self._signal)
        ratio = np.where(drowned, noise != 0, noise / np.where(drowned, 1.0, self._signal)).mean()
        return -10.0 * math.log10(ratio) if ratio > 0 else math.inf

    @cached_property
    def _product(self) -> NDArray[np.float32]:
        """The results in float without their bias, the same for every range that is tried: [groups, R, O]."""
        return np.asarray(np.matmul(self.rows, self.weight))

    @cached_property
    def _signal(self) -> NDArray[np.float64]:
        """The energy of each channel of the results: [groups, O]."""
        expected = self._product if self.bias is None else self._product + self.bias
        return np.asarray(np.square(expected, dtype=np.float64).sum(axis=1))
