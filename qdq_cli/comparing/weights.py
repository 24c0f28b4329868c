"""How far the weights of a quantized operator are from those of its float model, and why. Nothing is run for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.comparing.activations import code_limits
from qdq_cli.comparing.match import is_image, is_quantize
from qdq_cli.config import PlanConfig
from qdq_cli.graph.nodes import constant_at, input_at, int_attribute
from qdq_cli.graph.weights import weight_axis

_ROUNDING = 0.51
"""Largest error of rounding, in steps, with room for float arithmetic."""


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


def weight_error(node: ir.Node, reference: ir.Node | None) -> WeightError | None:
    """Compare the constant operand of a weighted node of the quantized model with the float weight.

    Args:
        node: Conv, ConvTranspose, Gemm or MatMul of the quantized model.
        reference: The same node of the float model, if there is one.

    Returns:
        None where the operand is no constant behind Q/DQ, or its float form is not to be found.
    """
    slot = next((slot for slot in (1, 0) if _weight_dq(node, slot) is not None), None)
    dequantize = None if slot is None else _weight_dq(node, slot)
    if dequantize is None or slot is None:
        return None
    codes = _codes(dequantize)
    name, weight = _float_weight(dequantize, reference, slot)
    if codes is None or weight is None or weight.shape != codes.shape:
        return None
    steps = _along(dequantize, constant_at(dequantize, 1), codes)
    zero = _along(dequantize, constant_at(dequantize, 2), codes)
    if steps is None:
        return None
    zero = np.zeros(()) if zero is None else zero
    found, wanted = (codes - zero) * steps, weight.astype(np.float64)
    error = wanted - found
    low, high = code_limits(dequantize)
    at_end = (codes <= low) | (codes >= high)
    clipped = at_end & (np.abs(wanted) > np.abs(found)) & (np.abs(error) > _ROUNDING * steps)
    replaced = ~clipped & (np.abs(error) > _ROUNDING * steps)
    amax = _channel_amax(node, wanted)
    median = float(np.median(amax[amax > 0])) if (amax > 0).any() else 0.0
    return WeightError(
        tensor=name,
        signal=float(np.sum(wanted**2)),
        noise=float(np.sum(error**2)),
        clipped=float(np.sum(error[clipped] ** 2)),
        replaced=float(np.sum(error[replaced] ** 2)),
        data_amax=float(np.abs(wanted).max(initial=0.0)),
        range_amax=float(steps.reshape(()) * max(abs(low - zero.max()), abs(high - zero.min())))
        if steps.size == 1
        else None,
        channel=int(amax.argmax()),
        ratio=float(amax.max() / median) if median else 0.0,
    )


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
    zero = _along(quantize, constant_at(quantize, 2), source)
    low, high = code_limits(quantize)
    return np.clip(np.rint(np.asarray(source, np.float64) / steps) + (0.0 if zero is None else zero), low, high)


def _float_weight(dequantize: ir.Node, reference: ir.Node | None, slot: int) -> tuple[str, NDArray[Any] | None]:
    """The weight of the float model; where its node is not known, what the Q in front of the DQ reads."""
    if reference is not None and (weight := constant_at(reference, slot)) is not None:
        value = reference.inputs[slot]
        return (value.name or "" if value is not None else ""), weight
    quantize = None if dequantize.inputs[0] is None else dequantize.inputs[0].producer()
    source = None if quantize is None else quantize.inputs[0]
    if quantize is None or source is None or not is_quantize(quantize):
        return "", None
    one, other = constant_at(quantize, 1), constant_at(dequantize, 1)
    same = one is not None and other is not None and np.array_equal(one.ravel(), other.ravel())
    return (source.name or ""), constant_at(quantize, 0) if same else None


def _along(node: ir.Node, parameter: NDArray[Any] | None, array: NDArray[Any]) -> NDArray[np.float64] | None:
    """Scales or zero points, shaped to go with the array; None where there are none, or one a block."""
    if parameter is None or int_attribute(node, "block_size", 0):
        return None
    if parameter.size == 1:
        return np.asarray(parameter, np.float64).reshape(())
    axis = int_attribute(node, "axis", 1) % array.ndim
    if parameter.ndim != 1 or parameter.size != array.shape[axis]:
        return None
    return np.asarray(parameter, np.float64).reshape([-1 if dim == axis else 1 for dim in range(array.ndim)])


def _channel_amax(node: ir.Node, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest absolute weight of each output channel; of all where the operator has no such axis."""
    axis = weight_axis(node, PlanConfig(deconv_per_channel=True))
    if axis is None or axis >= weight.ndim or not weight.size:
        return np.asarray([np.abs(weight).max(initial=0.0)])
    return np.asarray(np.abs(np.moveaxis(weight, axis, 0)).reshape(weight.shape[axis], -1).max(axis=1))
