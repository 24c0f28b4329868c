"""Whether samples are fit to calibrate on, by what they held: a constant input is refused, the rest is doubted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qdq_cli.config.preprocess import PIXEL_MAX, Preprocessing
from qdq_cli.data.doubts import ENOUGH_SAMPLES, Doubt
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.values import Folder, InputValues, SampleValues
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import some_of

_NEARLY_ALL = 0.999
_CORNER = 0.25
"""Share of the range that nearly all pixels, or the values of arrays nobody described, have to exceed."""

_HALF = 0.5
"""Share of a known range that the smallest and the largest value have to span."""

_SOME_FLAT, _ALL_FLAT = 0.1, 0.9
_UNIT_MAX = 1.0
_LIKE_OTHERS = "Give samples like those the model will meet"


@dataclass(frozen=True)
class Expected:
    """The values an input is known to take.

    Args:
        low, high: The smallest and the largest.
        why: Who says so, in words that end "..., but WHY 0 to 255".
    """

    low: float
    high: float
    why: str


def require_variety(found: SampleValues) -> None:
    """Refuse samples of which no input varies.

    An input may well be the same in all samples, such as a sampling rate, a state of zeros or a mask of ones, as long
    as another one varies.

    Raises:
        DataError: Every input is the same in all samples; names the largest.
    """
    constant = _constant(found)
    if not constant or len(constant) < len(found.inputs):
        return
    name = max(constant, key=lambda each: found.inputs[each].size)
    samples = "the only sample" if found.samples == 1 else f"all {found.samples:,} samples"
    what = _value_text(found.inputs[name])
    many = "" if len(constant) == 1 else ", and no other input varies either"
    raise DataError(
        f"Input '{name}' {what} in {samples}{many}: there is nothing to calibrate on.",
        f"{_LIKE_OTHERS}, and check what wrote these.",
    )


@dataclass(frozen=True)
class Expectations:
    """What is known of the values a model's inputs take.

    Args:
        specs: The inputs.
        expected: Input name -> its values, for some of them.
    """

    specs: tuple[InputSpec, ...] = ()
    expected: Mapping[str, Expected] = field(default_factory=dict)

    def doubts(self, found: SampleValues) -> tuple[Doubt, ...]:
        """Doubt samples whose values do not look like those the model meets.

        Raises:
            DataError: Every input is the same in all samples.
        """
        require_variety(found)
        dark = _about_pixels(found.levels)
        corners = () if dark else (_about_input(spec, found, self.expected.get(spec.name)) for spec in self.specs)
        about_inputs = [doubt for doubts in corners for doubt in doubts]
        return (*_about_constants(found), *_about_label_maps(found.folders), *dark, *about_inputs)


def constant_note(found: SampleValues) -> str:
    """One sentence on the inputs that are the same in all samples while others vary, or ""."""
    constant = _constant(found)
    if found.samples < 2 or not constant or len(constant) == len(found.inputs):
        return ""
    return f"The same in all {found.samples:,} samples: {some_of([f'{name}' for name in constant])}."


def preprocessing_expected(preprocessing: Preprocessing) -> Expected:
    """The values that a preprocessing makes of pixels."""
    low, high = preprocessing.value_range()
    return Expected(low, high, f"the preprocessing {preprocessing.name} makes values of")


def _constant(found: SampleValues) -> list[str]:
    return [name for name, values in found.inputs.items() if values.is_constant(found.samples)]


def _value_text(values: InputValues) -> str:
    if values.is_one_value:
        return f"holds nothing but {values.low:.6g}"
    return "is the same" if values.size else "holds no values"


def _about_constants(found: SampleValues) -> tuple[Doubt, ...]:
    """Doubt samples that differ in single numbers alone, such as a length, while every larger input is the same."""
    large = [name for name, values in found.inputs.items() if values.size > 1]
    constant = _constant(found)
    if not large or not set(large) <= set(constant):
        return ()
    name = max(large, key=lambda each: found.inputs[each].size)
    return (
        Doubt(
            f"Input '{name}' {_value_text(found.inputs[name])} in all {found.samples:,} samples; only single numbers "
            "of other inputs vary.",
            f"{_LIKE_OTHERS}.",
        ),
    )


def _about_pixels(levels: NDArray[np.int64]) -> tuple[Doubt, ...]:
    """Doubt pictures that are all dark, all bright, or numbers of classes."""
    if not levels.any():
        return ()
    present = np.flatnonzero(levels)
    low, high = int(present[0]), int(present[-1])
    if high - low >= _HALF * PIXEL_MAX:
        low, high = _narrowest(levels, _NEARLY_ALL)
        if high - low >= _CORNER * PIXEL_MAX:
            return ()
    return (
        Doubt(
            f"Nearly all pixels of the pictures lie between {low} and {high} of 0 to 255: the ranges would fit such "
            "pictures alone.",
            f"{_LIKE_OTHERS}; numbers of classes (label maps) are no pictures.",
        ),
    )


def _narrowest(levels: NDArray[np.int64], share: float) -> tuple[int, int]:
    """The narrowest interval of pixel values that holds a share of the pixels."""
    sums = np.concatenate([[0], np.cumsum(levels)])
    ends = np.searchsorted(sums, sums[:-1] + share * sums[-1])  # the first end that takes in enough, for every start
    widths = np.where(ends < len(sums), ends - np.arange(len(levels)), len(sums))
    start = int(np.argmin(widths))
    return start, int(ends[start]) - 1


def _about_input(spec: InputSpec, found: SampleValues, expected: Expected | None) -> tuple[Doubt, ...]:
    """Doubt an input whose values span less than it is known, or looks, to take."""
    values = found.inputs.get(spec.name)
    if values is None or values.low >= values.high:
        return ()
    least = _HALF
    if expected is None and not found.levels.any():  # pictures were looked at before they were shrunk
        expected, least = _guess(spec, values, found.samples), _CORNER
    if expected is None or values.high - values.low >= least * (expected.high - expected.low):
        return ()
    return (
        Doubt(
            f"Input '{spec.name}' holds values {values.low:.4g} to {values.high:.4g} alone, but {expected.why} "
            f"{expected.low:.4g} to {expected.high:.4g}.",
            f"{_LIKE_OTHERS}, scaled as it takes them.",
        ),
    )


def _guess(spec: InputSpec, values: InputValues, samples: int) -> Expected | None:
    """What arrays that look like colour pictures would take: 0 to 255 where all are whole numbers, else 0 to 1."""
    if spec.rank not in (3, 4) or 3 not in (spec.shape[-1], spec.shape[-3]) or values.low < 0:
        return None
    if samples < ENOUGH_SAMPLES or spec.dtype.kind not in "fu":
        return None
    if values.whole and values.high > _UNIT_MAX:
        return Expected(0, PIXEL_MAX, "pictures usually reach from")
    return Expected(0, _UNIT_MAX, "pictures usually reach from")


def _about_label_maps(folders: Mapping[str, Folder]) -> tuple[Doubt, ...]:
    """Doubt folders that hold nothing but pictures of few colours beside folders that hold others."""
    total = sum(folder.pictures for folder in folders.values())
    flat = [name for name, each in folders.items() if each.flat >= _ALL_FLAT * each.pictures]
    others = [name for name, each in folders.items() if each.flat <= _SOME_FLAT * each.pictures]
    count = sum(folders[name].pictures for name in flat)
    if not flat or not others or count < max(2, _SOME_FLAT * total):
        return ()
    return (
        Doubt(
            f"{count} of the {total} pictures look like label maps: few colours in even areas, unlike the others. They "
            f"are {some_of(sorted(flat))}.",
            "Give a folder of pictures alone, or leave these out.",
        ),
    )
