"""The calibration cache: a CalibrationTable as a small file with the same bytes wherever and however it was made.

All numbers little-endian; `n` is an unsigned LEB128 varint, `s` a varint length and that much UTF-8:

    magic (8 bytes) · n format version
    s model · s preprocessing · n tools, each s name, s version (ascending)
    n samples, each 8 bytes (ascending)
    n tensors, each (ascending by the bytes of the name):
        s name · s element type · s digest · n rank, each dimension: n 0 unknown | n 1, n size | n 2, s name
        n count; if not 0: float32 minimum, float32 maximum and the counts from the bin of one to the bin of the other
    from format 2 on: the portrait of the model (see `portrait_file`); from format 3 on n 0 in its place, or n 1 and it
    from format 3 on: the groupings of its tensors (see `scale_groups`)
    from format 4 on: the extremes of further tensors (see `extremes`)
    from format 5 on: n tensors that pieces were kept of, each s name (ascending) and the pieces (see `excerpts`)
    SHA-256 of everything before (32 bytes)

A table without tensors that a function alone reads or a part is taken of is written in format 6, one of which no range
was judged in format 5, one without pieces in format 4, one without extremes too in format 3, one without groupings too
in format 2, one without a portrait in format 1.

Counts come in blocks of 32 (the last one filled up with zeros): first a byte per block, 128 * differences + width, then
per block 32 numbers of `width` bits, lowest bit first. They are the counts themselves or, where that is narrower, the
differences from the count before, zigzag coded (0, -1, 1, -2, ... = 0, 1, 2, 3, ...).

Read with bounds on everything: nothing is allocated before the file has shown that it holds it.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import CacheFileError, CalibratorError
from calibrators.excerpts import decode_excerpts
from calibrators.extremes import decode_extremes, encode_extremes
from calibrators.histogram import LARGEST_COUNT, Histogram, occupied_bins
from calibrators.leftovers import remove_abandoned, working_folder
from calibrators.packing import Reader, packed_number, packed_text
from calibrators.portrait_file import decode_portrait, encode_portrait
from calibrators.regular_file import open_regular
from calibrators.scale_groups import decode_groupings, encode_groupings
from calibrators.table import CalibrationTable, Dimension, Entry, Provenance

FORMAT_VERSION = 7
"""The newest format this package reads, and the one it writes where a table says which ranges are best."""

MAGIC = b"\x93QCAL\r\n\x1a"
"""First bytes of the file: not text, and damaged by anything that translates line ends."""

LARGEST_FILE = 64 << 20
"""Bytes; a ResNet-50 needs about 0.2 MB."""

_MOST_TENSORS = 100_000
_MOST_SAMPLES = 1 << 20
_MOST_BINS = 1 << 26  # of all tensors together
_MOST_DIMENSIONS = 64
_MOST_TOOLS = 64
_BLOCK = 32
_WIDEST = LARGEST_COUNT.bit_length() + 1  # a zigzag difference of two counts
_CHECKSUM = hashlib.sha256().digest_size


def write_cache(table: CalibrationTable, path: Path | str) -> None:
    """Write the calibration cache: the finished file is there, or nothing new is.

    Raises:
        CacheFileError: The file cannot be written, or the table is larger than the format allows.
    """
    write_atomically(Path(path), encode_table(table))


def read_cache(path: Path | str) -> CalibrationTable:
    """Read a calibration cache.

    Raises:
        CacheFileError: The file cannot be read, is no calibration cache, is damaged or is of a newer format.
    """
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise CacheFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    return decode_table(data, str(path))


def encode_table(table: CalibrationTable) -> bytes:
    """The bytes of the calibration cache; equal tables give equal bytes.

    Raises:
        CacheFileError: The table is larger than the format allows.
    """
    provenance = table.provenance
    out = bytearray(MAGIC + packed_number(_version_of(table)))
    out += packed_text(provenance.model) + packed_text(provenance.preprocessing)
    out += packed_number(len(provenance.versions))
    for tool, version in provenance.versions:
        out += packed_text(tool) + packed_text(version)
    out += packed_number(len(provenance.samples)) + bytes.fromhex("".join(sorted(provenance.samples)))
    out += packed_number(len(table.entries))
    for name in sorted(table.entries, key=str.encode):
        out += packed_text(name) + _encode_entry(table.entries[name])
    out += _encode_rest(table)
    out += hashlib.sha256(out).digest()
    tensors = max(len(table.entries), len(table.extremes))
    largest = max(len(out) / LARGEST_FILE, tensors / _MOST_TENSORS, provenance.sample_count / _MOST_SAMPLES)
    if largest > 1:
        raise CacheFileError("The calibration table is larger than a calibration cache may be.")
    return bytes(out)


def _version_of(table: CalibrationTable) -> int:
    if any(grouping.has_curves for grouping in table.groupings):
        return FORMAT_VERSION
    if any(grouping.is_judged for grouping in table.groupings):
        return 6
    if any(entry.histogram.excerpts.pieces for entry in table.entries.values()):
        return 5
    if table.extremes:
        return 4
    if table.groupings:
        return 3
    return 1 if table.portrait is None else 2


def _encode_rest(table: CalibrationTable) -> bytes:
    """What follows the tensors."""
    portrait = b"" if table.portrait is None else encode_portrait(table.portrait)
    version = _version_of(table)
    if version < 3:
        return portrait
    out = packed_number(table.portrait is not None) + portrait
    out += encode_groupings(table.groupings, judged=version > 5)
    out += encode_extremes(table.extremes) if version > 3 else b""
    return out + _encode_pieces(table) if version > 4 else out


def _encode_pieces(table: CalibrationTable) -> bytes:
    excerpts = {name: entry.histogram.excerpts for name, entry in table.entries.items()}
    kept = sorted((name for name, found in excerpts.items() if found.pieces), key=str.encode)
    return packed_number(len(kept)) + b"".join(packed_text(name) + excerpts[name].encoded() for name in kept)


def _decode_pieces(reader: Reader, entries: Mapping[str, Entry]) -> None:
    """Put the pieces of tensors beside their histograms."""
    before = b""
    for _ in range(reader.number(len(entries), "number of tensors with pieces")):
        name = reader.text("tensor name")
        if name not in entries or name.encode() <= before:
            raise reader.broken(f"holds pieces of tensor {name!r}, which it does not count, or out of order")
        entries[name].histogram.excerpts = decode_excerpts(reader)
        before = name.encode()


def decode_table(data: bytes, source: str = "The calibration cache") -> CalibrationTable:
    """The table in the bytes of a calibration cache.

    Args:
        data: The whole file.
        source: What to call it in error messages.

    Raises:
        CacheFileError: It is no calibration cache, damaged, too large or of a newer format.
    """
    if not data.startswith(MAGIC):
        raise CacheFileError(f"{source} is not a calibration cache: it does not begin as one.")
    if len(data) > LARGEST_FILE:
        raise CacheFileError(f"{source} is larger than the {LARGEST_FILE >> 20} MB a calibration cache may have.")
    body, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
    if len(body) <= len(MAGIC) or hashlib.sha256(body).digest() != checksum:
        raise CacheFileError(
            f"{source} is damaged or cut off: its checksum does not fit.", "Copy it again, or calibrate again."
        )
    reader = Reader(body, len(MAGIC), source, _MOST_BINS)
    version = reader.number(1 << 32, "format version")
    if not 1 <= version <= FORMAT_VERSION:
        raise CacheFileError(
            f"{source} is of format {version}, expected format {FORMAT_VERSION} at most.",
            "Read it with a newer release.",
        )
    try:
        table = _decode_body(reader, version)
    except CacheFileError:
        raise
    except CalibratorError as error:
        raise CacheFileError(f"{source} contradicts itself: {error.message}") from error
    reader.finish()
    return table


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader finds the old one or the whole new one; a symbolic link stays one.

    What a killed process left of the same file is removed.

    Raises:
        CacheFileError: The folder is missing or cannot be written; nothing is left behind.
    """
    target = path.resolve()
    prefix = f".qcal-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"
    remove_abandoned(target.parent, prefix, ".tmp")
    try:
        with working_folder(target.parent, prefix, ".tmp") as folder:
            part = folder / target.name
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
    except OSError as error:
        raise CacheFileError(f"{path} cannot be written: {error.strerror or error}.") from error


