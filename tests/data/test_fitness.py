from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qdq_cli.config.preprocess import RAW, UNIT
from qdq_cli.data.batches import Batch, plan_batches
from qdq_cli.data.fitness import Expectations, Expected, constant_note
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import open_samples
from qdq_cli.data.values import SampleValues
from qdq_cli.process.errors import DataError
from tests.data.loading import load_batch

X = InputSpec("x", np.dtype(np.float32), ("N", 3, 8, 8))
GRAY = InputSpec("x", np.dtype(np.float32), ("N", 1, 8, 8))
RATE = InputSpec("rate", np.dtype(np.int64), ())
STATE = InputSpec("state", np.dtype(np.float32), (2, "N", 4))
MASK = InputSpec("mask", np.dtype(np.float32), ("N", 16))
LENGTH = InputSpec("length", np.dtype(np.int64), ("N",))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def held(tmp_path, specs, *, batch=None, chosen=None, **arrays: np.ndarray) -> SampleValues:
    """What the samples of a .npz held, over all batches."""
    np.savez(tmp_path / "data.npz", **arrays)
    return held_by(open_samples([tmp_path / "data.npz"], specs, chosen), batch)


def held_by(samples, batch=None) -> SampleValues:
    found = SampleValues()
    for group in plan_batches(samples, range(len(samples)), batch).groups:
        found.merge(SampleValues.of(load_batch(samples, group), found.varied))
    return found


def doubts(found: SampleValues, *specs: InputSpec, **expected: Expected) -> list[str]:
    return [str(doubt) for doubt in Expectations(specs, expected).doubts(found)]


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((10, 3, 8, 8), np.float32), "holds nothing but 0 in all 10 samples"),
        (np.full((10, 3, 8, 8), 0.5, np.float32), "holds nothing but 0.5 in all 10 samples"),
        (np.repeat(noise(1, 3, 8, 8), 10, axis=0), "is the same in all 10 samples"),
        (np.zeros((1, 3, 8, 8), np.float32), "holds nothing but 0 in the only sample"),
    ],
)
def test_a_constant_input_is_refused(values, words, batch, tmp_path):
    with pytest.raises(DataError, match=words):
        doubts(held(tmp_path, [X], batch=batch, x=values), X)


def test_one_sample_that_varies_within_is_not_constant(tmp_path):
    assert doubts(held(tmp_path, [X], x=noise(1, 3, 8, 8)), X) == []


def test_a_scalar_input_that_varies_is_all_there_can_be(tmp_path):
    spec = InputSpec("x", np.dtype(np.float32), ("N",))
    assert doubts(held(tmp_path, [spec], x=noise(10)), spec) == []
    with pytest.raises(DataError, match="nothing but 1"):
        doubts(held(tmp_path, [spec], x=np.ones(10, np.float32)), spec)


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        (RATE, np.int64(16000)),
        (STATE, np.zeros((10, 2, 1, 4), np.float32)),
        (MASK, np.ones((10, 16), np.float32)),
        (LENGTH, np.full(10, 16)),
        (InputSpec("text", np.dtype(object), ("N",)), np.array(["a"] * 10)),
        (InputSpec("past", np.dtype(np.float32), ("N", 2, "past", 4)), np.zeros((10, 2, 0, 4), np.float32)),
    ],
)
def test_a_second_input_may_be_constant(spec, values, tmp_path):
    specs = [X, spec]
    found = held(tmp_path, specs, x=noise(10, 3, 8, 8), **{spec.name: values})
    assert doubts(found, *specs) == []
    assert constant_note(found) == f"The same in all 10 samples: {spec.name}."


def test_none_of_several_inputs_may_be(tmp_path):
    found = held(tmp_path, [X, RATE], x=np.zeros((10, 3, 8, 8), np.float32), rate=np.int64(16000))
    with pytest.raises(DataError, match="'x' holds nothing but 0 in all 10 samples, and no other input varies either"):
        doubts(found, X, RATE)


def test_single_numbers_that_vary_are_not_enough(tmp_path):
    found = held(tmp_path, [X, LENGTH], x=np.zeros((10, 3, 8, 8), np.float32), length=np.arange(10))
    (doubt,) = doubts(found, X, LENGTH)
    assert "'x' holds nothing but 0 in all 10 samples; only single numbers of other inputs vary" in doubt


