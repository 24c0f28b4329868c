"""Samples told apart by how loud an output is, so that those in which it says nothing do not count as error."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from calibrators.metrics import sqnr_of_sums

SILENT_SHARE = 0.01
"""A sample in which nothing reaches this share of the largest value of all samples says next to nothing (-40 dB)."""

_STEPS = 4
"""Classes of loudness in each power of two."""


class Loudness:
    """Running sums of signal and noise by the largest value of a sample; memory does not grow with the samples."""

    def __init__(self) -> None:
        self._classes: dict[int, tuple[int, float, float]] = {}
        self._mute = 0
        self._largest = 0.0

    def observe(self, reference: NDArray[np.generic], other: NDArray[np.generic], samples: int) -> None:
        """Add a pair of outputs; one without its samples on axis 0 is left out.

        Args:
            reference: FP32 output.
            other: That of the quantized model, same shape.
            samples: How many samples both hold.
        """
        if not reference.ndim or reference.shape[0] != samples:
            return
        for one, two in zip(reference, other, strict=True):
            first = np.asarray(one, np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                error = first - np.asarray(two, np.float64)
                self._add(float(np.max(np.abs(first), initial=0.0)), float(np.sum(first**2)), float(np.sum(error**2)))

    def _add(self, largest: float, signal: float, noise: float) -> None:
        if not math.isfinite(largest) or not math.isfinite(signal):
            return
        if largest == 0.0 and noise == 0.0:
            self._mute += 1
            return
        key = math.floor(_STEPS * math.log2(largest)) if largest else -(1 << 20)
        count, signals, noises = self._classes.get(key, (0, 0.0, 0.0))
        self._classes[key] = count + 1, signals + signal, noises + noise
        self._largest = max(self._largest, largest)

    @property
    def samples(self) -> int:
        """How many samples were told apart."""
        return self._mute + sum(count for count, _, _ in self._classes.values())

    @property
    def silent(self) -> int:
        """How many of them are near-silent; 0 where none is loud."""
        return self.samples - sum(count for count, _, _ in self._loud()) if self._largest else 0

    @property
    def sqnr_db(self) -> float | None:
        """SQNR in dB of those that are not; None where no sample is near-silent, or none was told apart."""
        if not self.silent:
            return None
        loud = self._loud()
        return sqnr_of_sums(sum(signal for _, signal, _ in loud), sum(noise for _, _, noise in loud))

    def _loud(self) -> list[tuple[int, float, float]]:
        if not self._largest:
            return []
        least = math.floor(_STEPS * math.log2(SILENT_SHARE * self._largest))
        return [sums for key, sums in self._classes.items() if key >= least]
