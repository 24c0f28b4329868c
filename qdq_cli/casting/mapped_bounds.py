"""How far the results of operators reach that move, choose or map values one by one."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from qdq_cli.casting.intervals import (
    ROUNDING,
    UNIT,
    Interval,
    Operands,
    Results,
    Rule,
    above_zero,
    around,
    at,
    extremes_of,
    hull,
    product,
)
from qdq_cli.model.nodes import constant_at, float_attribute, input_at, string_attribute
from qdq_cli.model.ordinary_blocks import stored_floats
from qdq_cli.model.scales import stored_type


def same(node: ir.Node, x: Operands) -> Results:
    """Operators that move, copy or choose values of their first operand, or take means of them."""
    return [at(x, 0)] * len(node.outputs)


def choice(node: ir.Node, x: Operands) -> Results:
    """Operators that choose among the values of all operands."""
    return [hull(x)]


def where(node: ir.Node, x: Operands) -> Results:
    """Bound Where: a value of either side."""
    return [hull(x[1:3])]


def scatter(node: ir.Node, x: Operands) -> Results:
    """Bound ScatterElements and ScatterND: values of the data or of the updates."""
    return [hull((x[0], at(x, 2))) if string_attribute(node, "reduction", "none") == "none" else None]


def pad(node: ir.Node, x: Operands) -> Results:
    """Bound Pad: values of the data, and what it fills with."""
    if x[0] is None or string_attribute(node, "mode", "constant") != "constant":
        return [x[0]]
    if input_at(node, 2) is None:
        return [x[0].with_zero()]
    return [hull((x[0], at(x, 2)))]


def resize(node: ir.Node, x: Operands) -> Results:
    """Bound Resize: linear and nearest modes stay among their neighbours, cubic ones do not."""
    convex = string_attribute(node, "mode", "nearest") != "cubic"
    inside = string_attribute(node, "coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize"
    return [x[0].widened() if x[0] is not None and convex and inside else None]


def grid(node: ir.Node, x: Operands) -> Results:
    """Bound GridSample: as Resize, with zeros outside."""
    convex = string_attribute(node, "mode", "linear") not in ("cubic", "bicubic")
    return [x[0].with_zero().widened() if x[0] is not None and convex else None]


def fixed(bounds: Interval) -> Rule:
    """Make the rule of operators whose results never leave an interval."""
    around_it = above_zero(bounds.widened()) if bounds.low >= 0 else bounds.widened()
    return lambda node, x: [around_it] * len(node.outputs)


def monotone(function: Callable[[float], float]) -> Rule:
    """Make the rule of functions that never fall, and are never negative."""

    def rule(node: ir.Node, x: Operands) -> Results:
        return [None if x[0] is None else above_zero(around(function(x[0].low), function(x[0].high)))]

    return rule


def gate(least: float, *, slack: float = 0.0) -> Rule:
    """Activations that are near 0 below and near their operand above: never under `least`, never over the operand."""

    def rule(node: ir.Node, x: Operands) -> Results:
        return [None if x[0] is None else Interval(least, max(x[0].high, 0.0) + slack).widened()]

    return rule


def elu(scale: float, alpha: float) -> Rule:
    """Make the rule of Elu, Celu and Selu: no lower than alpha, and above 0 as their operand."""

    def rule(node: ir.Node, x: Operands) -> Results:
        if x[0] is None:
            return [None]
        factor = float_attribute(node, "gamma", scale)
        falls = factor * float_attribute(node, "alpha", alpha)
        return [around(-abs(falls), abs(falls), factor * max(x[0].high, 0.0))]

    return rule


def leaky(node: ir.Node, x: Operands) -> Results:
    """Bound LeakyRelu."""
    if x[0] is None:
        return [None]
    slope = float_attribute(node, "alpha", 0.01)
    ends = [end if end > 0 else slope * end for end in (x[0].low, x[0].high)]
    return [around(*ends, 0.0)]


def prelu(node: ir.Node, x: Operands) -> Results:
    """Bound PRelu: its operand above 0, its slope times its operand below."""
    if x[0] is None or (slope := at(x, 1)) is None:
        return [None]
    return [hull((x[0].with_zero(), product(x[0].clipped(-math.inf, 0.0), slope)))]


def clip(node: ir.Node, x: Operands) -> Results:
    """Bound Clip, which bounds even what nothing else does."""
    low, high = _bound(node, 1, "min", -math.inf), _bound(node, 2, "max", math.inf)
    if low is None or high is None or low > high:
        return [x[0]] if low is not None and high is not None else [None]
    source = x[0] or Interval(-math.inf, math.inf)
    return [source.clipped(low, high)]


def _bound(node: ir.Node, slot: int, name: str, missing: float) -> float | None:
    """Return an end of a Clip; None where it is computed."""
    if input_at(node, slot) is None:
        return float_attribute(node, name, missing)
    constant = constant_at(node, slot)
    return None if constant is None or constant.size != 1 else float(constant.item())


def add(node: ir.Node, x: Operands) -> Results:
    """Bound Add."""
    if x[0] is None or x[1] is None:
        return [None]
    return [with_room(around(x[0].low + x[1].low, x[0].high + x[1].high), x)]


def sub(node: ir.Node, x: Operands) -> Results:
    """Bound Sub."""
    if x[0] is None or x[1] is None:
        return [None]
    return [with_room(around(x[0].low - x[1].high, x[0].high - x[1].low), x)]


def with_room(found: Interval | None, x: Operands) -> Interval | None:
    """Widen by what the operands of a sum may round: it can be larger than what the sum itself does."""
    largest = max(part.amax for part in x if part is not None)
    return None if found is None else Interval(found.low - ROUNDING * largest, found.high + ROUNDING * largest)


def mul(node: ir.Node, x: Operands) -> Results:
    """Bound Mul; a tensor times itself is never negative."""
    if x[0] is None or x[1] is None:
        return [None]
    if node.inputs[0] is node.inputs[1]:
        return [square(x[0])]
    return [product(x[0], x[1])]


def square(x: Interval) -> Interval | None:
    """Bound the squares of the values of an interval."""
    least = 0.0 if x.low <= 0.0 <= x.high else min(x.low**2, x.high**2)
    return above_zero(around(least, x.amax**2))


def div(node: ir.Node, x: Operands) -> Results:
    """Bound Div, where 0 is no divisor."""
    if x[0] is None or x[1] is None or x[1].low <= 0.0 <= x[1].high:
        return [None]
    if min(abs(x[1].low), abs(x[1].high)) < 1e-38:
        return [None]
    return [product(x[0], Interval(1 / x[1].high, 1 / x[1].low).widened())]


def reciprocal(node: ir.Node, x: Operands) -> Results:
    """Bound Reciprocal, where 0 is no operand."""
    if x[0] is None or x[0].low <= 0.0 <= x[0].high or min(abs(x[0].low), abs(x[0].high)) < 1e-38:
        return [None]
    return [around(1 / x[0].high, 1 / x[0].low)]


def power(node: ir.Node, x: Operands) -> Results:
    """Bound Pow by a constant number above 0."""
    exponent = constant_at(node, 1)
    if x[0] is None or exponent is None or exponent.size != 1:
        return [None]
    degree = float(exponent.item())
    if degree == 2.0:
        return [square(x[0])]
    whole = degree == int(degree) if math.isfinite(degree) else False
    if degree <= 0 or (x[0].low < 0 and not whole):
        return [None]
    exact = int(degree) if whole else degree
    try:
        ends = [x[0].low ** exact, x[0].high ** exact]
    except OverflowError:
        return [None]
    return [around(*ends, *((0.0,) if x[0].low < 0 < x[0].high else ()))]


def sqrt(node: ir.Node, x: Operands) -> Results:
    """Bound Sqrt."""
    return monotone(lambda number: math.sqrt(max(number, 0.0)))(node, x)


def log(node: ir.Node, x: Operands) -> Results:
    """Bound Log of what is above 0."""
    return [None if x[0] is None or x[0].low < 1e-38 else around(math.log(x[0].low), math.log(x[0].high))]


def exp(number: float) -> float:
    """Return e to a number; beyond the reach of every float type it stays where it is."""
    return math.exp(min(number, 700.0))


def softplus(number: float) -> float:
    """Return log(1 + e^x)."""
    return max(number, 0.0) + math.log1p(math.exp(-abs(number)))


def magnitude(node: ir.Node, x: Operands) -> Results:
    """Bound Abs."""
    if x[0] is None:
        return [None]
    inside = x[0].low <= 0.0 <= x[0].high
    return [Interval(0.0 if inside else min(abs(x[0].low), abs(x[0].high)), x[0].amax)]


def neg(node: ir.Node, x: Operands) -> Results:
    """Bound Neg."""
    return [None if x[0] is None else Interval(-x[0].high, -x[0].low)]


def rounded(node: ir.Node, x: Operands) -> Results:
    """Bound Floor, Ceil and Round."""
    return [None if x[0] is None else Interval(math.floor(x[0].low), math.ceil(x[0].high))]


def sum_of(node: ir.Node, x: Operands) -> Results:
    """Bound Sum, of any number of operands."""
    if any(part is None for part in x):
        return [None]
    low, high = sum(part.low for part in x if part), sum(part.high for part in x if part)
    return [with_room(around(low, high), x)]


def mean_of(node: ir.Node, x: Operands) -> Results:
    """Bound Mean, of any number of operands."""
    found = hull(x)
    return [None if found is None else found.widened()]


def cast(node: ir.Node, x: Operands) -> Results:
    """A Cast has the values of its operand, or what the operand's type holds."""
    source = input_at(node, 0)
    return [at(x, 0) or _TYPE_RANGES.get(source.dtype if source is not None else None)]


