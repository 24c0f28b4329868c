"""Ranges of other tools, read from a file: a TensorRT calibration cache, ONNX Runtime's tables, JSON {tensor: amax}."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from calibrators import CacheFileError, Range, parse_ranges, wide_in
from calibrators.cache_file import MAGIC
from calibrators.range_files import LARGEST_FILE
from calibrators.regular_file import open_regular
from calibrators.tensorrt_cache import is_tensorrt_cache
from qdq_cli.process.errors import DataError

_TENSORRT = "Let TensorRT write it again, or make one with qdq cache export --format tensorrt."
_EXAMPLE = 'Write {"conv1_out": 6.0, "fc": 2.5}: the name of a tensor, and the largest absolute value to keep.'


_SHOWN = 3  # names of each side
_COMPARED = 200  # names that near ones are looked for among: the cost is the product of both numbers


def is_cache(path: Path) -> bool:
    """Say whether a file is a calibration cache, from which ranges are still to be chosen.

    Raises:
        DataError: It cannot be read.
    """
    return read_bytes(path, len(MAGIC)) == MAGIC


def read_ranges(path: Path) -> dict[str, Range]:
    """Read tensor name -> range (in the tensor's units) from a file of any known format.

    Raises:
        DataError: The file cannot be read, is of no known format, or broken.
    """
    return parse(read_bytes(path), path)


def read_given(path: Path) -> tuple[dict[str, Range], frozenset[str]]:
    """Read tensor name -> range, and the tensors whose depthwise readers stay float, from a file of any known format.

    Raises:
        DataError: The file cannot be read, is of no known format, or broken.
    """
    data = read_bytes(path)
    return parse(data, path), wide_in(data)


def read_bytes(path: Path, size: int = LARGEST_FILE + 1) -> bytes:
    """Read a file of ranges, or its start; of one that is too large only as much as shows that.

    Raises:
        DataError: It cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read(size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error


def parse(data: bytes, path: Path) -> dict[str, Range]:
    """Find tensor name -> range in the bytes of a file of ranges.

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
        hint = _TENSORRT if is_tensorrt_cache(data.decode("utf-8", "surrogateescape")) else _EXAMPLE
        raise DataError(error.message, error.hint or hint) from error


def unmatched(names: Iterable[str], tensors: Sequence[str]) -> tuple[str, str] | None:
    """Say of a table that none of its names is a tensor that could take its range; None where one is.

    Args:
        names: Those in the table.
        tensors: Those of the model.

    Returns:
        A sentence, and a hint with the names that are nearest to each other.
    """
    named = sorted(names)
    if not named or not set(tensors).isdisjoint(named):
        return None
    there = ", ".join(f"'{name}'" for name in tensors[:_SHOWN])
    sentence = (
        f"None of the {len(named)} names in the table is one of the {len(tensors)} tensors that could take a range: "
        f"the table has {', '.join(repr(name) for name in named[:_SHOWN])}, the model {there or 'none'}."
    )
    pairs = _near_pairs(named[:_COMPARED], tensors[:_COMPARED])
    near = f"Near names: {'; '.join(pairs)}. " if pairs else ""
    return (
        sentence,
        f"{near}Was it made for this model? Names change with every exporter; TensorRT keeps those of ONNX.",
    )


def _near_pairs(named: Sequence[str], tensors: Sequence[str]) -> list[str]:
    """Write the first few pairs of names that are nearly alike."""
    pairs: list[str] = []
    for name in named:
        if len(pairs) < _SHOWN and (near := difflib.get_close_matches(name, tensors, n=1, cutoff=0.6)):
            pairs.append(f"'{name}' in the table, '{near[0]}' in the model")
    return pairs
