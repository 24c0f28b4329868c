"""Ranges for other tools: write a calibration cache's ranges in their formats, and read theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from calibrators import (
    CalibrationTable,
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
    read_cache,
)
from calibrators.cache_file import write_atomically
from calibrators.tensorrt_cache import is_tensorrt_cache
from qdq_cli.config.cache import ExportConfig
from qdq_cli.data.ranges import is_cache, parse, read_bytes, read_ranges
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError
from qdq_cli.process.writable import check_writable


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
    """

    schema_version: int
    file: str
    output: str | None
    format: str
    header: str
    method: str | None
    ignored_lines: int
    ranges: Mapping[str, float]


def _amax(ranges: Mapping[str, Range]) -> dict[str, float]:
    return {name: chosen.amax for name, chosen in ranges.items()}


def _tensorrt(ranges: Mapping[str, Range], config: ExportConfig) -> bytes:
    return _encoded(format_tensorrt_cache(make_tensorrt_cache(_amax(ranges), config.trt, config.algo)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


_Writer = Callable[[Mapping[str, Range], ExportConfig], bytes]

_WRITERS: dict[str, _Writer] = {
    "tensorrt": _tensorrt,
    "ort": lambda ranges, config: format_ort_table(_amax(ranges)),
    "ort-json": lambda ranges, config: _encoded(format_ort_json(ranges)),
    "ort-text": lambda ranges, config: _encoded(format_text(_amax(ranges))),
    "json": lambda ranges, config: _encoded(format_json(_amax(ranges))),
    "torch-json": lambda ranges, config: _encoded(format_torch_json(_amax(ranges))),
}
"""A key of `RANGE_FORMATS` -> what writes it."""


def export_file(config: ExportConfig) -> RangeFile:
    """Choose the range of every tensor in a calibration cache and write them for another tool.

    Raises:
        CacheFileError: The cache cannot be read, or the output cannot be written.
        DataError: The output is the cache itself, or a tensor has seen no value.
        ParameterError: The format cannot hold a tensor's name, or there is no such TensorRT release.
    """
    check_writable(config.destination)
    table = read_cache(config.file)
    if config.destination.exists() and config.destination.samefile(config.file):
        raise DataError(
            f"The output {config.destination} is the calibration cache itself.", "Name another file with -o."
        )
    ranges = _ranges(config, table)
    data = _WRITERS[config.format](ranges, config)
    write_atomically(config.destination, data)
    header = data.split(b"\n", 1)[0].decode() if config.format == "tensorrt" else ""
    return RangeFile(
        SCHEMA_VERSION,
        str(config.file),
        str(config.destination),
        config.format,
        header,
        config.method,
        0,
        _amax(ranges),
    )


def _ranges(config: ExportConfig, table: CalibrationTable) -> dict[str, Range]:
    try:
        return table.ranges(Method(cast(MethodName, config.method), config.percentile))
    except NoDataError as error:
        raise DataError(
            f"{config.file} holds tensors that have seen no value: {error.message}", "Merge it with the other shares."
        ) from error


def ranges_of(file: Path) -> dict[str, Range]:
    """Read tensor name -> range from a file of another tool, or from a calibration cache by the default method.

    Raises:
        CacheFileError: The cache cannot be read.
        DataError: The file cannot be read or is of no known format, or a tensor of the cache has seen no value.
    """
    if not is_cache(file):
        return read_ranges(file)
    return _ranges(ExportConfig(file, "json"), read_cache(file))


def import_file(file: Path, output: Path) -> RangeFile:
    """Read the ranges of another tool and write them as {tensor: amax}, the form `--ranges` and people read best.

    Raises:
        CacheFileError: The file cannot be read, is of no known format or broken; or the output cannot be written.
        DataError: The file is a calibration cache, which holds more than ranges.
    """
    check_writable(output)
    data = read_bytes(file)
    ranges = _amax(parse(data, file))
    if output.exists() and output.samefile(file):
        raise DataError(f"The output {output} is the file of ranges itself.", "Name another file with -o.")
    write_atomically(output, _encoded(format_json(ranges)))
    header, ignored = "", 0
    text = data.decode("utf-8", "surrogateescape")
    if is_tensorrt_cache(text):
        found = parse_tensorrt_cache(text, str(file))
        header, ignored = found.header or f"TRT-{found.version}-{found.algorithm}", len(found.other)
    return RangeFile(SCHEMA_VERSION, str(file), str(output), _format_name(data, text), header, None, ignored, ranges)


def _format_name(data: bytes, text: str) -> str:
    if is_tensorrt_cache(text):
        return "tensorrt"
    if data.lstrip()[:1] in (b"{", b"["):
        return "json"
    return "ort" if b"\0" in data else "ort-text"
