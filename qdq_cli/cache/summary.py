"""What a calibration cache holds, tensor by tensor: its values, the range by every method, what each range cuts off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from calibrators import CalibrationTable, Entry, Extremes, Method, MethodName, ranges_of, read_cache, share_outside
from qdq_cli.calibrating.feeding import describe_feeding
from qdq_cli.config.ranges import METHODS
from qdq_cli.process.documents import SCHEMA_VERSION


@dataclass(frozen=True)
class TensorSummary:
    """One tensor of a calibration cache.

    Args:
        name: As the model calls it.
        dtype: Its element type in the model.
        shape: As the model declares it.
        count: Values observed.
        minimum, maximum: The smallest and the largest of them.
        amax: Method -> the range it chooses; empty where nothing was observed.
        clipped_percent: Method -> share of the values outside of that range, in percent.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
    count: int
    minimum: float
    maximum: float
    amax: Mapping[str, float]
    clipped_percent: Mapping[str, float]


@dataclass(frozen=True)
class ExtremesSummary:
    """A tensor of which a calibration cache holds the smallest and the largest value alone.

    Args:
        name: As the model calls it.
        minimum, maximum: They; None where no value was observed.
    """

    name: str
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True)
class CacheSummary:
    """A calibration cache.

    Args:
        schema_version: Version of this document.
        file: Its path.
        size_bytes: Its size.
        fingerprint: Digest of what the model computes.
        samples: How many samples were observed.
        samples_digest: Digest of the set of samples.
        preprocessing: One line on how samples became inputs; "" for arrays.
        versions: Tool -> version.
        percentile: Share of values that the method percentile keeps, in percent.
        tensors: Those whose values were counted, ordered by name.
        extremes: Of further tensors the smallest and the largest value alone, for `--float-type`, ordered by name.
    """

    schema_version: int
    file: str
    size_bytes: int
    fingerprint: str
    samples: int
    samples_digest: str
    preprocessing: str
    versions: Mapping[str, str]
    percentile: float
    tensors: tuple[TensorSummary, ...]
    extremes: tuple[ExtremesSummary, ...] = ()


def summarize(path: Path, table: CalibrationTable, percentile: float) -> CacheSummary:
    """Look into a calibration cache that was read from `path`."""
    origin = table.provenance
    seen = table.seen()
    methods = {name: Method(cast(MethodName, name), percentile) for name in METHODS}
    chosen = {name: ranges_of(seen, method).ranges for name, method in methods.items()}
    return CacheSummary(
        schema_version=SCHEMA_VERSION,
        file=str(path),
        size_bytes=path.stat().st_size,
        fingerprint=origin.model,
        samples=origin.sample_count,
        samples_digest=origin.samples_digest,
        preprocessing=describe_feeding(origin.preprocessing),
        versions=dict(origin.versions),
        percentile=percentile,
        tensors=tuple(
            _summary(
                name,
                table.entries[name],
                {method: found[name].amax for method, found in chosen.items() if name in found},
            )
            for name in sorted(table.entries)
        ),
        extremes=tuple(_extremes(name, entry.extremes) for name, entry in sorted(table.extremes.items())),
    )


def _extremes(name: str, seen: Extremes) -> ExtremesSummary:
    return ExtremesSummary(name, *((None, None) if seen.is_empty else (seen.minimum, seen.maximum)))


def read_summary(path: Path, percentile: float) -> tuple[CacheSummary, CalibrationTable]:
    """Read a calibration cache; returns what is in it, and the table itself.

    Raises:
        CacheFileError: The file cannot be read, is damaged or of a newer format.
    """
    table = read_cache(path)
    return summarize(path, table, percentile), table


def _summary(name: str, entry: Entry, amax: Mapping[str, float]) -> TensorSummary:
    histogram = entry.histogram
    return TensorSummary(
        name=name,
        dtype=entry.dtype,
        shape=entry.shape,
        count=histogram.count,
        minimum=histogram.minimum,
        maximum=histogram.maximum,
        amax=amax,
        clipped_percent={method: 100 * share_outside(histogram, value) for method, value in amax.items()},
    )
