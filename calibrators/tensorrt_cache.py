"""TensorRT's text calibration cache, in and out.

    TRT-8503-EntropyCalibration2
    input: 3c010204
    (Unnamed Layer* 64) [Shuffle]_output: 3b810204

A line holds a tensor name and the bits of its scale (amax / 127) as a big-endian float32 in hexadecimal, lower case
and without leading zeros (behind a name that begins as a comment does, eight digits tell a scale from words). The file
has no checksum and TensorRT trusts it as it is, so every odd range is refused here.
The first line may be spelled in other ways, since people edit it to hand a cache to another release.

Source: rules, sections 6.1 and 6.2 (docs/rules.md); test case T56.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibrators.errors import CacheFileError, ParameterError
from calibrators.qtypes import INT8

ALGORITHMS = ("EntropyCalibration2", "MinMaxCalibration", "EntropyCalibration", "LegacyCalibration")
"""Calibrators that name themselves in the header; the first is the one that DLA and trtexec wanted, while
TensorRT had calibrators (up to release 10).

Source: rules, sections 5.1 and 6.3.
"""

_HEADER = re.compile(r"trt\s*[-_ ]\s*v?([0-9][0-9a-z.]{0,15})\s*(?:[-_ ]\s*([a-z]\w*)?)?", re.IGNORECASE)
_START = re.compile(r"trt\s*[-_ ]\s*v?[0-9]", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(#|//|;)")
_USUAL = re.compile(r"0|[0-9a-fA-F]{7,8}")  # scales above 1e-38: "# made at 12:30" holds none
_DIGITS = re.compile(r"[0-9a-fA-F]{1,8}")
_DECIMAL = re.compile(r"[-+]?[0-9]*\.[0-9]+([eE][-+]?[0-9]+)?")
_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,2})(?:\.([0-9]{1,2})(?:\.[0-9]+)?)?")


@dataclass(frozen=True)
class TensorRTCache:
    """What a TensorRT calibration cache holds.

    Args:
        version: Number in the header: 8503 for 8.5.3, 101401 for 10.14.1; None where it is no number (TRT-8XXX).
        algorithm: Name in the header; "" where there is none.
        scales: Tensor name -> scale, a float32 number >= 0, in the order of the file.
        other: Lines that are no scales (parameters of legacy calibrators, comments), as they are.
        header: The header as it is spelled, where that is not TensorRT's spelling.
    """

    version: int | None
    algorithm: str
    scales: Mapping[str, float]
    other: tuple[str, ...] = ()
    header: str = ""

    def amax(self) -> dict[str, float]:
        """Tensor name -> amax = 127 * scale, exact in a Python float: `symmetric_qparams` gives the scale back."""
        return {name: scale * INT8.steps for name, scale in self.scales.items()}


def tensorrt_version(release: str) -> int:
    """The number TensorRT writes for a release: "8.6.1" -> 8601, "10.14.1" or "10.14.1.48" -> 101401.

    Raises:
        ParameterError: It is not a release number.

    Source: rules, section 6.1: major * 1000 + minor * 100 + patch before 10, major * 10000 + minor * 100 + patch
        from 10 on.
    """
    match = _VERSION.fullmatch(release)
    if not match:
        raise ParameterError(f"{release!r} is not a TensorRT release; expected one like 8.6.1 or 10.14.1.")
    major, minor, patch = (int(part or 0) for part in match.groups())
    return major * (1000 if major < 10 else 10_000) + minor * 100 + patch


def make_tensorrt_cache(
    amax: Mapping[str, float], release: str = "8.6.1", algorithm: str = ALGORITHMS[0]
) -> TensorRTCache:
    """A cache of scale = float32(amax / 127) for every tensor, ordered by name.

    Args:
        amax: Tensor name -> amax, finite and >= 0; an amax of 0 is written as the scale 0.
        release: TensorRT release that will read it; another one ignores it and calibrates anew.
        algorithm: One of ALGORITHMS.

    Raises:
        ParameterError: A release, algorithm, name or amax that cannot be written.
    """
    if algorithm not in ALGORITHMS:
        raise ParameterError(f"{algorithm!r} is no TensorRT calibrator; expected one of {', '.join(ALGORITHMS)}.")
    scales = {name: _scale(name, amax[name]) for name in sorted(amax)}
    return TensorRTCache(tensorrt_version(release), algorithm, scales)


def format_tensorrt_cache(cache: TensorRTCache) -> str:
    r"""The text of the file; lines end in "\n" and follow the order of `scales`."""
    lines = [cache.header or f"TRT-{cache.version}-{cache.algorithm}", *cache.other]
    lines += [f"{name}: {_hex(name, scale)}" for name, scale in cache.scales.items()]
    return "\n".join(lines) + "\n"


def parse_tensorrt_cache(text: str, source: str = "The TensorRT cache") -> TensorRTCache:
    """Read the text of the file.

    Blank lines are skipped; lines without a colon, or with a decimal number behind it, are parameters of legacy
    calibrators and go to `other`, as do comments. The header may be in any case, name no calibrator, or spell the
    release in another way.

    Args:
        text: The whole file, decoded as UTF-8 (with "surrogateescape" names survive in any encoding).
        source: What to call it in error messages.

    Raises:
        CacheFileError: The header is missing, or a line is broken; the message says which.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    place, first = _first_line(lines)
    header = _HEADER.fullmatch(first)
    if not header:
        raise CacheFileError(
            f"{source} is no TensorRT calibration cache: its first line is {first[:40]!r}, "
            "expected one like 'TRT-8601-EntropyCalibration2'."
        )
    scales: dict[str, float] = {}
    other = [line.strip() for line in lines[:place] if line.strip()]
    for number, line in enumerate(lines[place + 1 :], place + 2):
        found = _parse_line(line, f"Line {number} of {source}")
        if found is None:
            other += [line.rstrip("\r")] if line.strip() else []
        elif scales.setdefault(*found) != found[1]:
            raise CacheFileError(f"{source} gives tensor {found[0]!r} two scales; the second is in line {number}.")
    version = int(header[1]) if header[1].isdecimal() else None
    algorithm = _calibrator(header[2] or "")
    spelled = "" if first == f"TRT-{version}-{algorithm}" else first
    return TensorRTCache(version, algorithm, scales, tuple(other), spelled)


