"""Which type of an engine a tensor of ONNX has, and the codes of a Q or DQ."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import int_attribute
from qdq_cli.model.scales import stored_type
from qdq_cli.targets.tensorrt.precision import Precision

_OF: dict[ir.DataType | None, Precision] = {
    None: Precision.FP32,
    ir.DataType.FLOAT: Precision.FP32,
    ir.DataType.FLOAT16: Precision.FP16,
    ir.DataType.BFLOAT16: Precision.BF16,
    ir.DataType.INT8: Precision.INT8,
    ir.DataType.UINT8: Precision.INT8,
    ir.DataType.FLOAT8E4M3FN: Precision.FP8,
    ir.DataType.INT4: Precision.INT4,
    ir.DataType.FLOAT4E2M1: Precision.NVFP4,
}


def precision_of(dtype: ir.DataType | None) -> Precision:
    """Return the type of a tensor by its element type in ONNX; what is unknown counts as FP32."""
    return _OF.get(dtype, Precision.OTHER)


def bits_of(dtype: ir.DataType | None) -> float:
    """Return the bits of one element of a tensor."""
    known = precision_of(dtype).bits
    if known or dtype is None or dtype is ir.DataType.STRING:
        return known
    return float(dtype.bitwidth)


def coded_precision(node: ir.Node) -> Precision:
    """Return the type of the codes that a Q writes or a DQ reads; FP8 with a scale for each block is MXFP8."""
    found = precision_of(stored_type(node))
    return Precision.MXFP8 if found is Precision.FP8 and int_attribute(node, "block_size", 0) else found
