"""How far the weights of a quantized operator are from those of its float model, and why. Nothing is run for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qtypes import QType
from qdq_cli.comparing.activations import code_limits, float_type, nearest
from qdq_cli.comparing.match import is_image, is_quantize
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import constant_at, input_at, int_attribute
from qdq_cli.placement.weights import weight_axis

_ROUNDING = 0.51
"""Largest error of rounding, in steps, with room for float arithmetic."""

LARGE_RATIO = 8.0
"""A weight this many times as large as the median of its block leaves that one a single of INT4's 7 codes."""


@dataclass(frozen=True)
class WeightError:
    """What quantization did to a weight.

    Args:
        tensor: Name of the float weight.
        signal: Sum of weight**2.
        noise: Sum of (weight - dequantized)**2.
        clipped: The part of it of weights outside the range.
        replaced: The part of it that neither range nor rounding explains.
        data_amax: Largest absolute weight.
        range_amax: Largest absolute value of the one scale; None for a scale a channel.
        channel: The widest output channel.
        ratio: Its amax over that of the median channel.
        vanished: The part of the noise of weights that a floating-point type makes 0.
        crowded: The part of it in blocks whose largest weight is `LARGE_RATIO` times as large as their median.
        block_ratio: The largest such ratio of a block; 0 where there are no blocks.
        floats: Whether they are stored in a floating-point type, whose steps are finer where values are small.
    """

    tensor: str
    signal: float
    noise: float
    clipped: float
    replaced: float
    data_amax: float
    range_amax: float | None
    channel: int
    ratio: float
    vanished: float = 0.0
    crowded: float = 0.0
    block_ratio: float = 0.0
    floats: bool = False


@dataclass(frozen=True)
class _Stored:
    """A quantized weight.

    Args:
        dequantize: Its DQ.
        codes: The stored numbers.
        steps: Scales, shaped to go with the codes.
        zero_points: The same for the zero points.
    """

    dequantize: ir.Node
    codes: NDArray[np.float64]
    steps: NDArray[np.float64]
    zero_points: NDArray[np.float64]

    @property
    def values(self) -> NDArray[np.float64]:
        return (self.codes - self.zero_points) * self.steps

    @property
    def amax(self) -> float | None:
        """Largest absolute value of the one scale; None for several."""
        if self.steps.size != 1:
            return None
        low, high = code_limits(self.dequantize)
        widest = max(abs(low - self.zero_points.max()), abs(high - self.zero_points.min()))
        return float(self.steps.reshape(()) * widest)


def weight_error(node: ir.Node, references: Sequence[ir.Node]) -> WeightError | None:
    """Compare the constant operand of a weighted node of the quantized model with the float weight.

    Args:
        node: Conv, ConvTranspose, Gemm or MatMul of the quantized model.
        references: The same node of the float model, in the forms that may have been quantized (as it is; with its
            batch norm folded into it); the nearest counts.

    Returns:
        None where the operand is no constant behind Q/DQ, or its float form is not to be found.
    """
    slot = next((slot for slot in (1, 0) if _weight_dq(node, slot) is not None), None)
    stored = None if slot is None else _stored(node, slot)
    if stored is None or slot is None:
        return None
    found = []
    for reference in references:
        name, weight = _float_weight(node, reference, slot)
        if weight is not None and weight.shape == stored.codes.shape:
            found.append(_measured(name, weight.astype(np.float64), stored, node))
    return min(found, key=lambda error: error.noise, default=None)


def _stored(node: ir.Node, slot: int) -> _Stored | None:
    dequantize = _weight_dq(node, slot)
    codes = None if dequantize is None else _codes(dequantize)
    if dequantize is None or codes is None:
        return None
    steps = _along(dequantize, constant_at(dequantize, 1), codes)
    zero_points = _along(dequantize, constant_at(dequantize, 2), codes)
    return (
        None
        if steps is None
        else _Stored(dequantize, codes, steps, np.zeros(()) if zero_points is None else zero_points)
    )


def _measured(name: str, wanted: NDArray[np.float64], stored: _Stored, node: ir.Node) -> WeightError:
    found, (low, high) = stored.values, code_limits(stored.dequantize)
    error = wanted - found
    floats = float_type(stored.dequantize)
    far = np.abs(error) > _ROUNDING * stored.steps * (
        1.0 if floats is None else _spacing(wanted / stored.steps, floats)
    )
    vanished = (stored.codes == 0) & ~far if floats is not None else np.zeros(error.shape, bool)
    crowded, block_ratio = _crowded(stored.dequantize, wanted)
    clipped = far & ((stored.codes <= low) | (stored.codes >= high)) & (np.abs(wanted) > np.abs(found))
    amax = _channel_amax(node, wanted)
    median = float(np.median(amax[amax > 0])) if (amax > 0).any() else 0.0
    return WeightError(
        tensor=name,
        signal=float(np.sum(wanted**2)),
        noise=float(np.sum(error**2)),
        clipped=float(np.sum(error[clipped] ** 2)),
        replaced=float(np.sum(error[far & ~clipped] ** 2)),
        data_amax=float(np.abs(wanted).max(initial=0.0)),
        range_amax=stored.amax,
        channel=int(amax.argmax()),
        ratio=float(amax.max() / median) if median else 0.0,
        vanished=float(np.sum(error[vanished] ** 2)),
        crowded=float(np.sum(error[crowded] ** 2)),
        block_ratio=block_ratio,
        floats=floats is not None,
    )


