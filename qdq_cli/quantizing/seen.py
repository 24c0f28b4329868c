"""What the model saw while it was calibrated: a few of its inputs, as pictures again, for the page of a run.

Pixels are what the preprocessing made them from, y * std + mean over scale, so that a wrong channel order, cut or
padding shows; where arrays were fed, nobody says that, and values are stretched to what can be shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.config.preprocess import PIXEL_MAX, Preprocessing
from qdq_cli.data.images import thumbnail
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.sample import Sample
from qdq_cli.data.selection import spread_evenly
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.screen.page import Section
from qdq_cli.screen.pictures import Picture, Pictures

MOST_PICTURES = 8
_LONGEST_SIDE = 192
_LEAST_SIDE = 4
_MOST_CHANNELS = 64

_INTRO = (
    "What the model was fed, turned back into pictures: colors, cut and padding should look as they did in training."
)


@dataclass(frozen=True)
class _Plane:
    """An input that holds a picture.

    Args:
        spec: The input.
        channels_last: Where its channels are.
    """

    spec: InputSpec
    channels_last: bool

    def pixels_of(self, array: NDArray[np.generic]) -> NDArray[np.float64]:
        """The first picture of what was fed, as [H, W, C]."""
        image = array[0] if array.ndim == 4 else array
        return np.asarray(image if self.channels_last else np.moveaxis(image, 0, -1), np.float64)


def seen_section(samples: Samples | None) -> Section | None:
    """Show some of the samples that calibrated; None where there are none, or no input holds pictures.

    Raises:
        DataError: A sample cannot be read any more.
    """
    if samples is None:
        return None
    planes = [plane for spec in samples.every.specs if (plane := _plane_of(spec, samples)) is not None]
    if not planes:
        return None
    shown = tuple(_pictures(samples, planes))
    return Section("What the model saw", _INTRO, (Pictures(shown),)) if shown else None


def _plane_of(spec: InputSpec, samples: Samples) -> _Plane | None:
    """Tell whether an input holds pictures, by the shape that the first sample gives it."""
    if not samples.selection.calibration or spec.dtype.kind not in "fiuV":
        return None
    shapes = samples.every.shapes(samples.selection.calibration[0])
    shape = dict(zip((each.name for each in samples.every.specs), shapes, strict=True))[spec.name]
    if len(shape) not in (3, 4):
        return None
    first, middle, last = shape[-3:]
    fitted = samples.every.preprocessing
    channels_last = (
        fitted.layout == "nhwc"
        if fitted is not None and fitted.layout != "auto"
        else last < min(first, middle) or (last in (1, 3, 4) and first not in (1, 3, 4))
    )
    channels, sides = (last, (first, middle)) if channels_last else (first, (middle, last))
    return _Plane(spec, channels_last) if channels <= _MOST_CHANNELS and min(sides) >= _LEAST_SIDE else None


def _pictures(samples: Samples, planes: Sequence[_Plane]) -> Iterator[Picture]:
    """Read samples, evenly spread, and make a picture of each plane."""
    chosen = samples.selection.calibration
    places = spread_evenly(len(chosen), max(MOST_PICTURES // len(planes), 1))
    for place in places:
        try:
            sample = samples.every.load(chosen[place])
        except UnreadableSampleError:
            continue  # told, and left out, where it was to calibrate
        for plane in planes[:MOST_PICTURES]:
            yield _picture(sample, plane, samples.every.preprocessing, several=len(planes) > 1)


def _picture(sample: Sample, plane: _Plane, fitted: Preprocessing | None, *, several: bool) -> Picture:
    values = plane.pixels_of(sample.arrays[plane.spec.name])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    channels = values.shape[2]
    fitted = fitted if sample.look is not None else None
    pixels = _pixels(values, fitted)
    content, size = thumbnail(pixels, _LONGEST_SIDE)
    name = PurePath(sample.source).name or sample.source
    details = [f"{low:.3g} to {high:.3g}"]
    details += ["stretched"] if fitted is None and (low < 0 or high > PIXEL_MAX) else []
    details += ["" if channels in (1, 3) else f"channels 1 to {pixels.shape[2]} of {channels}"]
    return Picture(content, size, f"{name}: {plane.spec.name}" if several else name, ", ".join(filter(None, details)))


def _pixels(values: NDArray[np.float64], fitted: Preprocessing | None) -> NDArray[np.uint8]:
    """Turn what was fed into [H, W, 1 or 3] of 8 bits."""
    channels = values.shape[2]
    if fitted is None:
        found = _stretched(values)
    else:
        scale, mean, std = (_spread(each, channels) for each in (fitted.scale, fitted.mean, fitted.std))
        found = (values * std + mean) / scale
    shown = found[:, :, :3] if channels >= 3 else found[:, :, :1]
    if fitted is not None and fitted.color == "bgr":
        shown = shown[:, :, ::-1]
    return np.clip(np.rint(np.nan_to_num(shown)), 0, PIXEL_MAX).astype(np.uint8)


def _spread(constants: Sequence[float], channels: int) -> NDArray[np.float64]:
    """One number for each channel; a plane that other constants were meant for takes the first."""
    return np.asarray(constants if len(constants) == channels else [constants[0]] * channels)


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring values nobody says the units of to 0..255: 0..255 and 0..1 as they are, others from end to end."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high <= PIXEL_MAX:
        return values if high > 1 else values * PIXEL_MAX
    return (values - low) * (PIXEL_MAX / (high - low)) if high > low else np.zeros_like(values)
