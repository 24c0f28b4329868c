"""Which outputs are called low: scores by their margins, pictures by PSNR, everything else by SQNR."""

from __future__ import annotations

import numpy as np
import pytest

from qdq_cli.quantizing.low import judged_text, low_names
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.quantizing.report import Distance

FINE = Distance(30.0, 0.999, 0.1, False)
BAD = Distance(12.0, 0.98, 0.1, False)
UNDECIDED = Distance(12.0, 0.98, 0.1, False, 100.0, margin_noise=0.1)
LOST = Distance(12.0, 0.98, 0.1, False, 95.0, margin_noise=0.3)
DISAGREEING = Distance(24.0, 0.98, 0.1, False, 70.0, margin_noise=0.1)
NAN = Distance(-200.0, 0.0, 0.1, False, 100.0, margin_noise=0.0)
EQUAL = Distance(200.0, 1.0, 0.0, True, 100.0, margin_noise=0.0)
COARSE = Distance(35.0, 0.999, 0.1, False, psnr_db=41.0)
FLAT = Distance(35.0, 0.999, 0.1, False, contrast_db=5.0)
FOUND = Distance(35.0, 0.999, 0.1, False, contrast_db=15.0)
MISREAD = Distance(24.0, 0.998, 0.1, False, sequence_noise=1.1)
READ = Distance(35.0, 0.999, 0.1, False, sequence_noise=0.24)
BLURRED = Distance(20.0, 0.99, 0.1, False, map_noise=0.27)
SEGMENTED = Distance(26.0, 0.998, 0.1, False, map_noise=0.03)
CLEAN = Distance(40.0, 0.999, 0.1, False, psnr_db=45.0)


@pytest.mark.parametrize(
    ("distance", "low"),
    [(FINE, False), (BAD, True), (UNDECIDED, False), (LOST, True), (DISAGREEING, True), (NAN, True), (EQUAL, False),
     (COARSE, True), (CLEAN, False), (FLAT, True), (FOUND, False), (MISREAD, True), (READ, False),
     (BLURRED, True), (SEGMENTED, False)],
)  # fmt: skip
def test_what_is_low(distance: Distance, low: bool):
    assert low_names({"y": distance}) == (("y",) if low else ())


def test_the_worst_comes_first():
    assert low_names({"some": BAD, "more": NAN, "none": FINE}) == ("more", "some")


def test_what_it_is_called_low_by():
    assert judged_text(LOST) == "the error of its scores is 0.30 of the distance between the best two classes"
    assert judged_text(COARSE) == "as a picture it is at 41.0 dB PSNR of FP32"
    assert judged_text(FLAT) == "for what differs from place to place, it is at 5.0 dB"
    assert judged_text(MISREAD) == (
        "the error of its scores is 1.10 of the distance between the best two classes where that is least"
    )
    assert judged_text(BLURRED) == (
        "the error of its scores is 0.27 of the distance between the best two classes of a place"
    )
    assert judged_text(BAD) == judged_text(FINE) == ""


def letters(*, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores of texts of five letters, and the same with an error that turns one letter of each."""
    rng = np.random.default_rng(0)
    scores = 100 * np.eye(20, dtype=np.float32)[rng.integers(0, 20, (8, 5))]
    scores[:, 2] = 0.0
    scores[:, 2, 3], scores[:, 2, 4] = 100.0, 99.0
    other = scores + rng.normal(size=scores.shape).astype(np.float32)
    return (scores, other) if last else (scores.transpose(0, 2, 1), other.transpose(0, 2, 1))


@pytest.mark.parametrize("last", [True, False])
def test_a_text_that_is_misread_is_low_at_a_high_sqnr(last: bool):
    meter = OutputMeter()
    for start in range(0, 8, 4):
        meter.observe(*({"y": array[start : start + 4]} for array in letters(last=last)))
    found = meter.distances()
    assert found["y"].sqnr_db > 25
    assert found["y"].top1_agreement is None
    assert (found["y"].sequence_noise or 0) == pytest.approx(2**0.5, rel=0.2)
    assert low_names(found) == ("y",)


def test_features_are_no_text():
    meter = OutputMeter()
    features = np.random.default_rng(0).normal(size=(4, 20, 64)).astype(np.float32)
    meter.observe({"y": features}, {"y": features + 0.01})
    assert meter.distances()["y"].sequence_noise is None


def segments(*, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores of five classes in fields of a map, one far above the others, and with errors of a quarter of that."""
    rng = np.random.default_rng(0)
    fields = rng.integers(0, 5, (2, 4, 3)).repeat(10, axis=1).repeat(10, axis=2)
    scores = 12 * np.eye(5, dtype=np.float32)[fields]
    other = scores + rng.normal(size=scores.shape).astype(np.float32) * np.float32(3 / 2**0.5)
    return (scores, other) if last else (np.moveaxis(scores, -1, 1), np.moveaxis(other, -1, 1))


@pytest.mark.parametrize("last", [True, False])
def test_a_map_of_classes_is_judged_by_the_margins_of_its_places(last: bool):
    meter = OutputMeter()
    for start in range(2):
        meter.observe(*({"y": array[start : start + 1]} for array in segments(last=last)))
    found = meter.distances()
    assert (found["y"].map_noise or 0) == pytest.approx(0.25 * 0.8**0.5, rel=0.1)  # less what scores have in common
    assert found["y"].sequence_noise is None
    assert low_names(found) == ("y",)


@pytest.mark.parametrize(
    ("shape", "scale"), [((2, 32, 16, 16), 1), ((2, 2, 32, 32), 100), ((2, 8, 8, 64), 1), ((2, 4, 16, 16), 100)]
)
def test_feature_maps_and_flows_are_no_maps_of_classes(shape: tuple[int, ...], scale: int):
    meter = OutputMeter()
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32) * scale
    meter.observe({"y": features}, {"y": features + 0.01})
    assert meter.distances()["y"].map_noise is None
