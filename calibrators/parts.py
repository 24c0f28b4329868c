"""Tensors of one scale of which one is a part of another, each counted by its own energy.

One range serves all of them. Where it is chosen by the squared error of all values together, the small values of a part
count for nothing beside the large ones of the whole, and what reads the part alone reads noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibrators.histogram import Histogram

PARTS = "parts"
"""What such a group is judged by."""

_MOST = 1 << 50
"""Values that the result holds at most."""


def merged_alike(histograms: Sequence[Histogram]) -> Histogram:
    """Return a histogram of all, in which an error counts by the energy of the tensor it is made in.

    So the range with the smallest squared error on it has the smallest sum of noise by signal over the tensors.
    """
    energies = [_energy(histogram) for histogram in histograms]
    largest = max(energies, default=0.0)
    counted = [
        (histogram, largest / energy) for histogram, energy in zip(histograms, energies, strict=True) if energy > 0
    ]
    total = sum(histogram.count * weight for histogram, weight in counted)
    together = Histogram()
    for histogram, weight in counted:
        together.merge(_weighed(histogram, weight * min(1.0, _MOST / (2 * total))))
    for histogram in () if counted else histograms:
        together.merge(histogram)
    return together


def _energy(histogram: Histogram) -> float:
    counts = histogram.magnitudes().astype(np.float64)
    middles = (np.arange(counts.size) + 0.5) * (np.arange(counts.size) > 0)
    return float(np.dot(counts, np.square(middles)) * histogram.bin_width**2)


def _weighed(histogram: Histogram, weight: float) -> Histogram:
    """The histogram with every count times a weight; what was seen stays seen."""
    _, counts = histogram.occupied()
    scaled: NDArray[np.int64] = np.ceil(counts * weight).astype(np.int64)
    if scaled.size == 1 and histogram.minimum != histogram.maximum:
        scaled = np.maximum(scaled, 2)
    return Histogram.from_occupied(histogram.minimum, histogram.maximum, scaled)
