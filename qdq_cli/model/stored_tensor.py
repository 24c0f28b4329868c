"""What a tensor in a model file must hold: as much data as its shape and element type say."""

from __future__ import annotations

import math

from onnx import TensorProto

from qdq_cli.process.errors import ModelError

_RECENT_BITS = {23: 4, 24: 8, 25: 2, 26: 2}  # FLOAT4E2M1, FLOAT8E8M0, UINT2, INT2: not in every release of onnx

BITS = {
    **dict.fromkeys((TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL), 8),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT16, TensorProto.UINT16), 16),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 32),
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64, TensorProto.COMPLEX64), 64),
    TensorProto.COMPLEX128: 128,
    **dict.fromkeys((TensorProto.INT4, TensorProto.UINT4), 4),
    **dict.fromkeys((TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ), 8),
    **dict.fromkeys((TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ), 8),
    **{kind: bits for kind, bits in _RECENT_BITS.items() if kind in TensorProto.DataType.values()},
}
"""Bits an element takes; types that are not here are too new to check and left to the graph library."""

MAX_RANK = 32
"""Dimensions of a tensor; NumPy takes 32 before its version 2 and 64 since, TensorRT 8."""

_TOO_MANY_ELEMENTS = 1 << 48

ELEMENT_TYPES = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}
"""All that ONNX has."""

_FIELD_OF_TYPE = {
    TensorProto.FLOAT: ("float_data", 1),
    TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1),
    TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.INT64: ("int64_data", 1),
    TensorProto.UINT32: ("uint64_data", 1),
    TensorProto.UINT64: ("uint64_data", 1),
}
"""Field of a tensor without raw data, and its entries an element; all other types are in int32_data."""


def shown(name: str | bytes) -> str:
    """Write a name of a protobuf, which hands out what is not UTF-8 as bytes."""
    return name if isinstance(name, str) else repr(name)


def check_tensor(tensor: TensorProto) -> None:
    """Refuse a tensor whose data is not as large as its shape.

    Raises:
        ModelError: It is too small or too large, or a dimension is negative.
    """
    if min(tensor.dims, default=0) < 0 or tensor.data_type not in ELEMENT_TYPES:
        what = f"the element type {tensor.data_type} and the shape {list(tensor.dims)}"
        raise ModelError(f"the tensor '{shown(tensor.name)}' has {what}")
    if len(tensor.dims) > MAX_RANK:
        raise ModelError(
            f"the tensor '{shown(tensor.name)}' has {len(tensor.dims)} dimensions; at most {MAX_RANK} are read"
        )
    stored_here = tensor.data_location != TensorProto.EXTERNAL or 0 in tensor.dims  # else its file is too short
    if stored_here and math.prod(dim or 1 for dim in tensor.dims) >= _TOO_MANY_ELEMENTS:
        raise ModelError(f"the tensor '{shown(tensor.name)}' of shape {list(tensor.dims)} fits into no memory")
    if tensor.data_location == TensorProto.EXTERNAL:
        _check_external(tensor)
        return
    elements = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        found, expected, unit = len(tensor.string_data), elements, "strings"
    elif tensor.data_type not in BITS:
        return
    elif tensor.HasField("raw_data"):
        found, expected, unit = len(tensor.raw_data), math.ceil(elements * BITS[tensor.data_type] / 8), "bytes"
    else:
        field, entries = _FIELD_OF_TYPE.get(tensor.data_type, ("int32_data", 1))
        bits = BITS[tensor.data_type]
        found, unit = len(getattr(tensor, field)), "values"
        expected = math.ceil(elements * bits / 8) if bits < 8 else elements * entries
    if found != expected:
        raise ModelError(
            f"the tensor '{shown(tensor.name)}' of shape {list(tensor.dims)} holds {found:,} {unit}, "
            f"expected {expected:,}"
        )


def _check_external(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.STRING:
        raise ModelError(f"the tensor '{shown(tensor.name)}' of strings is declared as external data")
    for entry in tensor.external_data:
        if entry.key in ("offset", "length") and not str(entry.value).isdecimal():
            raise ModelError(
                f"the external data of the tensor '{shown(tensor.name)}' has the {entry.key} '{shown(entry.value)}'"
            )
