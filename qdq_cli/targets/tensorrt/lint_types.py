"""Lint of the types of a Q or DQ: of its scale beside its floats, and of the codes (rules, sections 1.4 and 7)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import onnx_ir as ir

from qdq_cli.config.forms import TensorRT
from qdq_cli.model.nodes import FLOAT_TYPES
from qdq_cli.model.scales import is_dequantize, is_quantize, returned_type
from qdq_cli.targets.tensorrt.findings import FROM_10, UP_TO_8_6, Finding, finding

NEWER_TYPES = frozenset({ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4, ir.DataType.FLOAT4E2M1})
"""Stored types TensorRT 10 and above read (rules, section 7)."""

OWN_SCALE_OPSET = 23
"""First opset in which the scale of a Q may have another type than its data, and a DQ names the type it returns."""

_V10, _V11 = (TensorRT.V10,), (TensorRT.V11,)


class Half(NamedTuple):
    """One Q or DQ with its operands, each looked up once."""

    node: ir.Node
    data: ir.Value | None
    scale: ir.Value | None
    zero_point: ir.Value | None
    scales: int | None
    stored: ir.DataType
    block_size: int
    axis: int
    indirect: frozenset[int]
    opset: int


def name_in(value: ir.Value | None) -> str:
    """Return the name of a value, or ""."""
    return "" if value is None or value.name is None else value.name


def label(node: ir.Node) -> str:
    """Return the name of a node, or one made of its operator and first output."""
    return node.name or f"{node.op_type}_{name_in(node.outputs[0]) if node.outputs else ''}"


def is_made_for_blocks(half: Half) -> bool:
    """Say whether the scales of blocks come from a DQ: those of NVFP4 are FP8 codes with one scale for all of them."""
    return bool(half.block_size) and half.scale is not None and is_dequantize(half.scale.producer())


def lint_scale_type(half: Half) -> Iterator[Finding]:
    """Yield what is wrong with the type of a scale: by itself, and beside the floats that are read or returned."""
    dtype = None if half.scale is None else half.scale.dtype
    if dtype is None or dtype == ir.DataType.FLOAT8E8M0:
        return
    if dtype not in FLOAT_TYPES:
        yield _of_scale("E_SCALE_DTYPE", half, f"a {dtype.name} scale", None)
        return
    if dtype != ir.DataType.FLOAT:
        yield _of_scale("E_SCALE_DTYPE", half, f"a {dtype.name} scale", UP_TO_8_6)
    if is_quantize(half.node):
        given = None if half.data is None else half.data.dtype
        if given is not None and given != dtype and given in FLOAT_TYPES:
            yield from _beside_data(half, dtype, f"a {dtype.name} scale on {given.name} data")
    else:
        returned = returned_type(half.node)
        if returned is not None and returned != dtype and returned in FLOAT_TYPES:
            yield from _beside_result(half, dtype, f"a {dtype.name} scale on a DQ that returns {returned.name}")


def _beside_data(half: Half, dtype: ir.DataType, found: str) -> Iterator[Finding]:
    """An FP32 scale goes with any data since opset 23; a 16-bit one with its own, which the builder needs for FP8."""
    if dtype != ir.DataType.FLOAT and half.stored is ir.DataType.FLOAT8E4M3FN:
        yield _of_scale("E_SCALE_DTYPE", half, found, FROM_10)
    elif dtype != ir.DataType.FLOAT or half.opset < OWN_SCALE_OPSET:
        yield _of_scale("E_SCALE_DTYPE", half, found, _V10)


def _beside_result(half: Half, dtype: ir.DataType, found: str) -> Iterator[Finding]:
    """An FP32 scale goes with any result, but for INT4; with another 16-bit one INT8 runs in float, FP8 not at all."""
    if half.stored is ir.DataType.INT4 or (
        half.stored is ir.DataType.FLOAT8E4M3FN and dtype != ir.DataType.FLOAT and not half.block_size
    ):
        yield _of_scale("E_SCALE_DTYPE", half, found, FROM_10)
    elif dtype != ir.DataType.FLOAT and half.stored in (ir.DataType.INT8, ir.DataType.UINT8):
        yield _of_scale("E_SCALE_DTYPE", half, found, _V10)
        yield _of_scale("W_SCALE_DTYPE", half, found, _V11)


def _of_scale(code: str, half: Half, found: str, profiles: tuple[TensorRT, ...] | None) -> Finding:
    return finding(code, label(half.node), name_in(half.scale), found, profiles)


def lint_types(half: Half) -> Iterator[Finding]:
    """Yield what is wrong with the type of the floats that are quantized, and of the codes."""
    node, data, stored = half.node, half.data, half.stored
    if data is not None and data.dtype is not None and data.dtype not in FLOAT_TYPES and is_quantize(node):
        yield finding("E_QDQ_TYPE", label(node), name_in(data), f"Q of {data.dtype.name} data")
    if stored in NEWER_TYPES:
        yield finding("E_QDQ_TYPE", label(node), name_in(data), f"{stored.name}", UP_TO_8_6)
    elif stored not in (ir.DataType.INT8, ir.DataType.UINT8):
        yield finding("E_QDQ_TYPE", label(node), name_in(data), f"{stored.name}")
    elif half.block_size:
        yield finding("E_QDQ_TYPE", label(node), name_in(data), f"{stored.name} with a scale for each block")