@pytest.mark.parametrize(
    ("values", "expected", "doubted"),
    [
        (np.abs(noise(10, 3, 8, 8)), Expected(0, 255, "the model scales"), True),
        (np.clip(noise(10, 3, 8, 8), 0, 1), Expected(-1, 1, "signed makes"), False),
        (np.clip(np.abs(noise(10, 3, 8, 8)), 0, 0.2), None, True),  # colours of 0..1, all dark
        (np.round(np.abs(noise(10, 3, 8, 8))) * 10, None, True),  # colours of 0..255, all dark
        (noise(10, 3, 8, 8) / 100, None, False),  # nobody knows
        (np.abs(noise(10, 3, 8, 8)) * 100, None, False),
    ],
)
def test_values_in_a_corner_of_what_an_input_takes(values, expected, doubted, tmp_path):
    found = held(tmp_path, [X], x=values.astype(np.float32))
    given = {} if expected is None else {"x": expected}
    assert len(doubts(found, X, **given)) == doubted


def test_one_channel_that_nobody_described_is_no_picture(tmp_path):
    assert doubts(held(tmp_path, [GRAY], x=np.abs(noise(10, 1, 8, 8)) / 100), GRAY) == []


@pytest.fixture
def pictures(tmp_path):
    """Write pictures of 40 x 30 pixels."""

    def write(folder: str, count: int, make) -> None:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = make(np.random.default_rng(number))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / f"{number}.png")

    return write


def photograph(rng, *, most: int = 255, channels: int = 3) -> np.ndarray:
    shape = (5, 6, channels) if channels > 1 else (5, 6)
    coarse = Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8))
    return np.asarray(coarse.resize((40, 30), Image.Resampling.BICUBIC)) * (most / 255)


def label_map(rng) -> np.ndarray:
    return np.kron(rng.integers(0, 12, (3, 4)), np.ones((10, 10)))


def coloured_label_map(rng) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (12, 3))[label_map(rng).astype(int)]


def with_hot_pixels(rng) -> np.ndarray:
    pixels = photograph(rng, most=20).copy()
    pixels[rng.integers(0, 30), rng.integers(0, 40), 0] = 255
    return pixels


@pytest.mark.parametrize(
    ("make", "doubted"),
    [
        (photograph, False),
        (functools.partial(photograph, most=30), True),
        (with_hot_pixels, True),
        (label_map, True),
        (lambda rng: 230 + photograph(rng, most=20), True),
        (lambda rng: 255 * (rng.random((30, 40)) < 0.05), False),  # black ink on white paper, the other way round
    ],
)
def test_pictures_in_a_corner_of_brightness(make, doubted, pictures, tmp_path):
    pictures("all", 10, make)
    found = held_by(open_samples([tmp_path / "all"], [X], UNIT))
    assert len(doubts(found, X)) == doubted


@pytest.mark.parametrize("make", [label_map, coloured_label_map])
def test_label_maps_beside_pictures(make, pictures, tmp_path):
    pictures("data/images", 10, photograph)
    pictures("data/labels", 10, make)
    (doubt,) = doubts(held_by(open_samples([tmp_path / "data"], [X], UNIT)), X)
    assert "10 of the 20 pictures look like label maps" in doubt
    assert "data/labels/*.png" in doubt


def test_pictures_of_few_colours_alone_or_a_few_among_others_are_fine(pictures, tmp_path):
    pictures("drawings", 10, coloured_label_map)
    assert doubts(held_by(open_samples([tmp_path / "drawings"], [X], UNIT)), X) == []
    for folder in range(10):
        pictures(f"classes/{folder}", 4, photograph)
    pictures("classes/logos", 1, coloured_label_map)
    assert doubts(held_by(open_samples([tmp_path / "classes"], [X], UNIT)), X) == []


def test_gray_night_pictures_are_no_label_maps(pictures, tmp_path):
    pictures("all/day", 10, functools.partial(photograph, channels=1))
    pictures("all/night", 10, functools.partial(photograph, channels=1, most=50))
    assert doubts(held_by(open_samples([tmp_path / "all"], [GRAY], UNIT)), GRAY) == []


def test_pixels_in_an_array_are_looked_at_too(tmp_path):
    dark = np.random.default_rng(0).integers(0, 2, (10, 8, 8, 3)).astype(np.uint8)
    (doubt,) = doubts(held(tmp_path, [X], x=dark, chosen=RAW), X)
    assert "between 0 and 1 of 0 to 255" in doubt


@given(st.permutations(range(6)), st.integers(1, 5))
def test_order_and_splitting_do_not_matter(order, cut):
    values = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    parts = [of_rows(values[list(part)]) for part in (order[:cut], order[cut:])]
    parts[0].merge(parts[1])
    whole = of_rows(values)
    assert (parts[0].samples, parts[0].inputs["x"].low, parts[0].inputs["x"].high) == (
        whole.samples,
        whole.inputs["x"].low,
        whole.inputs["x"].high,
    )
    assert parts[0].varied == whole.varied == {"x"}


def of_rows(values: np.ndarray) -> SampleValues:
    return SampleValues.of(Batch({"x": values}, (), len(values)))
