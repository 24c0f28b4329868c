"""Ranges of other tools, read from a file: a TensorRT calibration cache, ONNX Runtime's tables, JSON {tensor: amax}."""

from __future__ import annotations

from pathlib import Path

from calibrators import CacheFileError, parse_ranges
from calibrators.cache_file import MAGIC
from calibrators.range_files import LARGEST_FILE
from qdq_cli.process.errors import DataError

_TENSORRT = "Let TensorRT write it again, or make one with qdq cache export --format tensorrt."
_EXAMPLE = 'Write {"conv1_out": 6.0, "fc": 2.5}: the name of a tensor, and the largest absolute value to keep.'


def is_cache(path: Path) -> bool:
    """Say whether a file is a calibration cache, from which ranges are still to be chosen.

    Raises:
        DataError: It cannot be read.
    """
    return read_bytes(path, len(MAGIC)) == MAGIC


def read_ranges(path: Path) -> dict[str, float]:
    """Read tensor name -> amax (the tensor's units, 0 or more) from a file of any known format.

    Raises:
        DataError: The file cannot be read, is of no known format, or broken.
    """
    return parse(read_bytes(path), path)


def read_bytes(path: Path, size: int = LARGEST_FILE + 1) -> bytes:
    """Read a file of ranges, or its start; of one that is too large only as much as shows that.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise DataError(f"The ranges file {path} cannot be read: {error.strerror}.", "Check the path.") from error


def parse(data: bytes, path: Path) -> dict[str, float]:
    """Find tensor name -> amax in the bytes of a file of ranges.

    Raises:
        DataError: They are of no known format, or broken.
    """
    if data.startswith(MAGIC):
        raise DataError(
            f"{path} is a calibration cache: it holds histograms, from which a method chooses ranges.",
            "Give it with --cache, or turn it into ranges with qdq cache export.",
        )
    try:
        return parse_ranges(data, str(path))
    except CacheFileError as error:
        hint = _TENSORRT if data.startswith(b"TRT-") else _EXAMPLE
        raise DataError(f"The ranges file cannot be used. {error.message}", error.hint or hint) from error
