"""What a step of recovery wants to change, and the judge that lets it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from calibrators import Range
from qdq_cli.judging.candidate import Candidate
from qdq_cli.judging.race import Race
from qdq_cli.judging.trials import Trials

_MARGIN = 0.002
"""Share of the noise that a change has to save: less is what happens to come out on these samples."""

_LEAST_BATCHES = 8
"""With so many batches a change may be given up before all of them have run."""

_SPLITS = 2
"""How often a group that does not help is halved: at most seven runs of the judge for each step and portion."""


@dataclass(frozen=True)
class Change:
    """New ranges and constants for one layer or tensor, which stay together.

    Args:
        where: The node or tensor it is for.
        ranges: Scale group -> range.
        weight_ranges: Weight -> amax a scale.
        weights: Initializer -> new values.
        biases: Weighted node -> new bias.
    """

    where: str
    ranges: Mapping[int, Range] = field(default_factory=dict)
    weight_ranges: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    biases: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def changed(candidate: Candidate, changes: Iterable[Change]) -> Candidate:
    """Return the candidate with all of these changes; of two for the same thing the later one holds."""
    ranges = list(candidate.ranges)
    weight_ranges, weights = dict(candidate.weight_ranges), dict(candidate.weights)
    biases = dict(candidate.biases)
    for change in changes:
        for group, kept in change.ranges.items():
            ranges[group] = kept
        weight_ranges |= change.weight_ranges
        weights |= change.weights
        biases |= change.biases
    return replace(candidate, ranges=tuple(ranges), weight_ranges=weight_ranges, weights=weights, biases=biases)


@dataclass(frozen=True)
class Verdict:
    """What became of one change.

    Args:
        where: The node or tensor.
        accepted: Whether it stays.
        before: Noise of the model's outputs without it.
        after: Noise with it, and with the others of its group.
    """

    where: str
    accepted: bool
    before: float
    after: float


class Judge:
    """Holds the best candidate so far, and takes a change only where the measured noise of the outputs falls.

    Args:
        trials: Runs candidates on samples that had no part in the changes.
        candidate: Where to start.
    """

    def __init__(self, trials: Trials, candidate: Candidate) -> None:
        self._trials = trials
        self.candidate = candidate
        self._parts: tuple[float, ...] | None = None
        self.noise = trials.noise(candidate)

    def decide(self, changes: Sequence[Change]) -> list[Verdict]:
        """Try all changes together; where that does not help, halves and quarters: a bad one must not keep all out.

        Together first: what a single layer gains is small against what the rounding of all others happens to do on a
        few samples.
        """
        return self._decide(changes, _SPLITS) if changes else []

    def take(self, candidate: Candidate, noise: float) -> None:
        """Go on with a candidate whose noise was measured before."""
        self.candidate, self.noise, self._parts = candidate, noise, None

    def accepts(self, candidate: Candidate) -> bool:
        """Take a whole other candidate if its noise is lower."""
        return self._accept(candidate)[0]

    def _accept(self, candidate: Candidate) -> tuple[bool, float]:
        race = self._race(candidate)
        if race.noise is None:
            return False, race.ratio * self.noise
        if race.noise < (1 - _MARGIN) * self.noise:
            self.candidate, self.noise, self._parts = candidate, race.noise, race.parts
            return True, race.noise
        return False, race.noise

    def _race(self, candidate: Candidate) -> Race:
        """Run a candidate, as long as it may be better than the best so far."""
        if self._trials.batches < _LEAST_BATCHES:
            noise = self._trials.noise(candidate)
            return Race(noise / self.noise if self.noise else 1.0, noise=noise)
        if self._parts is None:
            self._parts = self._trials.noise_by_batch(self.candidate)
        return self._trials.race(candidate, self._parts, _MARGIN)

    def _decide(self, group: Sequence[Change], splits: int) -> list[Verdict]:
        before = self.noise
        accepted, after = self._accept(changed(self.candidate, group))
        if accepted or len(group) == 1 or not splits:
            return [Verdict(change.where, accepted, before, after) for change in group]
        half = len(group) // 2
        return self._decide(group[:half], splits - 1) + self._decide(group[half:], splits - 1)
