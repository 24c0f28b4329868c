"""Which sample is which: the same key on every machine and under every name, so that no sample is counted twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from qdq_cli.data.samples import SampleSet
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.interrupts import Stop, hearing_by_asking, insist, never
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.running.session import cores

KEY_FORMAT = "2"
"""Part of a calibration cache's versions: keys of another format name other samples, so such caches are not merged."""

_KEY_LENGTH = 16
_ROUND = 64  # samples between two questions whether to go on


def sample_key(identity: str, number: int = 0) -> str:
    """Digest of one sample: what it holds, whatever it is called and wherever it lies.

    Args:
        identity: Digest of what is stored (`SampleSet.identity`).
        number: How many samples before it in the calibration data hold the same, so that equal samples all count.

    Returns:
        16 hexadecimal digits, as `calibrators.Provenance` wants them.
    """
    return hashlib.sha256(f"{identity} {number}".encode()).hexdigest()[:_KEY_LENGTH]


class SampleKeys:
    """The keys of the samples that calibrate. Safe for threads.

    A share has to number equal samples as a run over all of them would. So all are looked at, but read only where they
    are of one size: pictures hardly ever are.

    Args:
        every: All samples.
        indices: Those that calibrate, in order, the samples of other shares included.
        listener: Told about progress.
        stop: Asked now and then; once it says True, no further sample is looked at (none will be run).

    Attributes:
        equal: Files of samples that hold the same as one before them.
    """

    def __init__(
        self, every: SampleSet, indices: Sequence[int], listener: Listener = SILENT, stop: Stop = never
    ) -> None:
        self._every = every
        self._identities = _identities(every, _of_equal_size(every, indices), listener, stop)
        self._numbers: dict[int, int] = {}
        seen = Counter[str]()
        for index in indices:
            if identity := self._identities.get(index):
                self._numbers[index] = seen[identity]
                seen[identity] += 1
        self.equal = tuple(every.name(index) for index, number in self._numbers.items() if number)

    def of(self, index: int) -> str:
        """The key of a sample.

        Raises:
            UnreadableSampleError: It is a picture that is not there any more.
        """
        identity = self._identities.get(index) or self._every.identity(index)
        return sample_key(identity, self._numbers.get(index, 0))


def _of_equal_size(every: SampleSet, indices: Sequence[int]) -> list[int]:
    """Those that can be equal to another one."""
    by_size = defaultdict[int, list[int]](list)
    for index in indices:
        by_size[every.size_bytes(index)].append(index)
    return sorted(index for alike in by_size.values() if len(alike) > 1 for index in alike)


def _identities(every: SampleSet, indices: Sequence[int], listener: Listener, stop: Stop) -> dict[int, str]:
    """Index -> identity; "" for what cannot be read: whether that may be left out is decided when it should be run."""

    def identity(index: int) -> str:
        try:
            return every.identity(index)
        except UnreadableSampleError:
            return ""

    found: dict[int, str] = {}
    if not indices:
        return found
    progress = listener.progress("looking for equal samples", len(indices))
    with hearing_by_asking(), ThreadPoolExecutor(cores()) as pool, progress as advance:
        for start in range(0, len(indices), _ROUND):
            insist()
            if start and stop():
                break
            some = indices[start : start + _ROUND]
            found.update(zip(some, pool.map(identity, some), strict=True))
            advance(len(found), len(indices))
    return found
