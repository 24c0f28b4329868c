"""How far the results of operators reach that sum: products, normalizations, reductions, recurrent units."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from qdq_cli.casting.intervals import (
    ROUNDING,
    SIGNED_UNIT,
    Interval,
    Operands,
    Results,
    Rule,
    around,
    at,
    extremes_of,
    hull,
    length,
    product,
)
from qdq_cli.casting.mapped_bounds import add, sqrt, with_room
from qdq_cli.casting.reduced import reduced_axes, terms_of, window
from qdq_cli.casting.weights import product_interval, weight_slot
from qdq_cli.model.nodes import constant_at, float_attribute, input_at, int_attribute, rank


def mean(node: ir.Node, x: Operands) -> Results:
    """Bound ReduceMean and GlobalAveragePool."""
    return [None if x[0] is None else x[0].widened(ROUNDING * (1 + (terms_of(node) or 1 << 12) / 8))]


def average(node: ir.Node, x: Operands) -> Results:
    """Bound AveragePool, which may count zeros outside."""
    return [None if x[0] is None else x[0].with_zero().widened(ROUNDING * (1 + (window(node) or 1 << 12) / 8))]


def matmul(node: ir.Node, x: Operands) -> Results:
    """Bound MatMul: by the sums of a constant weight, or by the length of what is summed."""
    slot = weight_slot(node)
    data = None if slot is None else at(x, 1 - slot)
    if data is not None and (found := product_interval(node, data)) is not None:
        return [found]
    count = length(input_at(node, 0), (-1,))
    if at(x, 0) is None or at(x, 1) is None or count is None:
        return [None]
    return [_total(product(_with_zero(x[0]), _with_zero(x[1])), count)]


def _with_zero(x: Interval | None) -> Interval:
    return (x or Interval(0.0, 0.0)).with_zero()


def _total(each: Interval | None, count: int) -> Interval | None:
    """Return what sums of `count` values of an interval stay in."""
    if each is None:
        return None
    return Interval(each.low * count, each.high * count).widened(ROUNDING * (1 + count / 8))


def convolution(node: ir.Node, x: Operands) -> Results:
    """Bound Conv and ConvTranspose."""
    found = None if x[0] is None else product_interval(node, x[0])
    if found is None or input_at(node, 2) is None:
        return [found]
    bias = at(x, 2)
    return [None] if bias is None else add(node, [found, bias])


def gemm(node: ir.Node, x: Operands) -> Results:
    """Bound Gemm."""
    alpha, beta = float_attribute(node, "alpha", 1.0), float_attribute(node, "beta", 1.0)
    found = None if x[0] is None else product_interval(node, x[0], alpha)
    if found is None or input_at(node, 2) is None:
        return [found]
    bias = at(x, 2)
    scaled = None if bias is None else around(beta * bias.low, beta * bias.high)
    return [None] if scaled is None else add(node, [found, scaled])


def batch_norm(node: ir.Node, x: Operands) -> Results:
    """Bound BatchNormalization with constant statistics."""
    constants = [constant_at(node, slot) for slot in range(1, 5)]
    if x[0] is None or any(found is None for found in constants) or int_attribute(node, "training_mode", 0):
        return [None]
    scale, bias, mean, variance = (np.asarray(found, dtype=np.float64) for found in constants)
    spread = variance + float_attribute(node, "epsilon", 1e-5)
    if not spread.size or spread.min() <= 0:
        return [None]
    factor = scale / np.sqrt(spread)
    ends = [factor * (end - mean) for end in (x[0].low, x[0].high)]
    terms = [float(np.abs(end).max()) for end in ends] + [float(np.abs(factor * mean).max())]
    found = around(*(float(extreme) for end in ends for extreme in extremes_of(end + bias)))
    return [with_room(found, [Interval(-term, term) for term in terms])]


def normalized(axes: Callable[[ir.Node], int | None]) -> Rule:
    """Normalizations: no element of N can be further from the mean than sqrt(N) deviations."""

    def rule(node: ir.Node, x: Operands) -> Results:
        count, scale = axes(node), at(x, 1)
        bias = at(x, 2) if input_at(node, 2) is not None else Interval(0.0, 0.0)
        if count is None or scale is None or bias is None:
            return [None]
        reach = math.sqrt(count) * 1.01  # room for what runtimes round in mean and variance
        spread = product(Interval(-reach, reach), scale)
        return [None] if spread is None else add(node, [spread, bias])

    return rule


def layer_axes(node: ir.Node) -> int | None:
    """Return how many values a LayerNormalization normalizes together."""
    dims = rank(input_at(node, 0))
    axis = int_attribute(node, "axis", -1)
    return None if dims is None else length(input_at(node, 0), range(axis % dims if dims else 0, dims))


def spatial_axes(node: ir.Node) -> int | None:
    """Return how many values an InstanceNormalization normalizes together."""
    dims = rank(input_at(node, 0))
    return None if dims is None else length(input_at(node, 0), range(2, dims))


def group_axes(node: ir.Node) -> int | None:
    """Return how many values a GroupNormalization normalizes together."""
    dims, groups = rank(input_at(node, 0)), int_attribute(node, "num_groups", 1)
    count = None if dims is None else length(input_at(node, 0), range(1, dims))
    return None if count is None or groups < 1 else -(-count // groups)


def reduce_sum(node: ir.Node, x: Operands) -> Results:
    """Bound ReduceSum."""
    count = terms_of(node)
    return [None if x[0] is None or count is None else _total(x[0].with_zero(), count)]


def reduce_abs(node: ir.Node, x: Operands) -> Results:
    """Bound ReduceL1."""
    return reduce_sum(node, [None if x[0] is None else Interval(0.0, x[0].amax)])


def reduce_squares(node: ir.Node, x: Operands) -> Results:
    """Bound ReduceSumSquare."""
    return reduce_sum(node, [None if x[0] is None else Interval(0.0, x[0].amax ** 2)])


def reduce_l2(node: ir.Node, x: Operands) -> Results:
    """Bound ReduceL2."""
    return sqrt(node, reduce_squares(node, x))


def log_softmax(node: ir.Node, x: Operands) -> Results:
    """Bound LogSoftmax: the span of its operand, and the logarithm of how many there are."""
    count = length(input_at(node, 0), reduced_axes(node) or ())
    if x[0] is None or not count or reduced_axes(node) is None:
        return [None]
    return [Interval(x[0].low - x[0].high - math.log(count), 0.0).widened()]


def log_sum_exp(node: ir.Node, x: Operands) -> Results:
    """Bound ReduceLogSumExp."""
    count = terms_of(node)
    return [None if x[0] is None or not count else around(x[0].low, x[0].high + math.log(count))]


def cum_sum(node: ir.Node, x: Operands) -> Results:
    """Bound CumSum."""
    axis = constant_at(node, 1)
    count = None if axis is None else length(input_at(node, 0), (int(axis.item()),))
    return [None if x[0] is None or count is None else _total(x[0].with_zero(), count)]


def recurrent(node: ir.Node, x: Operands) -> Results:
    """States of gated units are products of numbers up to 1, where the activations are the usual ones."""
    plain = "activations" not in node.attributes and not float_attribute(node, "clip", 0.0)
    started = at(x, 5) if input_at(node, 5) is not None else SIGNED_UNIT
    state = None if started is None or not plain else hull((SIGNED_UNIT, started))
    return [None if state is None else state.widened()] * min(2, len(node.outputs))


def lstm(node: ir.Node, x: Operands) -> Results:
    """The hidden state of an LSTM; nothing bounds its cell but the length of the sequence."""
    state = recurrent(node, x)
    steps = length(input_at(node, 0), (0 if not int_attribute(node, "layout", 0) else 1,))
    start = at(x, 6) if input_at(node, 6) is not None else Interval(0.0, 0.0)
    if steps is None or start is None or state[0] is None:
        return [*state, None][: len(node.outputs)]
    return [*state, Interval(start.low - steps, start.high + steps).widened()][: len(node.outputs)]


def lrn(node: ir.Node, x: Operands) -> Results:
    """Bound LRN, which divides by 1 or more."""
    grows = float_attribute(node, "bias", 1.0) >= 1 and float_attribute(node, "alpha", 1e-4) >= 0
    return [x[0].with_zero().widened() if x[0] is not None and grows else None]
