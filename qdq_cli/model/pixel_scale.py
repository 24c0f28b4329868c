"""Whether a model scales pixels of 0 to 255 itself: its first operators on an input say so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.model.nodes import constant_at

_MOVES = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that may stand between an input and what scales it."""

_SMALLEST_STEP, _LARGEST_STEP = 1 / 512, 1 / 32
"""What a pixel of 0..255 is multiplied by to come near 1: from 1/255 down by half, up to 1/58 (ImageNet's std)."""

_SMALLEST_MEAN, _LARGEST_MEAN = 16.0, 255.0
"""What is subtracted from pixels of 0..255: from a dark mean on."""

_MOST_CHANNELS = 4
_MOST_STEPS = 12


def takes_pixels(value: ir.Value) -> bool:
    """Whether the first operators on a graph input divide or shift it as one does with pixels of 0 to 255.

    What is followed are the arithmetic operators with constants (Sub, Add, Mul, Div, BatchNormalization) and those that
    move or cast values, as long as nothing else reads them.
    """
    factor, offset = 1.0, 0.0
    for _ in range(_MOST_STEPS):
        readers = {id(node): node for node, _ in value.uses()}
        if len(readers) != 1:
            break
        (node,) = readers.values()
        if node.op_type not in _MOVES:
            step = _affine(node, value)
            if step is None:
                break
            factor, offset = factor * step[0], offset * step[0] + step[1]
            mean = abs(offset / factor) if factor else 0.0
            if _SMALLEST_STEP <= abs(factor) <= _LARGEST_STEP or _SMALLEST_MEAN <= mean <= _LARGEST_MEAN:
                return True
        value = node.outputs[0]
    return False


def _affine(node: ir.Node, value: ir.Value) -> tuple[float, float] | None:
    """What a node makes of a value: y = a x + b, averaged over channels; None where it is something else."""
    if node.op_type == "BatchNormalization" and node.inputs[0] is value:
        return _batch_normalization(node)
    if node.op_type not in ("Add", "Div", "Mul", "Sub") or len(node.inputs) != 2:
        return None
    is_first = node.inputs[0] is value
    size = _mean_size(node, 1 if is_first else 0)
    if size is None or (not is_first and node.op_type in ("Sub", "Div")):
        return None
    if node.op_type in ("Mul", "Div"):
        return (size if node.op_type == "Mul" else 1 / size, 0.0) if size else None
    return 1.0, -size


def _batch_normalization(node: ir.Node) -> tuple[float, float] | None:
    scale, mean, variance = (_mean_size(node, index) for index in (1, 3, 4))
    if scale is None or mean is None or not variance:
        return None
    factor = scale / variance**0.5
    return factor, -mean * factor


def _mean_size(node: ir.Node, index: int) -> float | None:
    """The mean absolute value of a constant with one number, or one a channel; None for anything else."""
    array = constant_at(node, index)
    if array is None or array.dtype.kind not in "fiu" or not 0 < array.size <= _MOST_CHANNELS:
        return None
    return float(np.abs(array.astype(np.float64)).mean())
