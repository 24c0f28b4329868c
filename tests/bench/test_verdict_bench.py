"""The bench of the verdict: what counts as much and as little, and which ranges are spoiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.verdict import Spoiled, rates_of, spoiled_ranges
from qdq_cli import DataConfig, QuantizeConfig, VerifyConfig, quantize_model
from qdq_cli.quantizing.report import Report

SAMPLES = Path(__file__).parents[2] / "sample_models"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    output = tmp_path_factory.mktemp("bench") / "out.onnx"
    data = DataConfig((SAMPLES / "images" / "digits",), "unit", samples=8)
    return quantize_model(QuantizeConfig(SAMPLES / "digits_resnet.onnx", output, data, verify=VerifyConfig(samples=0)))


@pytest.mark.parametrize(("metric", "large", "small", "between"), [("top1", 1, 2, 2), ("psnr_db", 3, 1, 1)])
def test_what_counts_as_much_and_as_little(metric: str, large: int, small: int, between: int):
    found = [Spoiled(lost, lost > 0.6) for lost in (1.2, 0.7, 0.9, 0.2, -0.1)]
    if metric == "top1":
        found[0] = Spoiled(1.2, False)
    rates = rates_of("model", metric, found)
    assert (rates.large[0], rates.small[0], rates.between) == (large, small, between)
    assert rates.small[1] == 0
    assert rates.large[1] == (0 if metric == "top1" else 3)
    assert str(rates).count("|") == 5


def test_other_places_are_spoiled_each_time_and_equal_ones_by_equal_seeds(report: Report):
    found = list(spoiled_ranges(report, seed=3, count=12))
    assert found == list(spoiled_ranges(report, seed=3, count=12))
    assert len({tensor for tensor, _ in found}) == 12
    amax = {group.observed[0]: amax for group, amax in zip(report.groups, report.amax, strict=True) if group.observed}
    factors = [kept.amax / amax[tensor] for tensor, kept in found]
    assert all(2**-5.5 <= factor <= 2**-0.5 or 2 <= factor <= 128 for factor in factors)
    assert min(factors) < 1 < max(factors)
