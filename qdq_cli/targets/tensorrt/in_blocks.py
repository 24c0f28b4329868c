"""TensorRT's tables for NVFP4 and MXFP8: products of matrices in blocks, whose scales activations find at run time.

Source: rules, section 7.3; decision 20, where the forms were asked of a compiler.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from calibrators.scheme import BLOCK_FORMATS, Block, Dynamic, Scheme
from qdq_cli.config.forms import Form, Gpu, QuantType, TensorRT, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, int_attribute, rank, static_dims
from qdq_cli.placement.obstacles import (
    ALONE_PRODUCT,
    ALONE_STACK,
    ALREADY_QUANTIZED,
    CONSTANT_INPUT,
    NEVER_RUN,
    NOT_FLOAT,
    UNOBSERVED,
    WEIGHT_COMPUTED,
    is_convolution,
)
from qdq_cli.placement.skips import REASONS
from qdq_cli.placement.target import Build, BuildsOf, Obstacle, OperatorRule, OperatorTable, Target
from qdq_cli.placement.weights import input_axis
from qdq_cli.targets.tensorrt.obstacles import OBSTACLES
from qdq_cli.targets.tensorrt.typed import from_10_on

OPSET = 23
"""The first opset whose DQ knows FP4; exporters write both formats into files of it."""

GPUS = (Gpu.SM100, Gpu.SM120)
"""Those with units for them, oldest first."""

SINCE = {QuantType.NVFP4: "10.8", QuantType.MXFP8: "10.12"}
"""The first minor release of TensorRT that reads a format (rules, section 7)."""

_OPERATORS = OperatorTable(dict.fromkeys(("Gemm", "MatMul"), OperatorRule()))

_COMMON = {found.code: found for found in OBSTACLES}


def _other_data(node: ir.Node, config: PlanConfig) -> bool:
    """Blocks lie along the last axis of two or three, and that has to be the one a product sums over."""
    return bool(rank(input_at(node, 0)) not in (2, 3) or int_attribute(node, "transA", 0))


def _inputs(node: ir.Node) -> int | None:
    dims = static_dims(input_at(node, 1)) or ()
    return dims[input_axis(node)] if len(dims) == 2 else None


def _by_size(kind: QuantType, size: int) -> tuple[Obstacle, ...]:
    """Refuse products whose inputs are no multiple of a block, or a single one of FP4."""

    def uneven(node: ir.Node, config: PlanConfig) -> bool:
        return (_inputs(node) or 0) % size != 0

    def few(node: ir.Node, config: PlanConfig) -> bool:
        return _inputs(node) == size

    reason = f"its inputs are no multiple of {size}, the block"
    found = Obstacle("BLOCK_SIZE", uneven, reason)
    return (found, Obstacle("BLOCKS_FEW", few, REASONS["BLOCKS_FEW"])) if kind is QuantType.NVFP4 else (found,)


_OBSTACLES = (
    Obstacle("BLOCKS_CONV", is_convolution, REASONS["BLOCKS_CONV"]),
    _COMMON["EINSUM"],
    NOT_FLOAT,
    ALREADY_QUANTIZED,
    _COMMON["CONSTANT_LEFT"],
    CONSTANT_INPUT,
    WEIGHT_COMPUTED,
    ALONE_PRODUCT,
    ALONE_STACK,
    Obstacle("BLOCKS_DATA", _other_data, REASONS["BLOCKS_DATA"]),
    UNOBSERVED,
    NEVER_RUN,
)
"""In the order in which they are asked; those of the block come behind."""


def in_blocks(target: Target, kind: QuantType) -> Target:
    """Return the table of a target of NVIDIA's for a format of blocks in the place of INT8."""
    known = BLOCK_FORMATS[kind.value]
    release = "" if target.release is None else f" needs TensorRT {SINCE[kind]} or newer and"
    return replace(
        target,
        activations=Scheme(known.qtype, granularity=Dynamic(known.size), scales=known.scales),
        weights=Scheme(known.qtype, granularity=Block(0, known.size), scales=known.scales),
        operators=_OPERATORS,
        obstacles=(*_OBSTACLES, *_by_size(kind, known.size), _COMMON["GEMV"]),
        weight_forms=(WeightForm.INT8,),
        forms=(Form.PAIRS,),
        lowest_opset=OPSET,
        release=None if target.release is None else from_10_on(target.release, kind.title),
        builds=None if target.builds is None else _by_file(target.builds),
        gpus=GPUS,
        type=kind,
        note=f"{kind.title} is experimental: the result{release} runs on Blackwell alone, and its twin is verified.",
    )


def _by_file(builds_of: BuildsOf) -> BuildsOf:
    """Let the types in the file decide wherever that has to be asked for: no flag of a builder allows these."""

    def builds(oldest: TensorRT, *, half: bool, asked: TensorRT | None) -> tuple[Build, ...]:
        strong = builds_of(oldest, half=True, asked=asked)
        notes = {build.releases: build.note for build in builds_of(oldest, half=half, asked=asked)}
        return tuple(
            replace(build, note=notes.get(build.releases, "").replace("What is not INT8", "What is float"))
            for build in strong
        )

    return builds
