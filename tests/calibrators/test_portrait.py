"""Portraits: what tells two networks apart, and what does not; as part of the calibration cache."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrators import (
    CacheFileError,
    CalibrationTable,
    Entry,
    Histogram,
    ParameterError,
    decode_table,
    encode_table,
    merge_tables,
)
from calibrators.portrait import InputShape, Portrait, Reading, WeightMark, mark_weight, uniform

F = np.float32
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SPANS = st.tuples(st.none() | st.tuples(*[NUMBERS] * 4), st.none() | st.tuples(*[NUMBERS] * 4))
READINGS = st.builds(Reading, st.text(max_size=9), st.text(max_size=9), st.text(max_size=9), SPANS)
INPUTS = st.builds(
    InputShape, st.text(max_size=9), st.sampled_from(["float32", "int64"]),
    st.lists(st.integers(0, 1 << 40), max_size=4).map(tuple), st.booleans(),
)  # fmt: skip
MARKS = st.builds(
    lambda seed, size, rounded: mark_weight(np.random.default_rng(seed).normal(size=size).astype(F), rounded=rounded),
    st.integers(0, 1 << 32), st.integers(2, 99), st.booleans(),
)  # fmt: skip
PORTRAITS = st.builds(
    lambda *parts: Portrait(*map(tuple, parts)),
    st.lists(INPUTS, max_size=3), st.lists(READINGS, max_size=4), st.lists(MARKS, max_size=3),
)  # fmt: skip


@given(PORTRAITS)
def test_a_portrait_comes_back_from_the_file(portrait: Portrait) -> None:
    table = CalibrationTable(portrait=portrait)
    assert decode_table(encode_table(table)) == table


def test_a_table_without_a_portrait_is_the_file_it_always_was() -> None:
    assert encode_table(CalibrationTable())[8] == 1
    assert encode_table(CalibrationTable(portrait=Portrait((), (), ())))[8] == 2


SMALL = Portrait(
    (InputShape("x", "float32", (1, 3), True),),
    (Reading("x", "", "x", ((0.0, 1.0, 0.5, 0.6), None)),),
    (WeightMark(9, "0" * 16, 1.0, (1.0,) * 32, (1,) * 32),),
)


def test_a_broken_portrait_is_refused() -> None:
    body = encode_table(CalibrationTable(portrait=SMALL))[:-32]
    without = len(encode_table(CalibrationTable())) - 32
    for length in range(without, len(body)):
        cut = body[:length]
        with pytest.raises(CacheFileError, match="ends in the middle"):
            decode_table(cut + hashlib.sha256(cut).digest())
    for number in (F(1).tobytes(), F(0.5).tobytes()):
        broken = body.replace(number, F(np.nan).tobytes())
        with pytest.raises(CacheFileError, match="not finite"):
            decode_table(broken + hashlib.sha256(broken).digest())


def test_readings_of_different_samples_are_refused() -> None:
    with pytest.raises(ParameterError, match="different numbers of samples"):
        Portrait((), (Reading("a", "", "a", (None,)), Reading("b", "", "b", ())), ())


def test_tensors_keep_their_portrait_when_they_are_renamed() -> None:
    table = CalibrationTable(entries={"x": Entry(Histogram())}, portrait=SMALL).renamed({"x": "image"})
    assert table.portrait is not None
    assert [(reading.name, reading.source) for reading in table.portrait.readings] == [("image", "image")]


def test_merging_keeps_a_portrait_in_any_order() -> None:
    other = dataclasses.replace(SMALL, weights=())
    tables = [
        ("a", CalibrationTable(portrait=SMALL)),
        ("b", CalibrationTable(portrait=other)),
        ("c", CalibrationTable()),
    ]
    assert merge_tables(tables).portrait == merge_tables(tables[::-1]).portrait
    assert merge_tables(tables).portrait in (SMALL, other)


@given(st.integers(0, 1 << 32), st.integers(2, 3000))
def test_an_exact_mark_does_not_depend_on_order_but_on_every_value(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size).astype(F)
    mark = mark_weight(values, rounded=False)
    assert mark == mark_weight(rng.permutation(values).reshape(size, 1), rounded=False)
    values[rng.integers(size)] = np.nextafter(values[0], F(9))
    assert mark != mark_weight(values, rounded=False)


def folded_elsewhere(values: np.ndarray, seed: int) -> np.ndarray:
    """The same numbers, each with an error of a few roundings."""
    noise = np.random.default_rng(seed).uniform(-2e-7, 2e-7, values.shape)
    return (values.astype(np.float64) * (1 + noise)).astype(F)


@given(st.integers(0, 1 << 32), st.sampled_from([(16,), (16, 3, 3, 3), (64, 8, 3, 3), (32, 1, 3, 3)]))
def test_rounding_is_not_another_weight(seed: int, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(seed).normal(size=shape).astype(F)
    one, other = (mark_weight(array, rounded=True) for array in (values, folded_elsewhere(values, seed)))
    assert one is not None
    assert other is not None
    assert one.is_like(other)
    assert other.is_like(one)


@given(st.integers(0, 1 << 32), st.sampled_from([(16,), (16, 3, 3, 3), (64, 8, 3, 3)]), st.booleans())
def test_a_change_beyond_rounding_is(seed: int, shape: tuple[int, ...], folded: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape).astype(F)
    changed = folded_elsewhere(values, seed) if folded else values.copy()
    changed.reshape(-1)[rng.integers(values.size)] += F(0.001)
    one, other = (mark_weight(array, rounded=True) for array in (values, changed))
    assert one is not None
    assert other is not None
    assert not one.is_like(other)


def test_one_bit_of_one_element_is_another_weight() -> None:
    """No sum shows it, but every other part of the weight is equal to the bit, which rounding does not leave."""
    values = np.random.default_rng(0).normal(size=(64, 32, 3, 3)).astype(F)
    changed = values.copy()
    changed[0, 0, 0, 0] = np.nextafter(changed[0, 0, 0, 0], F(9))
    one, other = (mark_weight(array, rounded=True) for array in (values, changed))
    assert one is not None
    assert other is not None
    assert not one.is_like(other)


@pytest.mark.parametrize("values", [np.zeros((3, 3), F), F([2]), F(2), np.full(7, 0.5, np.float16), np.zeros(0, F)])
def test_constants_that_exporters_write_as_they_like_have_no_mark(values: np.ndarray) -> None:
    assert mark_weight(values, rounded=True) is None


def test_negative_zero_is_zero() -> None:
    assert mark_weight(F([0.0, 1.0]), rounded=True) == mark_weight(F([-0.0, 1.0]), rounded=True)


def test_marks_and_made_up_numbers_do_not_depend_on_the_machine_or_the_release() -> None:
    """Calibration caches hold them; a change here makes portraits that are out there useless."""
    assert (uniform(3, 1) * 2**53).astype(np.int64).tolist() == [158434257800288, 7558173974298929, 1890512876339331]
    mark = mark_weight(np.arange(40, dtype=F).reshape(5, 8), rounded=True)
    assert mark is not None
    assert (mark.exact, mark.parts[:2], mark.sums[:3]) == (
        "b66144628df06f8d",
        (2154543420, 3728714167),
        (-32.0, 32.0, -36.0),
    )
