from __future__ import annotations

import numpy as np
import pytest

from qdq_cli.config.preprocess import IMAGENET, RAW, UNIT, Overrides
from qdq_cli.data.image_input import (
    assumed_preprocessing,
    choose_preprocessing,
    find_image_input,
    fit_preprocessing,
)
from qdq_cli.process.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("shape", "layout", "sizes", "fed"),
    [
        ((None, 3, 6, 10), "nchw", (6, 10, 3), (1, 3, 6, 10)),
        (("N", 1, 6, 10), "nchw", (6, 10, 1), (1, 1, 6, 10)),
        ((1, 6, 10, 3), "nhwc", (6, 10, 3), (1, 6, 10, 3)),
        ((8, 6, 10, 1), "nhwc", (6, 10, 1), (1, 6, 10, 1)),
        ((3, 6, 10), "nchw", (6, 10, 3), (3, 6, 10)),
        ((6, 10, 3), "nhwc", (6, 10, 3), (6, 10, 3)),
        ((None, 3, 6, 3), "nchw", (6, 3, 3), (1, 3, 6, 3)),
    ],
)
def test_layout_and_size_come_from_the_shape(shape, layout, sizes, fed, spec):
    image = find_image_input([spec("x", shape)])
    assert image.layout == layout
    assert (image.height, image.width, image.channels) == sizes
    assert image.shape == fed


def test_a_chosen_layout_decides_where_both_sides_could_be_channels(spec):
    image = find_image_input([spec("x", (None, 3, 6, 3))], "nhwc")
    assert (image.height, image.width, image.layout) == (3, 6, "nhwc")


@pytest.mark.parametrize(
    ("shape", "option"),
    [
        (("N", 3, "H", "W"), "--input-shape x:1x3x224x224"),
        (("N", 3, 64, "W"), "--input-shape x:1x3x64x224"),
        ((4, 1, "H", "W"), "--input-shape x:4x1x224x224"),
        (("N", "H", "W", 3), "--input-shape x:1x224x224x3"),
        (("N", "C", "H", "W"), "--input-shape x:1x3x224x224"),
        ((3, None, None), "--input-shape x:3x224x224"),
    ],
)
def test_a_dynamic_size_is_answered_with_the_option_to_type(shape, option, spec):
    with pytest.raises(UsageError) as caught:
        find_image_input([spec("x", shape)])
    assert "dynamic" in caught.value.message
    assert option in caught.value.hint


def test_several_inputs_cannot_be_fed_with_images(spec):
    with pytest.raises(DataError) as caught:
        find_image_input([spec("image", (1, 3, 8, 8)), spec("mask", (1, 1, 8, 8))])
    assert "2: 'image', 'mask'" in caught.value.message
    assert ".npz" in caught.value.hint


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((None, 16000), np.float32, "Images do not fit"),
        ((1, 3, 4, 8, 8), np.float32, "Images do not fit"),
        ((1, 3, 8, 8), bool, "Images do not fit"),
        ((1, 65, 88, 88), np.float32, "has 65 where the channels are"),
    ],
)
def test_an_input_without_room_for_a_picture_is_named(shape, dtype, message, spec):
    with pytest.raises(DataError, match=message):
        find_image_input([spec("x", shape, dtype)])


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((None, 3, 8, 8), np.float32, IMAGENET),
        ((None, 3, 8, 8), np.float16, IMAGENET),
        ((None, 8, 8, 1), np.float32, UNIT),
        ((None, 3, 8, 8), np.uint8, RAW),
    ],
)
def test_what_is_assumed_follows_channels_and_type(shape, dtype, expected, spec):
    assumed = assumed_preprocessing(find_image_input([spec("x", shape, dtype)]))
    assert assumed == expected
    assert assumed.assumed
    assert not expected.assumed


def test_choosing_combines_preset_and_overrides(spec):
    specs = [spec("x", (None, 3, 8, 8))]
    assert choose_preprocessing(None, Overrides(), specs) is None
    assert choose_preprocessing("unit", Overrides(), specs) is UNIT
    assert choose_preprocessing("unit", Overrides(mean=(0.5,)), specs) == UNIT.override(Overrides(mean=(0.5,)))
    only = choose_preprocessing(None, Overrides(color="bgr"), specs)
    assert only is not None
    assert only.assumed
    assert only.mean == IMAGENET.mean[::-1]


def test_fitting_settles_color_and_layout(spec):
    color = find_image_input([spec("x", (None, 3, 8, 8))])
    gray = find_image_input([spec("x", (None, 8, 8, 1))])
    assert (fit_preprocessing(UNIT, color).color, fit_preprocessing(UNIT, color).layout) == ("rgb", "nchw")
    assert (fit_preprocessing(UNIT, gray).color, fit_preprocessing(UNIT, gray).layout) == ("gray", "nhwc")


def test_one_channel_takes_no_color_order_and_no_three_constants(spec):
    gray = find_image_input([spec("x", (None, 1, 8, 8))])
    with pytest.raises(UsageError, match=r"color is bgr, but input 'x' .* has one channel"):
        fit_preprocessing(UNIT.override(Overrides(color="bgr")), gray)
    with pytest.raises(UsageError, match="imagenet has 3 values for mean") as caught:
        fit_preprocessing(IMAGENET, gray)
    assert "--preprocess unit" in caught.value.hint


@pytest.mark.parametrize(
    ("dtype", "preprocessing", "fine"),
    [
        (np.uint8, RAW, True),
        (np.int8, RAW, False),
        (np.int8, RAW.override(Overrides(mean=(128.0,))), True),
        (np.uint8, RAW.override(Overrides(mean=(128.0,))), False),
        (np.int32, RAW, True),
        (np.uint8, UNIT, False),
        (np.uint8, RAW.override(Overrides(mean=(0.5,))), False),
    ],
)
def test_an_integer_input_takes_whole_numbers_inside_its_type(dtype, preprocessing, fine, spec):
    image = find_image_input([spec("x", (None, 3, 8, 8), dtype)])
    if fine:
        assert fit_preprocessing(preprocessing, image).scale == (1.0,)
    else:
        with pytest.raises(UsageError, match="holds integers"):
            fit_preprocessing(preprocessing, image)
