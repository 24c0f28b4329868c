"""ONNX Runtime's binary TensorRT table (calibration.flatbuffers): a FlatBuffer of {key, value} strings.

    table KeyValue { key: string; value: string; }     value is the amax in decimal digits
    table TrtTable { dict: [KeyValue]; }

Read and written here in a few lines, with every offset checked: the file names positions in itself, and none of them is
trusted.

Source: FlatBuffers internals (flatbuffers.dev/internals); the schema is ONNX Runtime's `calTable.fbs`; rules,
section 6.3.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping

from calibrators.errors import CacheFileError, ParameterError

_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,4})?")


def format_ort_table(amax: Mapping[str, float]) -> bytes:
    """The bytes of calibration.flatbuffers, ordered by name.

    Args:
        amax: Tensor name -> amax; written with all its digits.

    Raises:
        ParameterError: An amax is not a finite number, 0 or more.
    """
    for name, value in amax.items():
        if not 0.0 <= value < float("inf"):
            raise ParameterError(f"Tensor {name!r} has an amax of {value}, expected a finite number, 0 or more.")
    names = sorted(amax)
    texts = [[name.encode("utf-8", "surrogateescape"), repr(float(amax[name])).encode()] for name in names]
    # Offset of the root, its vtable (6 bytes, 2 of padding), the root, its vector; the vtable of all pairs, the pairs,
    # their texts.
    out = bytearray(struct.pack("<I3H2xiI", 12, 6, 8, 4, 8, 4) + struct.pack("<I", len(names)))
    vtable = len(out) + 4 * len(names)
    pairs = vtable + 8
    for number in range(len(names)):
        out += struct.pack("<I", pairs + 12 * number - len(out))
    out += struct.pack("<4H", 8, 12, 4, 8)
    at = pairs + 12 * len(names)
    stored = bytearray()
    for pair in texts:
        here = len(out)
        key_at = at + len(stored)
        stored += _string(pair[0])
        value_at = at + len(stored)
        stored += _string(pair[1])
        out += struct.pack("<iII", here - vtable, key_at - here - 4, value_at - here - 8)
    return bytes(out + stored)


def parse_ort_table(data: bytes, source: str = "The calibration table") -> dict[str, float]:
    """Tensor name -> amax, as written; whether the numbers make sense is for the caller to check.

    Raises:
        CacheFileError: The bytes are not such a table.
    """
    buffer = _Buffer(data, source)
    entries = buffer.vector(buffer.field(buffer.follow(0), 0))
    found: dict[str, float] = {}
    for entry in entries:
        table = buffer.follow(entry)
        key, value = (buffer.string(buffer.field(table, slot)) for slot in (0, 1))
        name = key.decode("utf-8", "surrogateescape")
        if name in found:
            raise buffer.broken(f"names tensor {name!r} twice")
        amax = decimal(value.decode("ascii", "replace"))
        if amax is None:
            raise buffer.broken(f"gives tensor {name!r} the range {value[:40]!r}")
        found[name] = amax
    return found


def decimal(text: str) -> float | None:
    """The finite number in decimal digits, or None; stricter than float(), which takes "1_0", "nan" and more digits."""
    number = float(text) if _DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None


def _string(text: bytes) -> bytes:
    data = struct.pack("<I", len(text)) + text + b"\0"
    return data + bytes(-len(data) % 4)


class _Buffer:
    """Checked access to a FlatBuffer."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data = data
        self.source = source
        self.text_left = len(data)  # strings may overlap in a crafted file; together they may not exceed it

    def broken(self, what: str) -> CacheFileError:
        """The error to raise."""
        return CacheFileError(f"{self.source} is no valid TensorRT table of ONNX Runtime: it {what}.")

    def number(self, at: int, form: str) -> int:
        """The number at a position."""
        if not 0 <= at <= len(self.data) - struct.calcsize(form):
            raise self.broken(f"points to byte {at} of {len(self.data)}")
        (value,) = struct.unpack_from(form, self.data, at)
        return int(value)

    def follow(self, at: int) -> int:
        """Where the offset at a position leads."""
        return at + self.number(at, "<I")

    def field(self, table: int, slot: int) -> int:
        """Where the thing in a slot of a table begins."""
        vtable = table - self.number(table, "<i")
        size = self.number(vtable, "<H")
        offset = self.number(vtable + 4 + 2 * slot, "<H") if size >= 6 + 2 * slot else 0
        if offset == 0:
            raise self.broken(f"lacks field {slot} of the table at byte {table}")
        return self.follow(table + offset)

    def vector(self, at: int) -> range:
        """The positions of the offsets in a vector."""
        count = self.number(at, "<I")
        if count > (len(self.data) - at - 4) // 4:
            raise self.broken(f"announces {count} tensors")
        return range(at + 4, at + 4 + 4 * count, 4)

    def string(self, at: int) -> bytes:
        """The bytes of a string."""
        size = self.number(at, "<I")
        self.text_left -= size
        if size > len(self.data) - at - 4 or self.text_left < 0:
            raise self.broken(f"announces a text of {size} bytes")
        return self.data[at + 4 : at + 4 + size]
