"""Which grouped convolutions have an INT8 kernel: one rule for planner, lint and simulator (A33, A34)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.nodes import int_attribute, is_op

_MULTIPLE = 4
"""Channels of a group come in multiples of this in INT8 kernels (A33)."""


@dataclass(frozen=True)
class Groups:
    """The groups of a convolution that has no INT8 kernel for them.

    Args:
        count: How many.
        going_in: Input channels of each.
        going_out: Output channels of each.
    """

    count: int
    going_in: int
    going_out: int

    def __str__(self) -> str:
        return f"{self.count} groups of {self.going_in} -> {self.going_out} channels"


def groups_without_kernel(node: ir.Node, dims: Sequence[int]) -> Groups | None:
    """Return the groups of a Conv or ConvTranspose that no INT8 kernel is documented for; None where one is.

    A depthwise Conv has kernels of its own, a ConvTranspose of that kind has none.

    Args:
        node: Any node.
        dims: Shape of its weight: [M, C/g, k...] of Conv, [C, M/g, k...] of ConvTranspose.
    """
    count = int_attribute(node, "group", 1) if is_op(node, "Conv", "ConvTranspose") else 1
    if count == 1 or len(dims) < 2:
        return None
    first, second = dims[0] // count, dims[1]
    if is_op(node, "ConvTranspose"):
        going_in, going_out = first, second
    elif second == 1:
        return None
    else:
        going_in, going_out = second, first
    unaligned = going_in % _MULTIPLE or going_out % _MULTIPLE
    return Groups(count, going_in, going_out) if unaligned else None
