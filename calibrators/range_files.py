"""Finished ranges as files of other tools: plain JSON, JSON for PyTorch, and ONNX Runtime's three TensorRT tables.

Every parser returns tensor name -> range and accepts only finite numbers; every writer orders by name, so
equal ranges give equal bytes. `parse_ranges` tells the formats apart by their content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from typing import Any, NoReturn

import numpy as np

from calibrators.errors import CacheFileError, ParameterError
from calibrators.ort_table import decimal, parse_ort_table
from calibrators.qparams import qparams_of
from calibrators.ranges import Range
from calibrators.scheme import DEFAULT, Scheme
from calibrators.tensorrt_cache import is_tensorrt_cache, parse_tensorrt_cache

LARGEST_FILE = 64 << 20
"""Bytes of a file of ranges that are read at most."""

_LARGEST_AMAX = float(np.finfo(np.float32).max)


def parse_ranges(data: bytes, source: str = "The file of ranges") -> dict[str, Range]:
    """Read any of the formats: TensorRT cache, JSON in its forms, ONNX Runtime's binary and text tables.

    Where a format holds an amax, the range is [-amax, amax].

    Args:
        data: The whole file.
        source: What to call it in error messages.

    Raises:
        CacheFileError: It is none of them, or broken.
    """
    if len(data) > LARGEST_FILE:
        raise CacheFileError(f"{source} is larger than the {LARGEST_FILE >> 20} MB a file of ranges may have.")
    found = _parse_any(data, data.decode("utf-8", "surrogateescape").removeprefix("\ufeff"), source)
    if not found:
        raise CacheFileError(
            f"{source} holds no range.", "Calibrate again: a run that saw no sample leaves such a file."
        )
    return found


def _parse_any(data: bytes, text: str, source: str) -> dict[str, Range]:
    if is_tensorrt_cache(text):
        return _checked(parse_tensorrt_cache(text, source).amax(), source)
    if text.lstrip()[:1] in ("{", "["):
        return parse_json_ranges(text, source)
    if "\0" in text:
        return _checked(parse_ort_table(data, source), source)
    return parse_text_ranges(text, source)


def parse_json_ranges(text: str, source: str = "The file of ranges") -> dict[str, Range]:
    """Read {tensor: amax}, {tensor: [min, max]}, {tensor: {"amax": ...}}, with "minimum" and "maximum" in its place, or
    ONNX Runtime's calibration.json.

    Raises:
        CacheFileError: The JSON is broken, names a tensor twice, or holds something else than ranges.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CacheFileError(f"{source} is no valid JSON: {error}.") from error
    if isinstance(document, dict) and document.get("CLS") == "TensorsData":
        document = document.get("data")
    if not isinstance(document, dict):
        raise CacheFileError(f"{source} holds a {type(document).__name__}, expected an object {{tensor: amax}}.")
    return _checked({name: _range_in(value) for name, value in document.items()}, source)


def parse_text_ranges(text: str, source: str = "The file of ranges") -> dict[str, Range]:
    """Read ONNX Runtime's calibration.cache: a name, a space and the amax in decimal on each line.

    Raises:
        CacheFileError: A line is broken, or a tensor has two ranges.
    """
    found: dict[str, float] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, _, value = line.rstrip().rpartition(" ")
        amax = _number(value)
        if not name or amax is None:
            raise CacheFileError(
                f"Line {number} of {source} is broken: expected a tensor name, a space and its amax, "
                f"found {line[:80]!r}."
            )
        if found.setdefault(name, amax) != amax:
            raise CacheFileError(f"{source} gives tensor {name!r} two ranges; the second is in line {number}.")
    return _checked(found, source)


def format_json(ranges: Mapping[str, Range], wide: Set[str] = frozenset()) -> str:
    """{tensor: amax}, or {tensor: [min, max]} where the range is not symmetric; the numbers read back bit for bit.

    Args:
        ranges: Tensor name -> range.
        wide: Tensors whose depthwise readers stay float (`wide_tensors`): {tensor: {"amax": ..., "wide": true}}.
    """
    return _dump({name: _plain(kept, wide=name in wide) for name, kept in _writable(ranges).items()})


def _plain(kept: Range, *, wide: bool) -> object:
    if wide:
        return {**_fields(kept, symmetric=kept.minimum == -kept.maximum), "wide": True}
    return kept.maximum if kept.minimum == -kept.maximum else [kept.minimum, kept.maximum]


