"""CalibrationTable: what was observed of every tensor, and where it comes from; merging tables of shares."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import MismatchError, ParameterError
from calibrators.extremes import Extremes, ExtremesEntry
from calibrators.histogram import Histogram
from calibrators.portrait import Portrait
from calibrators.scale_groups import Grouping
from calibrators.wide import wide_tensors

SAMPLE_DIGEST = re.compile(r"[0-9a-f]{16}")
"""What a sample digest looks like: 8 bytes in lower-case hexadecimal."""

Dimension = int | str | None
"""A dimension as the model declares it: fixed, named, or unknown."""


@dataclass(frozen=True)
class Entry:
    """What is known about one tensor.

    Args:
        histogram: Counts of its values over all samples.
        shape: Shape as the model declares it, batch axis included.
        dtype: Element type in the model: "float32", "float16", "bfloat16", "float64".
        digest: Digest of the computation that makes the tensor, independent of names; "" where there is none.
    """

    histogram: Histogram
    shape: tuple[Dimension, ...] = ()
    dtype: str = "float32"
    digest: str = ""


@dataclass(frozen=True)
class Provenance:
    """Where a table comes from: everything that must agree before two tables are merged, and the samples seen.

    Args:
        model: Fingerprint of the model.
        preprocessing: What was done to the samples, in one text.
        versions: (tool, version) pairs in any order: what ran the model, what observed it.
        samples: Digest of every sample seen (see `sample_digest`), each once.

    Raises:
        ParameterError: A tool is named twice, or a sample digest is not 16 lower-case hexadecimal digits.
    """

    model: str = ""
    preprocessing: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    samples: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", tuple(sorted(self.versions)))
        if len(dict(self.versions)) != len(self.versions):
            raise ParameterError("A tool has two versions in the provenance of a calibration table.")
        for digest in self.samples:
            if not SAMPLE_DIGEST.fullmatch(digest):
                raise ParameterError(f"A sample digest is 16 lower-case hexadecimal digits, found {digest!r}.")

    @property
    def sample_count(self) -> int:
        """How many samples were seen."""
        return len(self.samples)

    @property
    def samples_digest(self) -> str:
        """One digest of the whole set of samples, 64 hexadecimal digits, whatever their order."""
        return hashlib.sha256("".join(sorted(self.samples)).encode()).hexdigest()


@dataclass(frozen=True)
class CalibrationTable:
    """Tensor name -> entry, with its provenance; the calibration cache is the file of it (see `cache_file`).

    Args:
        provenance: Where it comes from.
        entries: Tensor name -> what is known about it.
        portrait: What the model computes on made-up samples, by which another export of it is known; None where that
            was not noted.
        groupings: Which tensors share a scale and what reads them, first where all depthwise convolutions are
            quantized; empty where that was not noted.
        extremes: Tensor name -> extremes of tensors that have no entry: what a conversion of floats needs to know.
    """

    provenance: Provenance = field(default_factory=Provenance)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    portrait: Portrait | None = None
    groupings: tuple[Grouping, ...] = ()
    extremes: Mapping[str, ExtremesEntry] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """Name of every tensor, those with extremes alone included -> digest of the computation that makes it."""
        alone = {name: entry.digest for name, entry in self.extremes.items()}
        return {**{name: entry.digest for name, entry in self.entries.items()}, **alone}

    def extremes_of(self, name: str) -> Extremes:
        """The extremes of a tensor, whether it has a histogram or not."""
        entry = self.entries.get(name)
        return self.extremes[name].extremes if entry is None else Extremes.of(entry.histogram)

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that have no entry, in order."""
        return tuple(name for name in names if name not in self.entries)

    def seen(self) -> CalibrationTable:
        """The same table without the tensors that have seen no value."""
        return replace(self, entries={name: entry for name, entry in self.entries.items() if entry.histogram.count})

    def by_digest(self) -> dict[str, str]:
        """Digest of the computation -> tensor name, for tensors that were renamed by another export.

        Tensors that share a digest hold the same values; the first name stands for all.
        """
        return {entry.digest: name for name, entry in sorted(self.entries.items(), reverse=True) if entry.digest}

    def place_of(self) -> dict[str, str]:
        """The same, with tensors that have extremes alone where no other has the digest."""
        alone = {entry.digest: name for name, entry in sorted(self.extremes.items(), reverse=True) if entry.digest}
        return {**alone, **self.by_digest()}

    def renamed(self, names: Mapping[str, str]) -> CalibrationTable:
        """The same table with tensors called names[old] where that is given.

        Raises:
            ParameterError: Two tensors would get one name.
        """
        entries = {names.get(name, name): entry for name, entry in self.entries.items()}
        extremes = {names.get(name, name): entry for name, entry in self.extremes.items()}
        if len(entries.keys() | extremes.keys()) != len(self.entries) + len(self.extremes):
            raise ParameterError("Two tensors of the calibration table would get the same name.")
        portrait = self.portrait and self.portrait.renamed(names)
        groupings = tuple(grouping.renamed(names) for grouping in self.groupings)
        return replace(self, entries=entries, portrait=portrait, groupings=groupings, extremes=extremes)


