"""What moved between two calibration caches: the data of two releases seen through the same model, or two models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from calibrators import CalibrationTable, Histogram, Method, MethodName, Range, distance, ranges_of, read_cache
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError, LimitError
from qdq_cli.screen.amounts import digits_percent


@dataclass(frozen=True)
class TensorDrift:
    """How far one tensor moved.

    Args:
        name: In the first cache.
        other_name: In the second.
        amax: Range in the first, by the method of the comparison.
        other_amax: Range in the second.
        ratio: other_amax / amax; infinite where only the first is 0.
        distance: How far the values moved, in units of their root mean square (`calibrators.distance`).
        drift_percent: The larger of the two: by how much one range exceeds the other, and the distance.
    """

    name: str
    other_name: str
    amax: float
    other_amax: float
    ratio: float
    distance: float
    drift_percent: float


@dataclass(frozen=True)
class Difference:
    """Two calibration caches compared.

    Args:
        schema_version: Version of this document.
        first, second: Their paths.
        method: How ranges were chosen for the comparison.
        samples: Samples observed, in the first and in the second.
        common_samples: Samples that are in both.
        same_model: Whether the two models compute the same.
        same_preprocessing: Whether samples became inputs in the same way.
        tensors: The tensors of both, the one that moved most first.
        only_first, only_second: Names of the tensors that are in one alone, or have seen no value in the other.
        largest_percent: The largest drift of any tensor.
    """

    schema_version: int
    first: str
    second: str
    method: str
    samples: tuple[int, int]
    common_samples: int
    same_model: bool
    same_preprocessing: bool
    tensors: tuple[TensorDrift, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    largest_percent: float


def compare_files(first: Path, second: Path, method: str, percentile: float) -> Difference:
    """Compare two calibration caches.

    Tensors belong together when the same computation makes them; what is left then, when it has the same name, so that
    a model can be compared with its next training too.

    Raises:
        CacheFileError: One cannot be read, is damaged or of a newer format.
        DataError: They have no tensor in common.
    """
    one, other = read_cache(first), read_cache(second)
    pairs = _pairs(one, other)
    if not pairs:
        raise DataError(
            f"{first} and {second} have no tensor in common, neither by computation nor by name.",
            "Compare caches of one network.",
        )
    chosen = Method(cast(MethodName, method), percentile)
    mine, theirs = (ranges_of(table.seen(), chosen).ranges for table in (one, other))
    found = [
        _drift((name, one.entries[name].histogram, mine[name]), (twin, other.entries[twin].histogram, theirs[twin]))
        for name, twin in pairs.items()
    ]
    found.sort(key=lambda drift: (-drift.drift_percent, drift.name))
    first_origin, second_origin = one.provenance, other.provenance
    return Difference(
        schema_version=SCHEMA_VERSION,
        first=str(first),
        second=str(second),
        method=method,
        samples=(first_origin.sample_count, second_origin.sample_count),
        common_samples=len(first_origin.samples & second_origin.samples),
        same_model=first_origin.model == second_origin.model,
        same_preprocessing=first_origin.preprocessing == second_origin.preprocessing,
        tensors=tuple(found),
        only_first=tuple(sorted(set(one.entries) - set(pairs))),
        only_second=tuple(sorted(set(other.entries) - set(pairs.values()))),
        largest_percent=found[0].drift_percent,
    )


def require_drift(difference: Difference, most_percent: float | None) -> None:
    """Hold a comparison against the limit the user set.

    Raises:
        LimitError: A tensor moved further, or is in one of the caches alone.
    """
    if most_percent is None:
        return
    worst = difference.tensors[0]
    if worst.drift_percent > most_percent:
        count = sum(drift.drift_percent > most_percent for drift in difference.tensors)
        raise LimitError(
            f"Tensor '{worst.name}' moved by {digits_percent(worst.drift_percent)}; --max-drift is {most_percent:g} %, "
            f"and {count} of {len(difference.tensors)} tensors exceed it.",
            f"Calibrate anew with the data of {difference.second}, or find out what changed in it.",
        )
    lone = (*difference.only_first, *difference.only_second)
    if lone:
        raise LimitError(
            f"{len(lone)} tensors are in one of the caches alone, such as '{lone[0]}', so --max-drift cannot be held.",
            "Compare caches that were made for one network and one set of placement options.",
        )


def _pairs(one: CalibrationTable, other: CalibrationTable) -> dict[str, str]:
    """Name in the first -> name in the second, for tensors that have seen values in both."""
    seen, twins = (
        {name: entry.digest for name, entry in table.entries.items() if entry.histogram.count} for table in (one, other)
    )
    pairs = {name: name for name, digest in seen.items() if twins.get(name) == digest}
    free = {digest: name for name, digest in twins.items() if digest and name not in pairs}
    for name, digest in seen.items():
        if name not in pairs and digest in free:
            pairs[name] = free.pop(digest)
    taken = set(pairs.values())
    return pairs | {name: name for name in seen if name not in pairs and name in twins and name not in taken}


def _drift(one: tuple[str, Histogram, Range], other: tuple[str, Histogram, Range]) -> TensorDrift:
    (name, histogram, kept), (other_name, other_histogram, other_kept) = one, other
    amax, other_amax = kept.amax, other_kept.amax
    low, high = sorted((amax, other_amax))
    growth = high / low - 1 if low else (math.inf if high else 0.0)
    moved = distance(histogram, other_histogram)
    ratio = other_amax / amax if amax else (math.inf if other_amax else 1.0)
    return TensorDrift(name, other_name, amax, other_amax, ratio, moved, 100 * max(growth, moved))
