"""Which outputs are called low: scores by their margins, pictures by PSNR, everything else by SQNR."""

from __future__ import annotations

import pytest

from qdq_cli.quantizing.low import judged_text, low_names
from qdq_cli.quantizing.report import Distance

FINE = Distance(30.0, 0.999, 0.1, False)
BAD = Distance(14.0, 0.98, 0.1, False)
UNDECIDED = Distance(14.0, 0.98, 0.1, False, 100.0, margin_noise=0.1)
LOST = Distance(14.0, 0.98, 0.1, False, 95.0, margin_noise=0.3)
DISAGREEING = Distance(24.0, 0.98, 0.1, False, 70.0, margin_noise=0.1)
NAN = Distance(-200.0, 0.0, 0.1, False, 100.0, margin_noise=0.0)
EQUAL = Distance(200.0, 1.0, 0.0, True, 100.0, margin_noise=0.0)
COARSE = Distance(35.0, 0.999, 0.1, False, psnr_db=41.0)
FLAT = Distance(35.0, 0.999, 0.1, False, contrast_db=5.0)
FOUND = Distance(35.0, 0.999, 0.1, False, contrast_db=12.0)
CLEAN = Distance(48.0, 0.999, 0.1, False, psnr_db=54.0)


@pytest.mark.parametrize(
    ("distance", "low"),
    [(FINE, False), (BAD, True), (UNDECIDED, False), (LOST, True), (DISAGREEING, True), (NAN, True), (EQUAL, False),
     (COARSE, True), (CLEAN, False), (FLAT, True), (FOUND, False)],
)  # fmt: skip
def test_what_is_low(distance: Distance, low: bool):
    assert low_names({"y": distance}) == (("y",) if low else ())


def test_the_worst_comes_first():
    assert low_names({"some": BAD, "more": NAN, "none": FINE}) == ("more", "some")


def test_what_it_is_called_low_by():
    assert judged_text(LOST) == "the error of its scores is 0.30 of the distance between the best two classes"
    assert judged_text(COARSE) == "as a picture it is at 41.0 dB PSNR of FP32"
    assert judged_text(FLAT) == "for what differs from place to place, it is at 5.0 dB"
    assert judged_text(BAD) == judged_text(FINE) == ""
