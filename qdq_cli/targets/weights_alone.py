"""Weights alone as integers, whatever the runtime: which operators have such weights, and the reason of each other one.

Matrix products read every weight once for a few rows, so they wait for memory: weights of 4 or 8 bits are read in an
eighth or a quarter of the time, and what is computed stays float. Nothing is calibrated.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from calibrators.qtypes import INT4
from calibrators.scheme import Block, Scheme
from qdq_cli.config.forms import Form, QuantType, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, static_dims
from qdq_cli.placement.obstacles import (
    ALONE_PRODUCT,
    ALONE_STACK,
    ALREADY_QUANTIZED,
    NOT_FLOAT,
    WEIGHT_COMPUTED,
    is_convolution,
)
from qdq_cli.placement.skips import REASONS
from qdq_cli.placement.target import Bias, Kernels, Obstacle, Target
from qdq_cli.placement.weights import input_axis
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import any_of

_OBSTACLES = (
    Obstacle("ALONE_CONV", is_convolution, REASONS["ALONE_CONV"]),
    NOT_FLOAT,
    ALREADY_QUANTIZED,
    WEIGHT_COMPUTED,
    ALONE_PRODUCT,
    ALONE_STACK,
)
"""In the order in which they are asked."""


def weights_alone(target: Target, weights: Scheme, *, whole_blocks: bool = False) -> Target:
    """Return the table of a target for weights alone.

    Args:
        target: The table for activations and weights.
        weights: How weights are quantized; blocks are of inputs, whichever axis they lie on.
        whole_blocks: Whether the blocks have to divide the inputs.
    """
    uneven = (_uneven(weights.granularity.size),) if whole_blocks and isinstance(weights.granularity, Block) else ()
    return replace(
        target,
        weights=weights,
        weights_alone=True,
        type=QuantType.INT4_WEIGHTS if weights.qtype is INT4 else QuantType.INT8_WEIGHTS,
        obstacles=(*_OBSTACLES, *uneven),
        kernels=Kernels.READING,
        bias=Bias.FLOAT,
        weight_forms=(WeightForm.INT8,),
        forms=(Form.PAIRS,),
        integer_io=False,
        note="",
    )


def _uneven(size: int) -> Obstacle:
    """Refuse products whose inputs are no multiple of a block."""

    def holds(node: ir.Node, config: PlanConfig) -> bool:
        dims = static_dims(input_at(node, 1)) or ()
        inputs = dims[input_axis(node)] if len(dims) == 2 else None
        return inputs is not None and inputs % size != 0

    return Obstacle("BLOCK_SIZE", holds, REASONS["BLOCK_SIZE"])


def in_blocks(target: Target, size: int) -> Target:
    """Return the table with blocks of another size.

    Raises:
        UsageError: The target has no blocks, or none of that size.
    """
    granularity = target.weights.granularity
    if not isinstance(granularity, Block):
        raise UsageError(
            f"--block-size has no meaning beside {target.type_title}: no scale is one of a block.",
            "It goes with --type int4-weights.",
        )
    if target.in_blocks:
        raise UsageError(
            f"--block-size has no meaning beside {target.type_title}: its blocks have {granularity.size} values.",
            "It goes with --type int4-weights.",
        )
    if size not in target.block_sizes:
        raise UsageError(
            f"{target.title} reads no weights in blocks of {size}.",
            f"It reads blocks of {any_of([str(known) for known in target.block_sizes])}.",
        )
    obstacles = tuple(_uneven(size) if found.code == "BLOCK_SIZE" else found for found in target.obstacles)
    scheme = replace(target.weights, granularity=replace(granularity, size=size))
    return replace(target, weights=scheme, obstacles=obstacles)
