"""Which sample is which: the same key on every machine, so that no sample is counted twice."""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from qdq_cli.data.batches import Batch
from qdq_cli.errors import DataError

_KEY_LENGTH = 16


def sample_key(content: str, source: str, roots: Sequence[Path]) -> str:
    """Digest of one sample: its content, and its place below the calibration data, so that two equal files count twice.

    Args:
        content: Digest of what is fed.
        source: The file as the report names it; "calib.npz[3]" is the fourth sample of a file.
        roots: The paths given with `--calib`; where they lie on this machine does not matter.

    Returns:
        16 hexadecimal digits, as `calibrators.Provenance` wants them.
    """
    text = f"{content} {unicodedata.normalize('NFC', _place(source, roots))}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_KEY_LENGTH]


def sample_keys(batch: Batch, roots: Sequence[Path]) -> tuple[str, ...]:
    """The key of each sample of a batch; equal whatever the batch size."""
    pairs = zip(batch.digests, batch.sources, strict=True)
    return tuple(sample_key(content, source, roots) for content, source in pairs)


def _place(source: str, roots: Sequence[Path]) -> str:
    """Where a sample lies: below the folder it was found in, or the name of the file (or folder) that was given."""
    path = Path(source)
    for root in roots:
        rest = source.removeprefix(str(root)) if source.startswith(str(root)) else None
        if rest == "" or (rest and rest.startswith("[")):
            return root.name + rest
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


class SampleLog:
    """The samples that were run, kept as keys. Safe for threads.

    Args:
        roots: The paths given with `--calib`.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._sources: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def keys(self) -> frozenset[str]:
        """The key of every sample so far."""
        with self._lock:
            return frozenset(self._sources)

    def add(self, batch: Batch) -> None:
        """Note the samples of a batch.

        Raises:
            DataError: One of them has been run already.
        """
        for key, source in zip(sample_keys(batch, self._roots), batch.sources, strict=True):
            with self._lock:
                first = self._sources.get(key)
                self._sources[key] = source
            if first is not None:
                raise DataError(
                    f"The calibration data holds a sample twice: {first} and {source} have the same name and content.",
                    "Take one of the two out.",
                )
