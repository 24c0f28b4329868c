"""Agreement and divergence of class scores: against their definitions."""

import numpy as np
import pytest

from calibrators import NoDataError, ParameterError, TopAgreement
from calibrators.metrics import ClassDivergence, are_class_scores

RNG = np.random.default_rng(3)
SCORES = RNG.normal(size=(40, 9)).astype(np.float32)
OTHER = SCORES + RNG.normal(size=SCORES.shape).astype(np.float32)


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows.astype(np.float64) - rows.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def nats(one: np.ndarray, two: np.ndarray) -> float:
    divergence = ClassDivergence()
    divergence.observe(one, two)
    return divergence.nats


def test_top_5_is_the_class_among_the_five_highest() -> None:
    agreement = TopAgreement(best=5)
    agreement.observe(SCORES, OTHER)
    best = SCORES.argmax(axis=1)
    expected = [best[row] in np.argsort(-OTHER[row])[:5] for row in range(len(OTHER))]
    assert agreement.percent == 100 * np.mean(expected)


def test_of_equal_scores_the_first_is_the_higher() -> None:
    agreement = TopAgreement(best=2)
    agreement.observe([[0.0, 0.0, 1.0]], [[5.0, 5.0, 5.0]])
    assert agreement.percent == 0
    agreement.observe([[0.0, 1.0, 0.0]], [[5.0, 5.0, 5.0]])
    assert agreement.percent == 50


def test_top_1_by_rank_is_top_1() -> None:
    one, two = TopAgreement(), TopAgreement(best=1)
    one.observe(SCORES.T, OTHER.T, axis=0)
    two.observe(SCORES, OTHER)
    assert one.percent == two.percent


def test_divergence_is_its_definition() -> None:
    p, q = softmax(SCORES), softmax(OTHER)
    assert nats(SCORES, OTHER) == pytest.approx(np.mean(np.sum(p * np.log(p / q), axis=1)))
    assert nats(SCORES, SCORES) == 0


def test_scores_that_are_probabilities_are_taken_as_they_are() -> None:
    p, q = softmax(SCORES), softmax(OTHER)
    assert nats(p, q) == pytest.approx(nats(SCORES, OTHER))
    assert nats(np.eye(3)[:1], np.eye(3)[1:2]) == pytest.approx(np.log(1e12), rel=1e-6)


def test_order_of_rows_does_not_matter() -> None:
    order = RNG.permutation(len(SCORES))
    assert nats(SCORES[order], OTHER[order]) == pytest.approx(nats(SCORES, OTHER), rel=1e-12)


def test_rows_that_are_not_finite_are_left_out() -> None:
    broken = OTHER.copy()
    broken[0] = np.nan
    assert nats(SCORES, broken) == pytest.approx(nats(SCORES[1:], OTHER[1:]))


def test_nothing_compared_is_an_error() -> None:
    with pytest.raises(NoDataError):
        _ = ClassDivergence().nats
    with pytest.raises(ParameterError):
        ClassDivergence().observe(SCORES, SCORES[:, 1:])


def test_class_scores_are_rows_of_floats() -> None:
    assert are_class_scores(SCORES)
    assert not are_class_scores(SCORES[:, :1])
    assert not are_class_scores(SCORES[0])
    assert not are_class_scores(np.zeros((2, 2), np.int64))
