from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.config.preprocess import IMAGENET, PRESETS, RAW, SIGNED, UNIT, Overrides, Preprocessing
from qdq_cli.process.errors import UsageError


def test_presets_cover_the_ranges_they_are_named_for():
    assert UNIT.value_range() == (0, 1)
    assert SIGNED.value_range() == (-1, 1)
    assert RAW.value_range() == (0, 255)
    assert IMAGENET.value_range() == pytest.approx((-0.485 / 0.229, (1 - 0.406) / 0.225))
    assert list(PRESETS)[:4] == ["imagenet", "unit", "signed", "raw"]


def test_override_replaces_what_is_given_and_says_so_in_the_name():
    changed = UNIT.override(Overrides(mean=(0.5,), resize="pad"))
    assert (changed.mean, changed.resize, changed.scale) == ((0.5,), "pad", UNIT.scale)
    assert changed.name == "unit+mean+resize"


def test_overriding_nothing_changes_nothing():
    assert IMAGENET.override(Overrides()) is IMAGENET


def test_an_assumed_preprocessing_stays_assumed_when_overridden():
    assert replace(UNIT, assumed=True).override(Overrides(mean=(0.5,))).assumed


def test_changing_rgb_to_bgr_reverses_the_constants_that_are_kept():
    bgr = IMAGENET.override(Overrides(color="bgr", std=(1.0, 2.0, 3.0)))
    assert bgr.mean == (0.406, 0.456, 0.485)
    assert bgr.std == (1.0, 2.0, 3.0)
    back = bgr.override(Overrides(color="rgb"))
    assert (back.mean, back.std) == (IMAGENET.mean, (3.0, 2.0, 1.0))
    assert bgr.override(Overrides(color="bgr")).mean == bgr.mean


def test_a_crop_share_given_later_replaces_the_shorter_side():
    first = IMAGENET.override(Overrides(shorter=256))
    assert first.override(Overrides(crop=0.9)).shorter is None


@pytest.mark.parametrize(
    "changes",
    [
        Overrides(mean=()),
        Overrides(std=(0.0,)),
        Overrides(std=(1.0, -1.0, 1.0)),
        Overrides(scale=(0.0,)),
        Overrides(fill=(256.0,)),
        Overrides(fill=(0.5,)),
        Overrides(crop=1.1),
        Overrides(crop=0.0),
        Overrides(shorter=0),
    ],
)
def test_values_without_a_meaning_are_refused_by_name(changes):
    (name,) = changes.given()
    with pytest.raises(UsageError, match=f"Preprocessing {name} "):
        RAW.override(changes)


def test_what_is_no_number_is_refused_at_once():
    with pytest.raises(UsageError, match="Preprocessing mean holds nan; expected"):
        Overrides(mean=(float("nan"),))


def test_a_word_that_is_no_choice_is_refused():
    with pytest.raises(UsageError, match="resize is 'squash'; expected stretch, crop or pad"):
        Preprocessing(resize="squash")


def test_a_mean_in_other_units_than_the_scaled_pixels_is_refused():
    with pytest.raises(UsageError, match=r"mean 123\.675 lies outside of the scaled pixels") as caught:
        IMAGENET.override(Overrides(mean=(123.675, 116.28, 103.53)))
    assert "raw" in caught.value.hint
    assert RAW.override(Overrides(mean=(123.675, 116.28, 103.53))).mean[0] == 123.675


def test_an_inverting_scale_is_fine():
    inverted = Preprocessing(scale=(-1 / 255,), mean=(-1.0,))
    assert inverted.value_range() == (0, 1)


@pytest.mark.parametrize(
    ("preprocessing", "words"),
    [
        (IMAGENET, "imagenet: auto, crop 87.5 % bilinear, (x * 1/255 - [0.485 0.456 0.406]) / [0.229 0.224 0.225]"),
        (RAW, "raw: auto, stretch bilinear, x, values 0 to 255, layout auto"),
        (replace(RAW, resize="pad", position="topleft"), "pad topleft with 114 bilinear"),
        (replace(RAW, resize="crop", shorter=256), "crop from shorter side 256 bilinear"),
        (replace(RAW, scale=(2 / 255,), mean=(1.0, 1.0, 1.0)), "x * 2/255 - 1, values -1 to 1"),
    ],
)
def test_describe_says_it_in_one_line(preprocessing, words):
    assert words in preprocessing.describe()
    assert "\n" not in preprocessing.describe()


@given(st.floats(0.01, 10), st.floats(0, 1), st.floats(0.01, 10))
def test_value_range_is_reached_by_black_and_white(scale, share, std):
    record = Preprocessing(scale=(scale,), mean=(share * 255 * scale,), std=(std,))
    low, high = record.value_range()
    assert low == (0 - record.mean[0]) / std
    assert high == (255 * scale - record.mean[0]) / std
    assert low <= 0 <= high + 1e-9
