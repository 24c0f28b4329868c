"""TensorRT's tables for weights alone: INT4 in blocks of inputs, INT8 with one scale an output channel.

Source: rules, section 7 (weights alone); decision 18.
"""

from __future__ import annotations

from dataclasses import replace

from calibrators.qtypes import INT4, INT8
from calibrators.scheme import Block, PerChannel, Scheme
from qdq_cli.config.forms import Gpu
from qdq_cli.placement.target import Target
from qdq_cli.targets import weights_alone
from qdq_cli.targets.tensorrt.typed import from_10_on, with_flag

GPUS = (Gpu.SM80, Gpu.SM86, Gpu.SM89, Gpu.SM90, Gpu.SM100, Gpu.SM120)
"""Those whose matrix products read integers of either size beside floats, oldest first."""

OPSET_OF_INT4 = 21
"""The first opset whose DQ knows INT4 and blocks."""

BLOCK_SIZES = (64, 128)
"""Inputs that share a scale, as NVIDIA documents them."""


def in_int4(target: Target) -> Target:
    """Return the table of a target of NVIDIA's for INT4 weights alone."""
    scheme = Scheme(INT4, granularity=Block(0, max(BLOCK_SIZES)))
    table = weights_alone.weights_alone(target, scheme, whole_blocks=True)
    return replace(_on_gpus(table, "int4"), lowest_opset=OPSET_OF_INT4, block_sizes=BLOCK_SIZES, wants_blocks=True)


def in_int8(target: Target) -> Target:
    """Return the table of a target of NVIDIA's for INT8 weights alone."""
    return _on_gpus(weights_alone.weights_alone(target, Scheme(INT8, granularity=PerChannel(0))), "int8")


FLOATS = "Everything is computed in floats, which"


def _on_gpus(table: Target, flag: str) -> Target:
    return replace(
        table,
        tables=Scheme(INT8, granularity=PerChannel(0)),
        gpus=GPUS,
        release=None if table.release is None else from_10_on(table.release, table.type_title),
        builds=None if table.builds is None else with_flag(table.builds, flag, FLOATS),
    )