def _parse_line(line: str, source: str) -> tuple[str, float] | None:
    """Tensor name and scale of a line; None for a blank line, a comment or a parameter.

    Raises:
        CacheFileError: It should have both, and has not.
    """
    name, colon, digits = line.rstrip("\r \t").rpartition(":")
    digits = digits.strip(" \t")
    if not colon or _DECIMAL.fullmatch(digits):
        return None
    if _COMMENT.match(line) and not _USUAL.fullmatch(digits):
        return None
    scale = _parse_scale(digits)
    if not name or scale is None:
        raise CacheFileError(
            f"{source} is broken: expected a tensor name, ': ' and the bits of a scale in hexadecimal, "
            f"found {line[:80]!r}."
        )
    return name, scale


def is_tensorrt_cache(text: str) -> bool:
    """Say whether a text begins as a TensorRT calibration cache, in any spelling of its header."""
    return _START.match(_first_line(text.removeprefix("\ufeff").split("\n"))[1]) is not None


def _first_line(lines: Sequence[str]) -> tuple[int, str]:
    """Place and text of the first line that is neither blank nor a comment; of the first one where all are."""
    for place, line in enumerate(lines):
        if line.strip() and not _COMMENT.match(line):
            return place, line.strip()
    return 0, lines[0].strip()


def _calibrator(name: str) -> str:
    """The name of a calibrator in TensorRT's spelling, whatever its case; others as they are."""
    return next((known for known in ALGORITHMS if known.lower() == name.lower()), name)


def _parse_scale(digits: str) -> float | None:
    if not _DIGITS.fullmatch(digits):
        return None
    (scale,) = struct.unpack("!f", bytes.fromhex(digits.rjust(8, "0")))
    return float(scale) if math.isfinite(scale) and math.copysign(1.0, scale) > 0 else None


def _scale(name: str, amax: float) -> float:
    """float32(amax / 127), checked to be writable under this name."""
    if not name or "\n" in name or "\r" in name:
        raise ParameterError(f"A TensorRT cache cannot hold a tensor called {name!r}.")
    try:
        (scale,) = struct.unpack("!f", struct.pack("!f", amax / INT8.steps))
    except OverflowError:
        scale = math.inf
    if not (math.isfinite(scale) and amax >= 0):
        raise ParameterError(f"Tensor {name!r} has an amax of {amax}, expected a finite number, 0 or more.")
    return float(scale)


def _hex(name: str, scale: float) -> str:
    """The bits of a scale as they stand behind a name.

    `_USUAL` tells a tensor called "#" from a comment, so that there even a scale below 1e-38 has all its digits.
    """
    (bits,) = struct.unpack("!I", struct.pack("!f", scale))
    return f"{bits:08x}" if _COMMENT.match(name) and bits else f"{bits:x}"
