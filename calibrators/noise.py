"""How much of an output is quantization noise: the noise-to-signal ratio, channel by channel, added up pair by pair."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrators.errors import NoDataError, ParameterError

_PORTION = 1 << 20  # elements converted to float64 at a time


class ChannelNoise:
    """Running sums of one output's noise and signal, one of each a channel; memory does not grow with the pairs.

    Small independent errors add up in this measure: the ratio of two layers quantized together is about the sum of
    theirs. Channels count alike, so that boxes in pixels do not outvote scores between 0 and 1.

    Args:
        axis: The channel axis; None for one ratio over all elements.
    """

    def __init__(self, axis: int | None = None) -> None:
        self._axis = axis
        self._noise: NDArray[np.float64] = np.zeros(1)
        self._signal: NDArray[np.float64] = np.zeros(1)
        self._empty = True

    def observe(self, reference: ArrayLike, other: ArrayLike) -> None:
        """Add a pair of outputs.

        Args:
            reference: FP32 output; any shape that has the channel axis.
            other: QDQ output of the same shape.

        Raises:
            ParameterError: The shapes differ, or the number of channels does from the pairs before.
        """
        one, two = np.asarray(reference), np.asarray(other)
        channels = 1 if self._axis is None else one.shape[self._axis]
        if one.shape != two.shape or (not self._empty and channels != self._noise.size):
            raise ParameterError(f"Outputs of shapes {one.shape} and {two.shape} cannot be compared.")
        if self._empty:
            self._noise, self._signal, self._empty = np.zeros(channels), np.zeros(channels), False
        for first, second in _portions(self._by_channel(one), self._by_channel(two)):
            self._noise += _squares(first - second)
            self._signal += _squares(first)

    @property
    def noise(self) -> NDArray[np.float64]:
        """Sum (reference - other)**2 of each channel, shape (channels,); NaN and Inf where values were."""
        return self._noise.copy()

    @property
    def signal(self) -> NDArray[np.float64]:
        """Sum reference**2 of each channel, shape (channels,)."""
        return self._signal.copy()

    @property
    def ratio(self) -> float:
        """Mean over the channels of sum (reference - other)**2 / sum reference**2, each at most 1; 0 where equal.

        Raises:
            NoDataError: Nothing was compared.
        """
        if self._empty:
            raise NoDataError("No outputs were compared, so there is no noise to report.")
        drowned = ~(self._noise < self._signal)  # NaN counts as noise
        ratio = np.where(drowned, self._noise != 0, self._noise / np.where(drowned, 1.0, self._signal))
        return float(ratio.mean()) if ratio.size else 0.0

    def _by_channel(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The elements of each channel as a row."""
        if self._axis is None:
            return array.reshape(1, -1)
        return np.moveaxis(array, self._axis, 0).reshape(array.shape[self._axis], -1)


def _portions(
    one: NDArray[np.generic], two: NDArray[np.generic]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    width = max(1, _PORTION // max(1, one.shape[0]))
    for start in range(0, one.shape[1], width):
        part = np.s_[:, start : start + width]
        yield one[part].astype(np.float64), two[part].astype(np.float64)


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.einsum("ij,ij->i", rows, rows)
    return found