_TYPE_RANGES: dict[ir.DataType | None, Interval] = {
    ir.DataType.BOOL: UNIT,
    ir.DataType.UINT8: Interval(0.0, 255.0),
    ir.DataType.INT8: Interval(-128.0, 127.0),
    ir.DataType.UINT16: Interval(0.0, 65535.0),
    ir.DataType.INT16: Interval(-32768.0, 32767.0),
}


_STORED: dict[ir.DataType, tuple[float, float]] = {
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.FLOAT8E4M3FN: (-448, 448),
    ir.DataType.FLOAT8E5M2: (-57344, 57344),
    ir.DataType.FLOAT4E2M1: (-6, 6),
}


def dequantize(node: ir.Node, x: Operands) -> Results:
    """A DQ gives nothing beyond its codes times its scale, whatever was quantized."""
    codes = _STORED.get(stored_type(node))
    scale, zero = constant_at(node, 1), constant_at(node, 2)
    if (stored := stored_floats(node)) is not None:
        return [Interval(*extremes_of(stored))]
    computed = at(x, 1)
    if scale is None and computed is not None:  # of blocks, themselves dequantized
        scale = np.asarray(computed.amax)
    if codes is None or scale is None or not scale.size or (input_at(node, 2) is not None and zero is None):
        return [None]
    offsets = (0.0, 0.0) if zero is None or not zero.size else extremes_of(zero.astype(np.float64))
    largest = float(np.abs(scale.astype(np.float64)).max())
    return [around(largest * (codes[0] - offsets[1]), largest * (codes[1] - offsets[0]))]


def in_blocks(node: ir.Node, x: Operands) -> Results:
    """What the codes of blocks mean: values rounded to four digits, or whose scales are."""
    reach = at(x, 0)
    most = 0.0 if reach is None else (1.0 + 2.0**-4) * reach.amax
    return [None if reach is None else around(-most, most)]


def from_blocks(node: ir.Node, x: Operands) -> Results:
    """What a DQ of blocks gives that were quantized, or that are stored."""
    stored = stored_floats(node)
    return [at(x, 0) if stored is None else Interval(*extremes_of(stored))]


def filled(node: ir.Node, x: Operands) -> Results:
    """Bound ConstantOfShape."""
    value = node.attributes.get("value")
    if value is None:
        return [Interval(0.0, 0.0)]
    return [Interval(*extremes_of(value.as_tensor().numpy()))]


def one_hot(node: ir.Node, x: Operands) -> Results:
    """Bound OneHot: its two values."""
    return [at(x, 2)]
