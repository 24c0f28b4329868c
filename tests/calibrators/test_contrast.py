"""Outputs of many places: what all of them say alike is no signal, whatever the order and the portions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrators.contrast import ContrastNoise, has_places


@pytest.mark.parametrize(
    ("shape", "places"),
    [((1, 3549, 8), True), ((1, 3549, 85), False), ((2, 4, 4420), True), ((1, 68, 18), False),
     ((1, 3, 64, 64), False), ((9, 400), False), ((1, 0, 50), False)],
)  # fmt: skip
def test_places_are_many_and_their_numbers_few(shape: tuple[int, ...], places: bool):
    assert has_places(np.zeros(shape, np.float32)) == places
    assert not has_places(np.zeros(shape, np.int64))


def detector(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of 500 places in 3 samples, 5 of which find something, and the same with 4 of these lost."""
    reference = np.zeros((3, 500, 2), np.float32) + np.float32([0.99, 0.01])
    found = np.random.default_rng(seed).choice(500, 5, replace=False)
    reference[:, found] = [0.1, 0.9]
    other = reference.copy()
    other[:, found[:4]] = [0.99, 0.01]
    return reference, other


def test_what_is_found_decides_and_not_what_all_places_say():
    reference, other = detector()
    noise = ContrastNoise()
    assert noise.sqnr_db is None
    noise.observe(reference, other)
    whole = 10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum())
    assert whole > 15
    variance = reference.reshape(-1, 2).var(axis=0)
    errors = ((reference - other) ** 2).reshape(-1, 2).mean(axis=0)
    assert noise.sqnr_db == pytest.approx(-10 * np.log10((errors / variance).mean()), abs=1e-3)
    assert noise.sqnr_db < 1.1


@given(st.integers(0, 2**16), st.booleans(), st.floats(-1000, 1000))
def test_portions_the_order_of_axes_and_what_is_added_everywhere_do_not_matter(seed: int, turned: bool, added: float):
    reference, other = (array.astype(np.float64) + added for array in detector(seed))
    whole, parts = ContrastNoise(), ContrastNoise()
    whole.observe(*detector(seed))
    for one, two in zip(reference, other, strict=True):
        pair = (array[None].transpose(0, 2, 1) if turned else array[None] for array in (one, two))
        parts.observe(*pair)
    assert parts.sqnr_db == pytest.approx(whole.sqnr_db, abs=1e-3)


def test_equal_outputs_and_numbers_that_never_change():
    reference, _ = detector()
    noise = ContrastNoise()
    noise.observe(reference, reference)
    assert noise.sqnr_db == 200
    constant = ContrastNoise()
    constant.observe(np.ones((1, 100, 2)), np.zeros((1, 100, 2)))
    assert constant.sqnr_db is None
    reference[..., 0] = 1.0
    other = reference.copy()
    other[..., 0] = 0.0
    half = ContrastNoise()
    half.observe(reference, other)
    assert half.sqnr_db == 200, "the constant number is left out"


def test_another_number_of_numbers_is_left_out_and_nan_says_nothing():
    reference, other = detector()
    noise = ContrastNoise()
    noise.observe(reference, other)
    before = noise.sqnr_db
    noise.observe(np.zeros((1, 500, 3)), np.ones((1, 500, 3)))
    assert noise.sqnr_db == before
    noise.observe(reference, np.full_like(reference, np.nan))
    assert noise.sqnr_db is None
