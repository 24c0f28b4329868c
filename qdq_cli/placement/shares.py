"""What share of a model's arithmetic each weighted operator has, from shapes alone and for any batch size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.nodes import input_at, int_attribute, is_constant, is_op, static_dims
from qdq_cli.placement.operators import operator_of

MOST_PERCENT = 2.0
"""Share of the work that operators may have which are left float because INT8 ruins them, all together."""


@dataclass(frozen=True)
class Shares:
    """The share of every weighted operator with a constant weight.

    Args:
        percent: Node -> its share, 0 to 100.
        unit: What it is a share of: "MACs", or "weights" where the size of a picture or sequence is open.
    """

    percent: Mapping[ir.Node, float]
    unit: str = "MACs"


def shares_of(nodes: Iterable[ir.Node]) -> Shares:
    """Measure the shares of weighted operators.

    Args:
        nodes: All weighted operators of a graph; products of two activations count as far as their sizes are known.
    """
    macs = {node: _macs_a_row(node) for node in nodes}
    sizes = {node: _weight_size(node) for node in macs}
    weighted = [node for node, size in sizes.items() if size]
    known = all(macs[node] is not None for node in weighted)
    counts = {node: (count or 0) for node, count in (macs if known else sizes).items()}
    total = sum(counts.values()) or 1
    return Shares({node: 100.0 * counts[node] / total for node in weighted}, "MACs" if known else "weights")


def _weight_size(node: ir.Node) -> int:
    slot = operator_of(node).weight
    weight = None if slot is None else input_at(node, slot)
    if weight is None or weight.const_value is None or not is_constant(weight):
        return 0
    return weight.const_value.size  # of its shape: weights of gigabytes are not read for it


def _macs_a_row(node: ir.Node) -> int | None:
    """Multiply-accumulates for one row of the first axis, which holds the samples; None where a size is open."""
    scatters = is_op(node, "ConvTranspose")
    weight = static_dims(input_at(node, 1))
    spread = static_dims(input_at(node, 0) if scatters else node.outputs[0])
    if not weight or not spread or None in weight or None in spread[1:]:
        return None
    places = math.prod(dim for dim in spread[1:] if dim is not None)
    dims = [dim for dim in weight if dim is not None]
    if is_op(node, "Conv", "ConvTranspose"):
        return places * math.prod(dims[1:])
    summed = dims[-1] if is_op(node, "Gemm") and int_attribute(node, "transB", 0) else dims[-2:][0]
    return places * summed
