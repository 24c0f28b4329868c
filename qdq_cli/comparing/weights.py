"""How far the weights of a quantized operator are from those of its float model, and why. Nothing is run for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.comparing.activations import code_limits
from qdq_cli.comparing.match import is_image, is_quantize
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import constant_at, input_at, int_attribute
from qdq_cli.placement.weights import weight_axis

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


@dataclass(frozen=True)
class _Stored:
    """A quantized weight.

    Args:
        dequantize: Its DQ.
        codes: The stored integers.
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
    far = np.abs(error) > _ROUNDING * stored.steps
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
