"""What trtexec says of itself and of a model that it does not build, read leniently out of what it prints.

Sources: NVIDIA/TensorRT, samples/common/logging.h (the line that every run begins with), sampleDevice.cpp (the GPU) and
sampleEngines.cpp (seconds of a build) at the tags 8.4.1 to v11.1; onnx-tensorrt, ModelImporter.cpp (nodes refused).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from qdq_cli.building.compiler import RawRefusal
from qdq_cli.targets.tensorrt.trtexec import Version

_RUNNING = re.compile(r"\[TensorRT v(\d{4,6})\]")
_DEVICE = re.compile(r"Selected Device: (.+)")
_CAPABILITY = re.compile(r"Compute Capability: (\d+)\.(\d+)")
_SECONDS = re.compile(r"Engine built in ([\d.]+) sec")
_PARSING = re.compile(r"While parsing node number (\d+) \[(\w+)")
_NAME = re.compile(r'^name: "(.*)"$')
_REASON = re.compile(r"ERROR: \S+ In function (\w+):\s*(.*)")
_ERROR = re.compile(r"\[[EF]\] (.*)")
_NOT_READ = "Failed to parse onnx file"

MAX_SAID = 6
"""Most lines of complaints that are kept."""


def release_in(text: str) -> tuple[int, int, int] | None:
    """Return the release of TensorRT that a run names, as major, minor and patch; None where it names none.

    Up to 9 it is written as 8601 for 8.6.1, from 10 on as 100300 for 10.3.0.
    """
    found = _RUNNING.search(text)
    if found is None:
        return None
    number = int(found[1])
    unit = 10_000 if number >= 100_000 else 1000
    return number // unit, number % unit // 100, number % 100


def version_of(release: tuple[int, int, int]) -> Version:
    """Return what releases are compared by."""
    return release[:2]


def device_in(text: str) -> str:
    """Return the name of the GPU that was used, or ""."""
    found = _DEVICE.search(text)
    return "" if found is None else found[1].strip()


def capability_in(text: str) -> str:
    """Return its compute capability, such as `sm89`, or ""."""
    found = _CAPABILITY.search(text)
    return "" if found is None else f"sm{found[1]}{found[2]}"


def seconds_in(text: str) -> float | None:
    """Return the seconds that the build alone took; None where the release does not say."""
    found = _SECONDS.search(text)
    return None if found is None else float(found[1])


def is_refused(text: str) -> bool:
    """Say whether the importer did not read the model."""
    return _NOT_READ in text


def refusals_in(text: str) -> tuple[RawRefusal, ...]:
    """Return the nodes that the importer does not read, each once, with its sentence."""
    found = {(each.number, each.op_type): each for each in _refusals(text.splitlines())}
    return tuple(found.values())


def _refusals(lines: list[str]) -> Iterator[RawRefusal]:
    starts = [place for place, line in enumerate(lines) if _PARSING.search(line)]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        said = _PARSING.search(lines[start])
        if said is not None:
            part = lines[start:end]
            name = next((match[1] for line in part if (match := _NAME.match(line.strip()))), "")
            yield RawRefusal(name, int(said[1]), said[2], _reason(part))


def _reason(lines: list[str]) -> str:
    """Return the sentence behind the place in the source that it comes from, which may stand on the next line."""
    for place, line in enumerate(lines):
        found = _REASON.search(line)
        if found is not None:
            text = found[2] or next(iter(lines[place + 1 : place + 2]), "")
            return " ".join(text.split())
    return ""


def complaints_in(text: str) -> tuple[str, ...]:
    """Return the first errors that were printed, each once; where there are none, the last lines."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    errors = tuple(dict.fromkeys(found[1] for line in lines if (found := _ERROR.search(line))))
    return errors[:MAX_SAID] if errors else tuple(lines[-MAX_SAID:])
