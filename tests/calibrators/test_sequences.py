"""Sequences of decisions: where their classes are, and that a sequence counts by the step that is closest to change."""

from __future__ import annotations

import numpy as np
import pytest

from calibrators.errors import ParameterError
from calibrators.separation import ScoreNoise, class_axis, some_places

SAMPLES, STEPS, CLASSES = 6, 5, 20


def decided(gap: float = 20.0) -> np.ndarray:
    """Scores [N, steps, classes] of which the best stands out by about a gap."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(SAMPLES, STEPS, CLASSES))
    best = rng.integers(0, CLASSES, (SAMPLES, STEPS, 1))
    np.put_along_axis(scores, best, gap + rng.random((SAMPLES, STEPS, 1)), axis=2)
    return scores.astype(np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def noise_of(reference: np.ndarray, other: np.ndarray) -> float:
    noise = ScoreNoise()
    noise.observe(reference, other)
    return noise.ratio


def test_the_axis_of_the_classes_is_found():
    assert class_axis(decided()) == 2
    assert class_axis(np.ascontiguousarray(decided().transpose(0, 2, 1))) == 1
    assert class_axis(softmax(decided())) == 2


@pytest.mark.parametrize(
    "output",
    [
        np.random.default_rng(0).normal(size=(6, 20, 64)).astype(np.float32),  # features: many values alike
        decided()[:, 0],  # one decision a sample
        np.repeat(decided(), 20, axis=1),  # a hundred steps: places rather than a text
        np.full((2, 5, 20), np.nan, np.float32),
        decided().astype(np.int64),
        np.zeros((0, 5, 20), np.float32),
    ],
    ids=["features", "no steps", "many steps", "nan", "integers", "empty"],
)
def test_what_is_no_sequence(output: np.ndarray):
    assert class_axis(output) is None


def test_one_step_is_a_row_of_scores():
    rows = decided()[:, 0]
    other = rows + np.random.default_rng(1).normal(size=rows.shape)
    assert noise_of(rows[:, None], other[:, None]) == noise_of(rows, other)


def test_a_sequence_counts_by_its_closest_step():
    scores = decided()
    error = np.random.default_rng(1).normal(scale=0.1, size=scores.shape)
    calm = noise_of(scores, scores + error)
    close = scores.copy()
    best = close[:, 2].argmax(axis=1)
    other = (best + 1) % CLASSES
    close[np.arange(SAMPLES), 2, other] = close[np.arange(SAMPLES), 2, best] - 0.5
    assert noise_of(close, close + error) == pytest.approx(calm * np.median(gaps(scores)) / 0.5, rel=0.1)


def gaps(scores: np.ndarray) -> np.ndarray:
    best = np.sort(scores, axis=2)
    return (best[..., -1] - best[..., -2]).min(axis=1)


def test_samples_that_are_not_finite_are_left_out():
    scores = decided()
    other = scores + 0.1 * np.random.default_rng(1).normal(size=scores.shape)
    other[0, 3, 2] = np.inf
    assert noise_of(scores, other) == noise_of(scores[1:], other[1:])


def test_shapes_that_are_no_scores_are_refused():
    for shape in ((2, 3, 1), (2, 0, 3), (2, 3, 4, 5)):
        with pytest.raises(ParameterError, match="no rows of classes"):
            ScoreNoise().observe(np.zeros(shape), np.zeros(shape))


def test_places_of_a_large_map_are_the_same_ones_each_time_and_evenly_spread():
    large = np.arange(2 * 3 * 300 * 200, dtype=np.float32).reshape(2, 3, 300, 200)
    rows = some_places(large, 1)
    assert rows.shape == (2 * 4096, 3)
    np.testing.assert_array_equal(rows, some_places(large.copy(), 1))
    steps = np.diff(rows[:4096, 0])
    assert set(steps) == {14.0, 15.0}
    np.testing.assert_array_equal(rows[:, 1] - rows[:, 0], 300 * 200)


def test_every_place_of_a_small_map_counts():
    small = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(some_places(small, 3), small.reshape(-1, 3))
