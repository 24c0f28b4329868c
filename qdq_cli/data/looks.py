"""What pictures look like: how bright they are, and whether they are label maps instead of photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 128
"""Pixels along a side that are looked at, evenly spread."""

_FEW_COLOURS = 64
_MOSTLY_FLAT = 0.75
"""Share of neighbouring pixels that are equal in a picture made of large even areas."""


@dataclass(frozen=True, eq=False)
class Look:
    """What one picture looks like.

    Args:
        levels: Pixel value 0..255 -> how often it is there, over all channels.
        flat: Whether it has few colours in large even areas.
        folder: Where it lies, with the ending of its name; "" for pixels in an array.
    """

    levels: NDArray[np.int64]
    flat: bool
    folder: str


def look_at(image: Image.Image, folder: str = "") -> Look:
    """Look at a decoded picture of mode RGB or L."""
    from PIL import Image

    size = (min(_SIDE, image.width), min(_SIDE, image.height))
    small = image if image.size == size else image.resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(small).reshape(size[1], size[0], -1)
    levels = np.bincount(pixels.reshape(-1), minlength=256)
    return Look(levels, small.getcolors(_FEW_COLOURS) is not None and _evenness(pixels) >= _MOSTLY_FLAT, folder)


def _evenness(pixels: NDArray[np.uint8]) -> float:
    """The share of pixels that equal the next one to the right."""
    if pixels.shape[1] < 2:
        return 1.0
    return float((pixels[:, 1:] == pixels[:, :-1]).all(axis=2).mean())