def _fields(kept: Range, *, symmetric: bool) -> dict[str, float]:
    return {"amax": kept.amax} if symmetric else {"minimum": kept.minimum, "maximum": kept.maximum}


def format_torch_json(ranges: Mapping[str, Range], scheme: Scheme = DEFAULT, wide: Set[str] = frozenset()) -> str:
    """{tensor: {"amax", "scale", "zero_point"}} for fake quantization in PyTorch with the type's qmin and qmax.

    Args:
        ranges: Tensor name -> range.
        scheme: Where it is affine, "minimum" and "maximum" stand in place of "amax".
        wide: Tensors whose depthwise readers stay float (`wide_tensors`); they have "wide": true.
    """
    document = {}
    for name, kept in _writable(ranges).items():
        qparams = qparams_of(kept, scheme)
        numbers = {"scale": float(qparams.scale), "zero_point": int(qparams.zero_point)}
        mark = {"wide": True} if name in wide else {}
        document[name] = {**_fields(kept, symmetric=scheme.symmetric), **numbers, **mark}
    return _dump(document)


def format_ort_json(ranges: Mapping[str, Range]) -> str:
    """ONNX Runtime's calibration.json; the numbers read back bit for bit."""
    return _dump(
        {
            name: {"CLS": "TensorData", "lowest": float(kept.minimum), "highest": float(kept.maximum)}
            for name, kept in _writable(ranges).items()
        }
    )


def wide_in(data: bytes) -> frozenset[str]:
    """The tensors of which a file of ranges says that their depthwise readers stay float; only JSON can say it."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return frozenset()
    values = document.items() if isinstance(document, dict) else ()
    return frozenset(name for name, value in values if isinstance(value, dict) and value.get("wide") is True)


def format_text(amax: Mapping[str, float]) -> str:
    """ONNX Runtime's calibration.cache.

    Raises:
        ParameterError: A name that the format cannot hold.
    """
    for name in amax:
        if not name.strip() or "\n" in name or "\r" in name:
            raise ParameterError(f"A line of text cannot hold a tensor called {name!r}.")
    for name, value in amax.items():
        _check(name, value)
    return "".join(f"{name} {float(value)!r}\n" for name, value in sorted(amax.items()))


def _writable(ranges: Mapping[str, Range]) -> dict[str, Range]:
    for name, kept in ranges.items():
        _check(name, kept.amax)
    return dict(ranges)


def _check(name: str, amax: float) -> None:
    if not 0.0 <= amax <= _LARGEST_AMAX:
        raise ParameterError(f"Tensor {name!r} has an amax of {amax}, expected a finite number, 0 or more.")


_Found = float | tuple[float, float] | None
"""What a file says of a tensor: an amax, both ends, or nothing that is a range."""


def _checked(found: Mapping[str, _Found], source: str) -> dict[str, Range]:
    """The ranges, if every one is made of finite numbers."""
    return {name: _range_of(value, f"{source} gives tensor {name!r}") for name, value in found.items()}


def _range_of(found: _Found, said: str) -> Range:
    if isinstance(found, tuple):
        low, high = found
        if not -_LARGEST_AMAX <= low <= high <= _LARGEST_AMAX:
            raise CacheFileError(f"{said} a range from {low} to {high}, expected finite numbers in rising order.")
        return Range(low, high)
    if found is None or not 0.0 <= found <= _LARGEST_AMAX:
        what = "no range" if found is None else f"an amax of {found}"
        raise CacheFileError(f"{said} {what}, expected a finite number, 0 or more.")
    return Range.symmetric(found)


def _range_in(value: Any) -> _Found:
    """The range in one value of a JSON document; None if there is none."""
    if isinstance(value, list) and len(value) == 2:
        return _ends(value[0], value[1])
    if isinstance(value, dict):
        if "amax" in value:
            return _number(value["amax"])
        return _ends(value.get("lowest", value.get("minimum")), value.get("highest", value.get("maximum")))
    return _number(value)


def _ends(low: Any, high: Any) -> tuple[float, float] | None:
    ends = _number(low), _number(high)
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _number(value: Any) -> float | None:
    """A number, also one in decimal digits or as ONNX Runtime spells a NumPy array of one element."""
    if isinstance(value, dict) and value.get("CLS") == "numpy.array":
        value = value.get("data")
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    return decimal(value if isinstance(value, str) else repr(value))


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name is there twice")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