def sample_digest(arrays: Mapping[str, NDArray[Any]], source: str = "") -> str:
    """Digest of one sample: its source and what is fed to the model.

    Args:
        arrays: Input name -> array, as fed.
        source: Where it comes from, relative to the calibration data, so that two equal files stay two samples.

    Returns:
        16 hexadecimal digits.
    """
    state = hashlib.sha256(_framed(source.encode("utf-8", "surrogateescape")))
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        for part in (name.encode(), array.dtype.str.encode(), repr(array.shape).encode(), array.tobytes()):
            state.update(_framed(part))
    return state.hexdigest()[:16]


def merge_tables(labelled: Iterable[tuple[str, CalibrationTable]]) -> CalibrationTable:
    """The table of all samples together: equal to the one a single run over them would have made.

    Args:
        labelled: (label, table) pairs; the label, for example a file name, is for error messages. Order and grouping
            do not matter; the tables stay as they are.

    Raises:
        MismatchError: Model, preprocessing, versions or tensors differ, or a sample is in two tables.
        ParameterError: There is no table.
    """
    tables = list(labelled)
    if not tables:
        raise ParameterError("There is no calibration table to merge.")
    first_label, first = tables[0]
    entries = {name: replace(entry, histogram=entry.histogram.copy()) for name, entry in first.entries.items()}
    samples = set(first.provenance.samples)
    for label, table in tables[1:]:
        _check_same_origin((first_label, first), (label, table))
        twice = samples & table.provenance.samples
        if twice:
            raise MismatchError(
                f"{label} holds {len(twice)} of the {len(samples)} samples merged so far once more "
                f"(for example {min(twice)}).",
                "Merge every share once.",
            )
        samples |= table.provenance.samples
        for name, entry in entries.items():
            entry.histogram.merge(table.entries[name].histogram)
    portraits = [table.portrait for _, table in tables if table.portrait is not None]
    portrait = min(portraits, key=repr) if portraits else None  # they differ in rounding at most, by processor
    groupings = _joined([table.groupings for _, table in tables], entries)
    return CalibrationTable(
        replace(first.provenance, samples=frozenset(samples)), entries, portrait, groupings, _extremes_of_all(tables)
    )


def _extremes_of_all(labelled: Iterable[tuple[str, CalibrationTable]]) -> dict[str, ExtremesEntry]:
    """The extremes over all samples, of the tensors of which every table knows them."""
    first, *others = (table.extremes for _, table in labelled)
    return {
        name: replace(entry, extremes=reduce(Extremes.joined, (one[name].extremes for one in others), entry.extremes))
        for name, entry in first.items()
        if all(name in one for one in others)
    }


def _joined(noted: Iterable[tuple[Grouping, ...]], entries: Mapping[str, Entry]) -> tuple[Grouping, ...]:
    """What tables note that holds for all samples together; nothing where they were made for different placements."""
    found = [groupings for groupings in noted if groupings]
    if len(set(found)) > 1:  # what is best for the samples of one need not be best for all
        found = [tuple(grouping.unjudged() for grouping in groupings) for groupings in found]
    if len({groupings[0] for groupings in found}) != 1:
        return ()
    plain = found[0][0]
    if any(groupings[-1].wide == plain.wide and len(groupings) > 1 for groupings in found):
        return found[0] if len(set(found)) == 1 else ()  # operators are left float whose weights are not known here
    wide = wide_tensors({name: entry.histogram for name, entry in entries.items()}, plain.groups)
    fitting = {grouping for groupings in found for grouping in groupings if grouping.wide == wide != plain.wide}
    return (plain, *fitting) if len(fitting) < 2 else (plain,)


def _check_same_origin(one: tuple[str, CalibrationTable], other: tuple[str, CalibrationTable]) -> None:
    """Raise MismatchError unless the two tables were made of the same model in the same way."""
    (label, table), (other_label, other_table) = one, other
    mine, theirs = table.provenance, other_table.provenance
    for what, this, that in (
        ("model", mine.model, theirs.model),
        ("preprocessing", mine.preprocessing, theirs.preprocessing),
        ("versions", _spelled(mine.versions), _spelled(theirs.versions)),
    ):
        if this != that:
            raise MismatchError(
                f"{label} and {other_label} differ in {what}: {this or 'none'} and {that or 'none'}.",
                "Only tables made from the same model in the same way can be merged.",
            )
    lone = sorted(set(table.entries) ^ set(other_table.entries))
    if lone:
        raise MismatchError(f"{len(lone)} tensors are in only one of {label} and {other_label}, such as {lone[0]!r}.")
    for name, entry in table.entries.items():
        there = other_table.entries[name]
        if (entry.shape, entry.dtype, entry.digest) != (there.shape, there.dtype, there.digest):
            raise MismatchError(f"{label} and {other_label} differ in the shape, type or origin of tensor {name!r}.")


def _spelled(versions: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{tool} {version}" for tool, version in versions)


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(8, "little") + part
