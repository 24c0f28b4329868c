"""Merge calibration tables of the same model, whatever its tensors are called in each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from calibrators import CalibrationTable, MismatchError, merge_tables, read_cache
from qdq_cli.calibrating.feeding import describe_feeding
from qdq_cli.process.errors import UsageError


def merge_files(paths: Iterable[Path]) -> CalibrationTable:
    """Merge calibration caches, one at a time in memory beside the result.

    Raises:
        UsageError: There is none.
        CalibratorError: One cannot be read, does not belong to the first, or holds samples that were merged already.
    """
    first: Path | None = None
    merged = CalibrationTable()
    for path in paths:
        table = read_cache(path)
        if first is None:
            first, merged = path, table
        else:
            merged = join((str(first), merged), (str(path), table))
    if first is None:
        raise UsageError("There is no calibration cache to merge.", "Name two or more.")
    return merged


def join(one: tuple[str, CalibrationTable], other: tuple[str, CalibrationTable]) -> CalibrationTable:
    """Merge two labelled tables; tensors keep the names they have in the first.

    Raises:
        CalibratorError: They do not belong together, or share samples.
    """
    label, table = other
    mine, theirs = one[1].provenance, table.provenance
    ways = [describe_feeding(origin.preprocessing) or "none" for origin in (mine, theirs)]
    if mine.model == theirs.model and ways[0] != ways[1]:
        raise MismatchError(
            f"{one[0]} and {label} differ in preprocessing: {ways[0]} and {ways[1]}.",
            "Say the same with --preprocess for all of them.",
        )
    return merge_tables([one, (label, with_names_of(one[1], table))])


def with_names_of(reference: CalibrationTable, table: CalibrationTable) -> CalibrationTable:
    """Call the tensors of a table what `reference` calls those that are computed alike; others keep their names."""
    names, wanted = _by_digest(table), _by_digest(reference)
    same = {
        old: new
        for digest, olds in names.items()
        if digest and len(wanted[digest]) == len(olds)
        for old, new in zip(olds, wanted[digest], strict=True)
    }
    if len(same) < len(table.digests) or all(old == new for old, new in same.items()):
        return table  # not the same tensors: merging says which
    return table.renamed(same)


def _by_digest(table: CalibrationTable) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, digest in sorted(table.digests.items()):
        found[digest].append(name)
    return found
