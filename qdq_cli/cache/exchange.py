"""Ranges for other tools: write a calibration cache's ranges in their formats, and read theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from calibrators import (
    CalibrationTable,
    Chosen,
    Method,
    MethodName,
    NoDataError,
    Range,
    format_json,
    format_ort_json,
    format_ort_table,
    format_tensorrt_cache,
    format_text,
    format_torch_json,
    make_tensorrt_cache,
    parse_tensorrt_cache,
    ranges_of,
    read_cache,
    wide_in,
)
from calibrators.cache_file import write_atomically
from calibrators.tensorrt_cache import is_tensorrt_cache
from qdq_cli.cache.carried import notes_on
from qdq_cli.cache.grouped import table_to_export
from qdq_cli.config.cache import ExportConfig
from qdq_cli.data.ranges import is_cache, parse, read_bytes, read_ranges
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError
from qdq_cli.process.writable import check_writable
from qdq_cli.targets.known import target_for


@dataclass(frozen=True)
class RangeFile:
    """Ranges written for, or read from, another tool.

    Args:
        schema_version: Version of this document.
        file: Where they came from.
        output: Where they went; None where they were only read.
        format: The format of the other tool.
        header: First line of a TensorRT text cache; "" for other formats.
        method: How they were chosen; None where another tool chose them.
        ignored_lines: Lines of a TensorRT text cache that hold no range.
        ranges: Tensor name -> amax.
        judged: Tensors whose range is the best of several for the depthwise convolutions that read them.
        wide: Tensors whose depthwise readers stay float, because no range serves them.
        notes: Sentences the user should read: what the file cannot carry.
    """

    schema_version: int
    file: str
    output: str | None
    format: str
    header: str
    method: str | None
    ignored_lines: int
    ranges: Mapping[str, float]
    judged: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _amax(ranges: Mapping[str, Range]) -> dict[str, float]:
    return {name: chosen.amax for name, chosen in ranges.items()}


def _tensorrt(chosen: Chosen, config: ExportConfig) -> bytes:
    return _encoded(format_tensorrt_cache(make_tensorrt_cache(_amax(chosen.ranges), config.trt, config.algo)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_Writer = Callable[[Chosen, ExportConfig], bytes]

_WRITERS: dict[str, _Writer] = {
    "tensorrt": _tensorrt,
    "ort": lambda chosen, config: format_ort_table(_amax(chosen.ranges)),
    "ort-json": lambda chosen, config: _encoded(format_ort_json(chosen.ranges)),
    "ort-text": lambda chosen, config: _encoded(format_text(_amax(chosen.ranges))),
    "json": lambda chosen, config: _encoded(format_json(_kept(chosen.ranges, config), chosen.wide)),
    "torch-json": lambda chosen, config: _encoded(
        format_torch_json(chosen.ranges, target_for(config.target, config.plan).activations, chosen.wide)
    ),
}
"""A key of `RANGE_FORMATS` -> what writes it."""


def _kept(ranges: Mapping[str, Range], config: ExportConfig) -> Mapping[str, Range]:
    """What the scheme keeps of ranges: of a symmetric one both ends are as far from 0.0."""
    if not target_for(config.target, config.plan).activations.symmetric:
        return ranges
    return {name: Range.symmetric(kept.amax) for name, kept in ranges.items()}


def export_file(config: ExportConfig) -> RangeFile:
    """Choose the range of every tensor in a calibration cache and write them for another tool.

    The ranges are those that `quantize` chooses from the same cache by the same method. What the format cannot carry of
    what `quantize` does is said in the notes.

    Raises:
        CacheFileError: The cache cannot be read, or the output cannot be written.
        DataError: The output is the cache itself, a tensor has seen no value, or the cache does not fit the model.
        ModelError: The model cannot be read or prepared.
        ParameterError: The format cannot hold a tensor's name, or there is no such TensorRT release.
        UsageError: A placement option is given without a model, or matches nothing.
    """
    check_writable(config.destination)
    table = table_to_export(config)
    if config.destination.exists() and config.destination.samefile(config.file):
        raise DataError(
            f"The output {config.destination} is the calibration cache itself.", "Name another file with -o."
        )
    chosen = _choose(config.file, table, config)
    data = written(chosen, config)
    notes = notes_on(table, chosen, data, config)
    write_atomically(config.destination, data)
    header = data.split(b"\n", 1)[0].decode() if config.format == "tensorrt" else ""
    return RangeFile(
        SCHEMA_VERSION, str(config.file), str(config.destination), config.format, header, config.method, 0,
        _amax(chosen.ranges), tuple(sorted(chosen.judged)), tuple(sorted(chosen.wide)), notes,
    )  # fmt: skip


def written(chosen: Chosen, config: ExportConfig) -> bytes:
    """Return the bytes of ranges in the format that was asked for.

    Raises:
        ParameterError: The format cannot hold a tensor's name, or there is no such TensorRT release.
    """
    return _WRITERS[config.format](chosen, config)


def _choose(file: Path, table: CalibrationTable, config: ExportConfig) -> Chosen:
    method = Method(cast(MethodName, config.method), config.percentile)
    try:
        return ranges_of(table, method, target_for(config.target, config.plan).activations)
    except NoDataError as error:
        raise DataError(
            f"{file} holds tensors that have seen no value: {error.message}",
            "Merge it with the other shares, or calibrate on samples that take every branch of the model.",
        ) from error


def ranges_in(file: Path) -> Mapping[str, Range]:
    """Read tensor name -> range from a file of another tool, or from a calibration cache by the default method.

    Raises:
        CacheFileError: The cache cannot be read.
        DataError: The file cannot be read or is of no known format, or a tensor of the cache has seen no value.
    """
    if not is_cache(file):
        return read_ranges(file)
    return _choose(file, read_cache(file), ExportConfig(file, "json")).ranges


def import_file(file: Path, output: Path) -> RangeFile:
    """Read the ranges of another tool and write them as JSON, {tensor: amax} or {tensor: [min, max]}.

    Raises:
        CacheFileError: The file cannot be read, is of no known format or broken; or the output cannot be written.
        DataError: The file is a calibration cache, which holds more than ranges.
    """
    check_writable(output)
    data = read_bytes(file)
    ranges = parse(data, file)
    if output.exists() and output.samefile(file):
        raise DataError(f"The output {output} is the file of ranges itself.", "Name another file with -o.")
    write_atomically(output, _encoded(format_json(ranges, wide_in(data))))
    header, ignored = "", 0
    text = data.decode("utf-8", "surrogateescape")
    if is_tensorrt_cache(text):
        found = parse_tensorrt_cache(text, str(file))
        header, ignored = found.header or f"TRT-{found.version}-{found.algorithm}", len(found.other)
    return RangeFile(
        SCHEMA_VERSION, str(file), str(output), _format_name(data, text), header, None, ignored, _amax(ranges)
    )


def _format_name(data: bytes, text: str) -> str:
    if is_tensorrt_cache(text):
        return "tensorrt"
    if data.lstrip()[:1] in (b"{", b"["):
        return "json"
    return "ort" if b"\0" in data else "ort-text"