def _decode_body(reader: Reader, version: int) -> CalibrationTable:
    model, preprocessing = reader.text("model fingerprint"), reader.text("preprocessing")
    tools = range(reader.number(_MOST_TOOLS, "number of tools"))
    versions = tuple((reader.text("tool name"), reader.text("tool version")) for _ in tools)
    samples = reader.number(_MOST_SAMPLES, "number of samples")
    packed = reader.take(8 * samples, "list of samples").hex()
    digests = [packed[start : start + 16] for start in range(0, len(packed), 16)]
    if len(set(digests)) != samples:
        raise reader.broken("holds the same sample twice")
    entries: dict[str, Entry] = {}
    for _ in range(reader.number(_MOST_TENSORS, "number of tensors")):
        name = reader.text("tensor name")
        if name in entries:
            raise reader.broken(f"holds tensor {name!r} twice")
        entries[name] = _decode_entry(reader, name)
    has_portrait = version == 2 or (version > 2 and reader.number(1, "mark of a portrait"))
    portrait = decode_portrait(reader) if has_portrait else None
    groupings = decode_groupings(reader, judged=version > 5) if version > 2 else ()
    extremes = decode_extremes(reader) if version > 3 else {}
    if version > 4:
        _decode_pieces(reader, entries)
    return CalibrationTable(
        Provenance(model, preprocessing, versions, frozenset(digests)), entries, portrait, groupings, extremes
    )


