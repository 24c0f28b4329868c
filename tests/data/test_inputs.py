from __future__ import annotations

import pytest

from qdq_cli.data.inputs import BatchAxis, batch_axis, parse_input_shapes, with_shapes
from qdq_cli.data.shapes import fits, option_text, shape_text
from qdq_cli.process.errors import UsageError


def test_shapes_read_back_as_text():
    assert shape_text((None, 3, "H", 224)) == "[?, 3, H, 224]"
    assert shape_text(()) == "[]"
    assert option_text("in:0", (1, 3, None)) == "--input-shape in:0:1x3x?"


@pytest.mark.parametrize(
    ("shape", "declared", "expected"),
    [
        ((2, 3), (None, 3), True),
        ((2, 3), ("N", "M"), True),
        ((2, 4), (None, 3), False),
        ((3,), (None, 3), False),
        ((), (), True),
    ],
)
def test_fits_compares_rank_and_static_dimensions(shape, declared, expected):
    assert fits(shape, declared) is expected


def test_input_shape_splits_at_the_last_colon(spec):
    specs = (spec("serving:image:0", ("N", 3, "H", "W")), spec("x", ("N", 4)))
    shapes = parse_input_shapes(["serving:image:0:1x3x32X48"], specs)
    assert shapes == {"serving:image:0": (1, 3, 32, 48)}


def test_input_shape_needs_no_name_for_a_single_input(spec):
    specs = (spec("x", ("N", 3, "H", "W")),)
    assert parse_input_shapes(["?x3x32x48"], specs) == {"x": (None, 3, 32, 48)}


def test_input_shape_without_a_name_is_refused_for_several_inputs(spec):
    with pytest.raises(UsageError) as caught:
        parse_input_shapes(["1x3"], (spec("a", ("N", 3)), spec("b", ("N", 3))))
    assert "names no input" in caught.value.message
    assert "'a', 'b'" in caught.value.hint


@pytest.mark.parametrize("text", ["x:1x3x", "x:axb", "x:", "", "x:0x3", "x:-1x3", "x:1.5x3"])
def test_a_text_that_is_no_shape_is_refused(text, spec):
    with pytest.raises(UsageError, match="is not a shape"):
        parse_input_shapes([text], (spec("x", ("N", 3)),))


def test_two_shapes_for_one_input_are_refused(spec):
    with pytest.raises(UsageError, match="two shapes"):
        parse_input_shapes(["x:1x3", "1x4"], (spec("x", ("N", None)),))


def test_a_name_that_is_no_input_gets_the_nearest(spec):
    with pytest.raises(UsageError) as caught:
        parse_input_shapes(["imges:1x3"], (spec("images", ("N", 3)),))
    assert caught.value.hint == "Did you mean 'images'?"
    with pytest.raises(UsageError, match="no input"):
        with_shapes((spec("images", ("N", 3)),), {"y": (1, 3)})


def test_chosen_sizes_replace_dynamic_dimensions_only_there(spec):
    other = spec("y", (None, 4))
    image, same = with_shapes((spec("x", (2, 3, "H", "W")), other), {"x": (2, 3, None, 48)})
    assert image.shape == (2, 3, "H", 48)
    assert same is other


def test_a_size_of_one_leaves_the_batch_axis_dynamic(spec):
    (image,) = with_shapes((spec("x", ("N", 3, "H", "W")),), {"x": (1, 3, 32, 48)})
    assert image.shape == ("N", 3, 32, 48)
    (fixed,) = with_shapes((spec("x", ("N", 3, "H", "W")),), {"x": (8, 3, 32, 48)})
    assert fixed.shape == (8, 3, 32, 48)


@pytest.mark.parametrize("shape", [(1, 1, 32, 48), (1, 3, 32), (1, 3, 32, 48, 1)])
def test_a_shape_against_the_model_shows_both_and_an_example(shape, spec):
    with pytest.raises(UsageError) as caught:
        with_shapes((spec("x", ("N", 3, "H", "W")),), {"x": shape})
    assert shape_text(shape) in caught.value.message
    assert "[N, 3, H, W]" in caught.value.message
    assert "--input-shape x:1x3x32x" in caught.value.hint


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([("N", 3)], BatchAxis(None)),
        ([(None, 3)], BatchAxis(None)),
        ([("N", 3), ("N", 4)], BatchAxis(None)),
        ([("N", 3), (None, 4)], BatchAxis(None)),
        ([("N", 3), ("boxes", 4)], BatchAxis(1, stacked=False)),
        ([(8, 3), (8, 4)], BatchAxis(8)),
        ([(1, 3)], BatchAxis(1)),
        ([(8, 3), (4, 4)], BatchAxis(1, stacked=False)),
        ([(None, None), (2, None, 128), ()], BatchAxis(1, stacked=False)),
        ([(None, 3), (2, 4)], BatchAxis(1, stacked=False)),
    ],
)
def test_the_batch_axis_is_shared_by_all_inputs(shapes, expected, spec):
    assert batch_axis([spec(f"i{k}", shape) for k, shape in enumerate(shapes)]) == expected
