"""The portrait of a model as part of the calibration cache.

n inputs, each: s name · s element type · n stacked (0 or 1) · n rank, each n size
n samples
n tensors in topological order, each: s name · s operator · s name of the source
    for each sample: n 1 and float32 minimum, maximum, mean and root mean square, or n 0
n weights, each: n size · 8 bytes digest · n kind (0 exact, 1 rounded, 3 a rounded vector)
    where it is rounded: float32 root mean square, 32 float32 sums, 32 uint32 digests of parts
"""

from __future__ import annotations

import math
import struct

from calibrators.packing import Reader, packed_number, packed_text
from calibrators.portrait import GROUPS, InputShape, Portrait, Reading, Span, WeightMark

_MOST_INPUTS = 1 << 10
_MOST_RANK = 64
_MOST_SPANS = 16
_MOST_READINGS = 100_000
_MOST_WEIGHTS = 100_000
_LARGEST_SIZE = 1 << 62
_ROUNDED, _BIAS = 1, 2
_SPAN = struct.Struct("<4f")
_GROUPS = struct.Struct(f"<f{GROUPS}f{GROUPS}I")


def encode_portrait(portrait: Portrait) -> bytes:
    """The bytes of a portrait; equal portraits give equal bytes.

    Raises:
        CacheFileError: A name is too long.
    """
    out = bytearray(packed_number(len(portrait.inputs)))
    for given in portrait.inputs:
        out += packed_text(given.name) + packed_text(given.dtype) + packed_number(given.stacked)
        out += packed_number(len(given.shape)) + b"".join(map(packed_number, given.shape))
    out += packed_number(max((len(reading.spans) for reading in portrait.readings), default=0))
    out += packed_number(len(portrait.readings))
    for reading in portrait.readings:
        out += packed_text(reading.name) + packed_text(reading.operator) + packed_text(reading.source)
        for span in reading.spans:
            out += packed_number(0) if span is None else packed_number(1) + _SPAN.pack(*span)
    out += packed_number(len(portrait.weights)) + b"".join(map(_encode_mark, portrait.weights))
    return bytes(out)


def _encode_mark(mark: WeightMark) -> bytes:
    kind = (_ROUNDED if mark.sums else 0) | (_BIAS if mark.is_bias else 0)
    groups = _GROUPS.pack(mark.rms, *mark.sums, *mark.parts) if mark.sums else b""
    return packed_number(mark.size) + bytes.fromhex(mark.exact) + packed_number(kind) + groups


def decode_portrait(reader: Reader) -> Portrait:
    """Read a portrait.

    Raises:
        CacheFileError: It is cut off or broken.
    """
    inputs = tuple(_decode_input(reader) for _ in range(reader.number(_MOST_INPUTS, "number of inputs")))
    spans = reader.number(_MOST_SPANS, "number of made-up samples")
    count = reader.number(_MOST_READINGS, "number of tensors in the portrait")
    readings = tuple(_decode_reading(reader, spans) for _ in range(count))
    count = reader.number(_MOST_WEIGHTS, "number of weights")
    return Portrait(inputs, readings, tuple(_decode_mark(reader) for _ in range(count)))


def _decode_input(reader: Reader) -> InputShape:
    name, dtype = reader.text("input name"), reader.text("input type")
    stacked = bool(reader.number(1, "mark of a stacked input"))
    rank = reader.number(_MOST_RANK, "rank of an input")
    return InputShape(name, dtype, tuple(reader.number(_LARGEST_SIZE, "size") for _ in range(rank)), stacked)


def _decode_reading(reader: Reader, spans: int) -> Reading:
    name, operator, source = reader.text("tensor name"), reader.text("operator"), reader.text("name of a source")
    return Reading(name, operator, source, tuple(_decode_span(reader) for _ in range(spans)))


def _decode_span(reader: Reader) -> Span | None:
    if not reader.number(1, "mark of a span"):
        return None
    low, high, mean, rms = _SPAN.unpack(reader.take(_SPAN.size, "span"))
    if not all(map(math.isfinite, (low, high, mean, rms))):
        raise reader.broken("holds a span that is not finite")
    return low, high, mean, rms


def _decode_mark(reader: Reader) -> WeightMark:
    size, exact = reader.number(_LARGEST_SIZE, "size of a weight"), reader.take(8, "digest of a weight").hex()
    kind = reader.number(_ROUNDED | _BIAS, "kind of weight")
    if not kind & _ROUNDED:
        return WeightMark(size, exact)
    rms, *rest = _GROUPS.unpack(reader.take(_GROUPS.size, "mark of a weight"))
    if not all(map(math.isfinite, (rms, *rest))):
        raise reader.broken("holds the mark of a weight that is not finite")
    return WeightMark(size, exact, rms, tuple(rest[:GROUPS]), tuple(rest[GROUPS:]), bool(kind & _BIAS))
