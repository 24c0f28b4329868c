"""Outputs that are pictures, and how far their quantized form is from them in the measure of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LEAST_SIDE = 16
"""Outputs with fewer rows or columns are maps, not pictures."""

_EQUAL_DB = 200.0


def is_picture(output: NDArray[np.generic], inputs: Iterable[NDArray[np.generic]]) -> bool:
    """Say whether an output is a picture made of a picture: as many colours (one or three), and no smaller.

    Args:
        output: Any shape; pictures are [N, C, H, W].
        inputs: What the model was fed.
    """
    if output.dtype.kind != "f" or output.ndim != 4 or output.shape[1] not in (1, 3):
        return False
    if min(output.shape[2:]) < _LEAST_SIDE:
        return False
    return any(
        array.ndim == 4
        and array.shape[1] == output.shape[1]
        and all(made >= fed for made, fed in zip(output.shape[2:], array.shape[2:], strict=True))
        for array in inputs
    )


class PictureNoise:
    """Running peak signal to noise ratio of pictures; memory does not grow with them."""

    def __init__(self) -> None:
        self._low, self._high = math.inf, -math.inf
        self._noise, self._count = 0.0, 0

    def observe(self, reference: ArrayLike, other: ArrayLike) -> None:
        """Add a pair of pictures of equal shape."""
        one, two = np.asarray(reference, np.float64), np.asarray(other, np.float64)
        self._low, self._high = min(self._low, float(one.min())), max(self._high, float(one.max()))
        self._noise += float(np.sum((one - two) ** 2))
        self._count += one.size

    @property
    def psnr_db(self) -> float | None:
        """10 log10 of the squared range of FP32 over the mean squared error; None without pictures or range."""
        peak = self._high - self._low
        if not self._count or not 0 < peak < math.inf or not math.isfinite(self._noise):
            return None
        if self._noise == 0:
            return _EQUAL_DB
        return round(10 * math.log10(peak * peak * self._count / self._noise), 4)
