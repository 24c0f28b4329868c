"""Biases as integer kernels add them: INT32, in steps of the product of the scales of input and weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qparams import QParams
from qdq_cli.model.nodes import float_attribute, input_at, is_op, only_consumer, rank
from qdq_cli.placement.operators import operator_of


def adds_plainly(node: ir.Node) -> bool:
    """Say whether an operator adds its bias to its products as they are: a Gemm may scale both."""
    return not is_op(node, "Gemm") or all(float_attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))


def bias_use(node: ir.Node) -> tuple[ir.Node, int] | None:
    """Return what reads the bias of a weighted operator, and where; None where it has none, or scales it.

    Of a product of two matrices it is the Add behind that alone reads it: kernels compute both as one Gemm.
    """
    if is_op(node, "MatMul"):
        return _use_behind(node)
    slot = operator_of(node).bias
    return (node, slot) if slot is not None and input_at(node, slot) is not None and adds_plainly(node) else None


def _use_behind(product: ir.Node) -> tuple[ir.Node, int] | None:
    use = only_consumer(product.outputs[0])
    two_dims = rank(input_at(product, 0)) == rank(input_at(product, 1)) == 2
    if use is None or not is_op(use[0], "Add") or not two_dims:
        return None
    add, slot = use[0], 1 - use[1]
    return (add, slot) if rank(input_at(add, slot)) == 1 else None


@dataclass(frozen=True)
class QuantizedBias:
    """A bias as INT32.

    Args:
        codes: Shape [O], rounded half to even.
        scale: Steps of the sums, shape () or [O].
    """

    codes: NDArray[np.int32]
    scale: NDArray[np.floating]


def bias_codes(bias: NDArray[np.generic], data: QParams, weight: QParams) -> QuantizedBias | None:
    """Lay a bias over the steps of an operator's sums.

    Args:
        bias: One number an output channel, shape [O].
        data: How the operator's input is quantized, per tensor.
        weight: How its weight is, per tensor or one scale an output channel.

    Returns:
        The scale is in the type of the weight's. None where no INT32 can hold a code, the steps are below what their
        type holds, or the weight has another number of scales than there are channels (grouped ConvTranspose).

    Source: ONNX QLinearConv, opset 10: B has the scale x_scale * w_scale and the zero point 0.
    """
    steps = (data.scale.astype(np.float64) * weight.scale.astype(np.float64)).astype(weight.scale.dtype)
    if bias.ndim != 1 or steps.size not in (1, bias.size) or (steps < np.finfo(steps.dtype).smallest_normal).any():
        return None
    codes = np.rint(np.asarray(bias, np.float64) / steps.astype(np.float64))
    if not (np.isfinite(codes).all() and (np.abs(codes) <= np.iinfo(np.int32).max).all()):
        return None
    return QuantizedBias(codes.astype(np.int32), np.asarray(steps))
