from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.data.selection import Selection, select, spread_evenly
from qdq_cli.process.errors import DataError, UsageError

totals = st.integers(0, 3000)
seeds = st.none() | st.integers(0, 2**32)
hold_backs = st.integers(0, 100)


@st.composite
def requests(draw):
    total = draw(totals)
    samples = draw(st.none() | st.integers(1, total)) if total else None
    return total, samples, draw(seeds)


@given(requests(), hold_backs)
def test_both_lists_are_ascending_disjoint_and_inside(request_, hold_back):
    total, samples, seed = request_
    chosen = select(total, samples, seed, hold_back)
    every = chosen.calibration + chosen.held_back
    assert list(chosen.calibration) == sorted(set(chosen.calibration))
    assert list(chosen.held_back) == sorted(set(chosen.held_back))
    assert len(set(every)) == len(every)
    assert all(0 <= index < total for index in every)
    assert len(chosen.held_back) <= hold_back


@given(requests(), hold_backs)
def test_nothing_is_held_back_that_verification_does_not_use(request_, hold_back):
    total, samples, seed = request_
    chosen = select(total, samples, seed, hold_back)
    if samples is None and hold_back == 0:
        assert len(chosen.calibration) == min(512, total)
    unused = total - len(chosen.calibration) - len(chosen.held_back)
    assert unused == 0 or len(chosen.calibration) == (samples or 512)


@given(requests(), hold_backs, hold_backs)
def test_with_a_number_calibration_does_not_depend_on_verification(request_, one, other):
    total, samples, seed = request_
    if samples is not None:
        assert select(total, samples, seed, one).calibration == select(total, samples, seed, other).calibration


@given(totals, seeds, hold_backs, st.integers(1, 2000))
def test_whole_runs_are_held_back(total, seed, hold_back, run):
    chosen = select(total, None, seed, hold_back, run)
    free = total - len(chosen.calibration)
    assert len(chosen.calibration) >= min(run, total)
    if free < run:
        assert len(chosen.calibration) % run == 0 or not chosen.held_back
    if hold_back and run <= total // 8:
        assert len(chosen.held_back) >= run


@pytest.mark.parametrize(
    ("total", "run", "calibration", "held_back"),
    [(10, 10, 10, 0), (20, 10, 20, 0), (80, 10, 70, 10), (160, 10, 150, 10), (1024, 1024, 1024, 0), (100, 48, 100, 0)],
)
def test_known_numbers_of_whole_runs(total, run, calibration, held_back):
    chosen = select(total, run=run)
    assert (len(chosen.calibration), len(chosen.held_back)) == (calibration, held_back)


@pytest.mark.parametrize("seed", [None, 0])
def test_memory_depends_on_what_is_chosen(seed):
    """Of 2**40 samples, whose list would not fit into any memory."""
    chosen = select(1 << 40, 8, seed, 4)
    assert (len(chosen.calibration), len(chosen.held_back)) == (8, 4)
    assert max(chosen.calibration + chosen.held_back) > 1 << 38


def test_more_samples_than_can_be_counted_are_refused():
    with pytest.raises(DataError, match="at most 1,048,576"):
        select(1 << 30, 1 << 21)


@given(requests(), hold_backs)
def test_an_explicit_number_calibrates_exactly_that_many(request_, hold_back):
    total, samples, seed = request_
    chosen = select(total, samples, seed, hold_back)
    if samples is not None:
        assert len(chosen.calibration) == samples
        assert len(chosen.held_back) == min(hold_back, total - samples)


@given(totals, seeds)
def test_by_default_at_most_512_calibrate_and_an_eighth_is_reserved(total, seed):
    chosen = select(total, None, seed)
    reserve = min(16, total // 8)
    assert len(chosen.calibration) == min(512, total - reserve)
    assert len(chosen.held_back) == min(16, total - len(chosen.calibration))
    assert len(chosen.held_back) >= reserve


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_even_spreading_leaves_no_part_of_the_list_out(total, count):
    indices = spread_evenly(total, count)
    assert len(indices) == min(count, total)
    edges = [-1, *indices, total]
    gaps = [after - before for before, after in itertools.pairwise(edges)]
    assert min(gaps) >= 1
    assert max(gaps) <= -(-total // len(indices)) + 1


@given(requests())
def test_a_seed_draws_the_same_again(request_):
    assert select(*request_) == select(*request_)


def test_seeds_differ_and_differ_from_spreading():
    chosen = {select(1000, 50, seed).calibration for seed in (None, 0, 1, 2)}
    assert len(chosen) == 4


def test_known_selections():
    assert select(5) == Selection((0, 1, 2, 3, 4), ())
    assert select(8) == Selection((0, 1, 2, 3, 5, 6, 7), (4,))
    assert select(10, 2, hold_back=3) == Selection((2, 7), (1, 5, 8))
    assert select(3, 3) == Selection((0, 1, 2), ())
    assert select(0) == Selection((), ())


@pytest.mark.parametrize(("total", "calibration", "held_back"), [(520, 504, 16), (528, 512, 16), (10_000, 512, 16)])
def test_totals_around_the_default(total, calibration, held_back):
    chosen = select(total)
    assert (len(chosen.calibration), len(chosen.held_back)) == (calibration, held_back)


@pytest.mark.parametrize(
    ("samples", "seed", "hold_back"), [(0, None, 16), (-1, None, 1), (None, -1, 1), (None, None, -1)]
)
def test_numbers_out_of_range_are_refused(samples, seed, hold_back):
    with pytest.raises(UsageError):
        select(10, samples, seed, hold_back)


@given(totals, st.integers(1, 5000), seeds, hold_backs, st.integers(1, 40))
def test_more_than_there_are_is_all_of_them(total, more, seed, hold_back, run):
    """But for as many as the default holds back."""
    chosen = select(total, total + more, seed, hold_back, run)
    assert sorted(chosen.calibration + chosen.held_back) == list(range(total))
    assert len(chosen.held_back) == (
        max(min(hold_back, 16, total // 8) // run, 1) * run if hold_back and run <= total // 8 else 0
    )
