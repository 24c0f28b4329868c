"""Excerpts: the same pieces in any order and any share, and back from their bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from calibrators import CacheFileError, CalibrationTable, Entry, Histogram, decode_table, encode_table
from calibrators.excerpts import MOST, Excerpts, decode_excerpts
from calibrators.packing import Reader

KEYS = st.lists(st.integers(0, 2**64 - 1), max_size=3 * MOST, unique=True)
PIECES = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=3, max_side=4),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)


def piece_of(key: int) -> np.ndarray:
    return np.random.default_rng(key).normal(size=(1, 2, 3)).astype(np.float32)


def excerpts_of(keys: list[int]) -> Excerpts:
    found = Excerpts()
    for key in keys:
        found.add(key, piece_of(key))
    return found


@given(KEYS, st.randoms(), st.integers(0, 3 * MOST))
def test_order_and_shares_change_nothing(keys: list[int], chance, at: int) -> None:
    together = excerpts_of(keys)
    chance.shuffle(keys)
    merged = excerpts_of(keys[at:])
    merged.merge(excerpts_of(keys[:at]))
    assert merged == together
    assert merged.encoded() == together.encoded()
    assert len(together.pieces) == min(len(keys), MOST)


@given(KEYS)
def test_the_smallest_keys_are_kept(keys: list[int]) -> None:
    assert excerpts_of(keys) == excerpts_of(sorted(keys)[:MOST])


@given(PIECES, st.integers(0, 2**64 - 1))
def test_what_was_written_reads_back_equal(piece: np.ndarray, key: int) -> None:
    found = Excerpts()
    found.add(key, piece)
    data = found.encoded()
    reader = Reader(data, 0, "x")
    again = decode_excerpts(reader)
    reader.finish()
    assert again == found
    assert again.encoded() == data
    (kept,) = found.pieces
    assert np.abs(kept - piece).max() <= np.abs(piece).max() / 1024


def test_two_parts_with_the_same_sample_keep_it_once() -> None:
    one, other = excerpts_of([1, 2]), excerpts_of([2, 3])
    one.merge(other)
    assert one == excerpts_of([1, 2, 3])


def test_a_histogram_carries_them_through_copies_merges_and_files() -> None:
    one, other = Histogram(), Histogram()
    for histogram, key in ((one, 5), (other, 7)):
        histogram.observe(piece_of(key))
        histogram.excerpts.add(key, piece_of(key))
    assert one.copy() == one
    one.merge(other)
    assert one.excerpts == excerpts_of([5, 7])
    table = CalibrationTable(entries={"x": Entry(one), "y": Entry(other.copy())})
    assert decode_table(encode_table(table)) == table


def test_a_table_without_pieces_is_of_an_older_format() -> None:
    histogram = Histogram()
    histogram.observe(piece_of(1))
    before = encode_table(CalibrationTable(entries={"x": Entry(histogram)}))
    histogram.excerpts.add(1, piece_of(1))
    after = encode_table(CalibrationTable(entries={"x": Entry(histogram)}))
    assert (before[8], after[8]) == (1, 5)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda data: data[:-1], "ends in the middle"),
        (lambda data: b"\x02" + data[1:] + data[1:], "not in order"),
        (lambda data: data[:-2] + np.float16(np.nan).tobytes(), "values that none can have"),
        (lambda data: data[:-2] + np.float16(1.5).tobytes(), "values that none can have"),
        (lambda data: bytes([MOST + 1]) + data[1:], "number of pieces"),
    ],
)
def test_broken_pieces_are_refused(damage, found: str) -> None:
    with pytest.raises(CacheFileError, match=found):
        decode_excerpts(Reader(damage(excerpts_of([9]).encoded()), 0, "x"))