def _encode_entry(entry: Entry) -> bytes:
    out = packed_text(entry.dtype) + packed_text(entry.digest) + packed_number(len(entry.shape))
    for dimension in entry.shape:
        if dimension is None:
            out += packed_number(0)
        elif isinstance(dimension, str):
            out += packed_number(2) + packed_text(dimension)
        else:
            out += packed_number(1) + packed_number(dimension)
    histogram = entry.histogram
    out += packed_number(histogram.count)
    if histogram.count:
        out += struct.pack("<ff", histogram.minimum, histogram.maximum) + pack_counts(histogram.occupied()[1])
    return out


def _decode_entry(reader: Reader, name: str) -> Entry:
    dtype, digest = reader.text("element type"), reader.text("digest")
    rank = reader.number(_MOST_DIMENSIONS, "rank")
    shape = tuple(_decode_dimension(reader) for _ in range(rank))
    histogram = _decode_histogram(reader, name)
    return Entry(histogram, shape, dtype, digest)


def _decode_dimension(reader: Reader) -> Dimension:
    kind = reader.number(2, "kind of dimension")
    if kind == 0:
        return None
    return reader.number(1 << 62, "dimension") if kind == 1 else reader.text("dimension name")


def _decode_histogram(reader: Reader, name: str) -> Histogram:
    count = reader.number(LARGEST_COUNT, "count")
    if count == 0:
        return Histogram()
    minimum, maximum = struct.unpack("<ff", reader.take(8, "range of values"))
    if not (math.isfinite(minimum) and math.isfinite(maximum) and minimum <= maximum):
        raise reader.broken(f"gives tensor {name!r} the values from {minimum} to {maximum}")
    size = occupied_bins(minimum, maximum)
    reader.bins_left -= size
    if reader.bins_left < 0:
        raise reader.broken(f"holds more than {_MOST_BINS} bins")
    histogram = Histogram.from_occupied(minimum, maximum, _unpack_counts(reader, size, name))
    if histogram.count != count:
        raise reader.broken(f"counts {histogram.count} values of tensor {name!r} where it announces {count}")
    return histogram


def pack_counts(counts: NDArray[np.int64]) -> bytes:
    """Counts [n] as blocks of 32 numbers of equal width (see the module's docstring)."""
    filled = np.zeros((2, -(-counts.size // _BLOCK) * _BLOCK), np.int64)
    filled[0, : counts.size] = counts
    differences = np.diff(counts, prepend=0)
    filled[1, : counts.size] = (differences << 1) ^ (differences >> 63)
    blocks = filled.reshape(2, -1, _BLOCK)
    widths = np.frexp(blocks.max(axis=2).astype(np.float64))[1].astype(np.uint8)
    differing = widths[1] < widths[0]
    width = np.where(differing, widths[1], widths[0])
    chosen = np.where(differing[:, None], blocks[1], blocks[0])
    packed: list[bytes] = [b""] * width.size
    for bits in np.unique(width).tolist():
        rows = np.flatnonzero(width == bits)
        digits = (chosen[rows][:, :, None] >> np.arange(bits)) & 1
        lines = np.packbits(digits.astype(np.uint8).reshape(rows.size, -1), axis=1, bitorder="little")
        for row, line in zip(rows.tolist(), lines, strict=True):
            packed[row] = line.tobytes()
    heads: bytes = (width | (differing.astype(np.uint8) << 7)).tobytes()
    return heads + b"".join(packed)


def _unpack_counts(reader: Reader, size: int, name: str) -> NDArray[np.int64]:
    """The way back from `pack_counts`, for `size` counts."""
    heads = np.frombuffer(reader.take(-(-size // _BLOCK), "list of blocks"), np.uint8)
    width = (heads & 127).astype(np.intp)
    if width.max() > _WIDEST:
        raise reader.broken(f"holds counts of {width.max()} bits for tensor {name!r}")
    ends = np.cumsum(width * (_BLOCK // 8))
    data = np.frombuffer(reader.take(int(ends[-1]), "block of counts"), np.uint8)
    numbers = np.zeros((heads.size, _BLOCK), np.int64)
    for bits in np.unique(width[width > 0]).tolist():
        rows = np.flatnonzero(width == bits)
        lines = data[(ends[rows] - bits * (_BLOCK // 8))[:, None] + np.arange(bits * (_BLOCK // 8))]
        digits = np.unpackbits(lines, axis=1, bitorder="little").reshape(rows.size, _BLOCK, bits)
        numbers[rows] = (digits.astype(np.int64) << np.arange(bits)).sum(axis=2)
    for row in np.flatnonzero(heads & 128).tolist():
        zigzag = numbers[row]
        before = int(numbers[row - 1, -1]) if row else 0
        numbers[row] = before + np.cumsum((zigzag >> 1) ^ -(zigzag & 1))
        if not 0 <= numbers[row, -1] <= LARGEST_COUNT:
            raise reader.broken(f"holds a count of {numbers[row, -1]} for tensor {name!r}")
    return numbers.reshape(-1)[:size]