def _spacing(scaled: NDArray[np.float64], qtype: QType) -> NDArray[np.float64]:
    """Return how far apart the values of a floating-point type lie where others are, in units of the scale."""
    assert qtype.grid is not None
    magnitude = np.minimum(np.abs(scaled), qtype.qmax)
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, qtype.grid.smallest_exponent)
    return np.asarray(np.ldexp(1.0, exponent - qtype.grid.mantissa_bits), np.float64)


def _crowded(dequantize: ir.Node, weight: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float]:
    """Mark the weights of blocks whose largest one takes the codes of all others, and return the largest such ratio."""
    size = int_attribute(dequantize, "block_size", 0)
    if not size or not weight.ndim:
        return np.zeros(weight.shape, bool), 0.0
    axis = int_attribute(dequantize, "axis", 1) % weight.ndim
    count = weight.shape[axis]
    ratios = []
    for start in range(0, count, size):
        block = np.abs(np.take(weight, range(start, min(start + size, count)), axis=axis))
        median = np.median(block, axis=axis, keepdims=True)
        ratios.append(
            np.divide(block.max(axis=axis, keepdims=True), median, out=np.zeros_like(median), where=median > 0)
        )
    ratio = np.concatenate(ratios, axis=axis)
    every = np.take(np.repeat(ratio, size, axis=axis), range(count), axis=axis)
    return every >= LARGE_RATIO, float(ratio.max(initial=0.0))


def _weight_dq(node: ir.Node, slot: int) -> ir.Node | None:
    value = input_at(node, slot)
    return value.producer() if value is not None and is_image(value) else None


def _codes(dequantize: ir.Node) -> NDArray[np.float64] | None:
    """The stored integers of a weight, as float64; None where they are computed from activations."""
    stored = constant_at(dequantize, 0)
    if stored is not None:
        return np.asarray(stored, np.float64)
    quantize = None if dequantize.inputs[0] is None else dequantize.inputs[0].producer()
    source = constant_at(quantize, 0) if quantize is not None and is_quantize(quantize) else None
    if quantize is None or source is None:
        return None
    steps = _along(quantize, constant_at(quantize, 1), source)
    if steps is None:
        return None
    if (floats := float_type(quantize)) is not None:
        return nearest(np.asarray(source, np.float64) / steps, floats)
    zero = _along(quantize, constant_at(quantize, 2), source)
    low, high = code_limits(quantize)
    return np.clip(np.rint(np.asarray(source, np.float64) / steps) + (0.0 if zero is None else zero), low, high)


def _float_weight(node: ir.Node, reference: ir.Node | None, slot: int) -> tuple[str, NDArray[Any] | None]:
    """The weight of the float model; where its node is not known, what the Q in front of the DQ reads."""
    if reference is not None and (weight := constant_at(reference, slot)) is not None:
        value = reference.inputs[slot]
        turned = slot == 1 and int_attribute(reference, "transB", 0) != int_attribute(node, "transB", 0)
        return (value.name or "" if value is not None else ""), weight.T if turned else weight
    dequantize = _weight_dq(node, slot)
    codes = None if dequantize is None else dequantize.inputs[0]
    quantize = None if codes is None else codes.producer()
    source = None if quantize is None else quantize.inputs[0]
    if dequantize is None or quantize is None or source is None or not is_quantize(quantize):
        return "", None
    one, other = constant_at(quantize, 1), constant_at(dequantize, 1)
    same = one is not None and other is not None and np.array_equal(one.ravel(), other.ravel())
    return (source.name or ""), constant_at(quantize, 0) if same else None


def _along(node: ir.Node, parameter: NDArray[Any] | None, array: NDArray[Any]) -> NDArray[np.float64] | None:
    """Scales or zero points, shaped to go with the array; None where there are none."""
    if parameter is None:
        return None
    if parameter.size == 1:
        return np.asarray(parameter, np.float64).reshape(())
    axis = int_attribute(node, "axis", 1) % array.ndim
    if size := int_attribute(node, "block_size", 0):
        if parameter.ndim != array.ndim or parameter.shape[axis] != -(-array.shape[axis] // size):
            return None
        every = np.repeat(np.asarray(parameter, np.float64), size, axis=axis)
        return np.take(every, range(array.shape[axis]), axis=axis)
    if parameter.ndim != 1 or parameter.size != array.shape[axis]:
        return None
    return np.asarray(parameter, np.float64).reshape([-1 if dim == axis else 1 for dim in range(array.ndim)])


def _channel_amax(node: ir.Node, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest absolute weight of each output channel; of all where the operator has no such axis."""
    axis = weight_axis(node, PlanConfig(deconv_per_channel=True))
    if axis is None or axis >= weight.ndim or not weight.size:
        return np.asarray([np.abs(weight).max(initial=0.0)])
    return np.asarray(np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).max(axis=1))
