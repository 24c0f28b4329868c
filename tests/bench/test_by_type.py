"""The bench of types, without measuring anything: its tables, and what it computes of a tensor."""

from __future__ import annotations

import numpy as np
import pytest

from bench.by_type import tensor_facts, weight_facts
from bench.by_type_table import markdown
from bench.figures import Figure
from bench.ledger import Entry
from calibrators import Histogram


def entry(value: float, **details: object) -> Entry:
    return Entry("f", Figure("top1", value, 1000, None), details=details)


CELLS = {
    "fp32": entry(90.0),
    "int8": entry(89.5, sqnr_db=30.0, operators=[4, 5]),
    "int8-minmax": entry(89.0, sqnr_db=28.25, tensors=[[4.0, 40.0, 31.5], [30.0, 23.0, 31.5]], weights=[[44.0, 31.0]]),
    "fp8": Entry("", failure="It cannot be run."),
    "mix": entry(
        89.75,
        sqnr_db=33.5,
        asked_db=33.0,
        met=True,
        recovered=True,
        time_percent=71.25,
        types={"INT8": 3, "FP8": 1, "float": 1},
        frontier=[[{"INT8": 4, "float": 1}, 60.0, 30.0], [{"INT8": 3, "FP8": 1, "float": 1}, 71.25, 33.5]],
    ),
}


def test_the_tables_show_what_was_measured_and_why_a_figure_is_missing():
    text = markdown({"net": CELLS})
    assert "| net | top1 | 1,000 | 90.00 |  | 89.50 | 89.00 | - |  | 89.75 |" in text
    assert "| net | 4 of 5 |  |  | 30.0 | 28.2 |  |  | 33.5 |" in text
    assert "| net | 3 INT8, 1 FP8, 1 float, recovered | 33.0 | 33.5 | 71.2 | 60.0 |" in text
    assert "| net | 2 | 17.0 | 30.0 | 31.5 | 31.5 | 1 | 1 | 44.0 | 31.0 |" in text
    assert text.endswith("* net, FP8: It cannot be run.")


@pytest.mark.parametrize(("tail", "better"), [(3.0, False), (60.0, True)])
def test_fp8_keeps_more_of_a_tensor_whose_largest_value_is_far_above_the_others(tail: float, better: bool):
    histogram = Histogram()
    rng = np.random.default_rng(0)
    values = rng.normal(size=1 << 16).astype(np.float32).clip(-3, 3)
    histogram.observe(np.append(values, np.float32(tail)))
    crest, int8, fp8 = tensor_facts(histogram)
    assert crest == pytest.approx(tail / np.sqrt(np.mean(values**2)), rel=0.03)
    assert (fp8 > int8) is better
    assert 30 < fp8 < 33


def test_a_scale_for_each_channel_serves_int8_and_four_digits_are_what_fp8_has():
    weight = (
        np.random.default_rng(1).normal(size=(8, 512)).astype(np.float32)
        * np.logspace(-2, 0, 8, dtype=np.float32)[:, None]
    )
    channels, fp8 = weight_facts(weight, 0)
    together, same = weight_facts(weight, None)
    assert fp8 == same
    assert 30 < fp8 < 33 < together < channels
