"""What keeps a weighted operator float for ONNX Runtime alone."""

from __future__ import annotations

import math

import onnx_ir as ir

from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, int_attribute, is_op, static_dims
from qdq_cli.placement.skips import REASONS
from qdq_cli.placement.target import Obstacle

_WHOLE_WORDS = 4
"""Bytes that are copied at once."""

_PAYS = 144
"""Input channels times output channels from which on integers are as fast as float."""


def _few_bytes(node: ir.Node, config: PlanConfig) -> bool:
    """Say whether a convolution spends its time on copying the channels of each tap.

    Measured on a processor with AVX-512 VNNI, one thread, ONNX Runtime 1.32, with the Q that stands behind it in float
    (speed on integers by that in float, by input and output channels): 1 to 32: 0.61; 1 to 64: 0.95; 2 to 32: 0.65; 3
    to 16: 0.40 to 0.59; 3 to 32: 0.56; 3 to 48: 0.97; 3 to 64: 0.90 to 1.07; 5 to 16: 0.65; 6 to 16: 0.70; 7 to 32:
    1.02; 4 to 16: 1.17; 8 to 16: 1.41; 1 x 1, 3 to 32: 1.08.
    """
    if not config.channel_rules or config.integer_io or not is_op(node, "Conv") or int_attribute(node, "group", 1) != 1:
        return False
    dims = static_dims(input_at(node, 1))
    if not dims or len(dims) < 3 or None in dims:
        return False
    out_channels, in_channels, *kernel = (dim for dim in dims if dim is not None)
    few = in_channels < 2 * _WHOLE_WORDS and in_channels % _WHOLE_WORDS != 0
    return few and math.prod(kernel) > 1 and in_channels * out_channels < _PAYS


FEW_BYTES = Obstacle("FEW_BYTES", _few_bytes, REASONS["FEW_BYTES"], slow=True)
