"""What outputs are judged by: scores beside their margins, pictures by PSNR, and samples that say something."""

from __future__ import annotations

import numpy as np
import pytest

from calibrators.errors import NoDataError, ParameterError
from calibrators.loudness import Loudness
from calibrators.metrics import sqnr_db
from calibrators.pictures import PictureNoise, is_picture
from calibrators.separation import ScoreNoise


def noise_of(scores: np.ndarray, other: np.ndarray) -> float:
    noise = ScoreNoise()
    noise.observe(scores, other)
    return noise.ratio


def test_the_error_of_scores_beside_the_distance_of_the_best_two():
    rng = np.random.default_rng(0)
    scores = np.tile([8.0, 4.0, 0.0, 0.0], (2000, 1))
    assert noise_of(scores, scores + rng.normal(0, 0.4, scores.shape)) == pytest.approx(
        2**0.5 * 0.4 * 0.866 / 4, rel=0.05
    )


def test_what_all_scores_of_a_row_share_is_no_error():
    scores = np.random.default_rng(1).normal(size=(9, 5))
    assert noise_of(scores, scores + 7.0) == pytest.approx(0.0, abs=1e-12)


def test_probabilities_count_by_their_logarithms():
    scores = np.random.default_rng(2).normal(size=(200, 4))
    other = scores + np.random.default_rng(3).normal(0, 0.1, scores.shape)
    shares = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (scores, other)]
    assert noise_of(*shares) == pytest.approx(noise_of(scores, other), rel=0.03)


def test_rows_add_up_in_any_order_and_those_with_nan_are_left_out():
    rng = np.random.default_rng(4)
    scores, other = rng.normal(size=(64, 3)), rng.normal(size=(64, 3))
    parts = ScoreNoise()
    for rows in np.array_split(np.arange(64)[::-1], 5):
        parts.observe(scores[rows], other[rows])
    parts.observe([[np.nan, 1.0, 2.0]], [[0.0, 1.0, 2.0]])
    assert (parts.count, parts.ratio) == (64, pytest.approx(noise_of(scores, other)))


def test_no_rows_have_no_error():
    with pytest.raises(NoDataError, match="No scores were compared"):
        _ = ScoreNoise().ratio
    with pytest.raises(ParameterError, match="no rows of classes"):
        ScoreNoise().observe(np.zeros((2, 1)), np.zeros((2, 1)))


def test_samples_that_say_nothing_do_not_count_as_error():
    loud = np.array([[1.0, -0.5], [0.5, 0.8]])
    silent = np.array([[1e-4, 0.0], [0.0, 0.0]])
    reference = np.concatenate([loud, silent])
    other = reference + 0.01
    found = Loudness()
    found.observe(reference, other, 4)
    assert (found.samples, found.silent) == (4, 2)
    assert found.sqnr_db == pytest.approx(sqnr_db(loud, other[:2]))


def test_samples_that_all_say_something_are_left_to_the_whole_sum():
    found = Loudness()
    found.observe(np.array([[1.0], [0.02]]), np.zeros((2, 1)), 2)
    assert (found.samples, found.silent, found.sqnr_db) == (2, 0, None)
    found.observe(np.ones((3, 2)), np.ones((3, 2)), 1)
    assert found.samples == 2


def test_a_picture_is_made_of_a_picture_of_as_many_colours():
    small, large, map_ = (np.zeros(shape, np.float32) for shape in ((1, 3, 16, 16), (1, 3, 64, 64), (1, 1, 64, 64)))
    assert is_picture(large, [small]) and is_picture(small, [small])
    assert not is_picture(map_, [small])
    assert not is_picture(small, [large])
    assert not is_picture(np.zeros((1, 12, 64, 64), np.float32), [np.zeros((1, 12, 64, 64), np.float32)])


def test_the_psnr_of_pictures():
    reference = np.linspace(-1, 1, 512).reshape(1, 1, 16, 32)
    noise = PictureNoise()
    assert noise.psnr_db is None
    noise.observe(reference, reference)
    assert noise.psnr_db == 200
    noise.observe(reference, reference + 0.02)
    assert noise.psnr_db == pytest.approx(10 * np.log10(4 / (0.02**2 / 2)), abs=1e-3)
