"""The suite of conformance counts what it says, here with the stand-in for the compiler in this process."""

from __future__ import annotations

import sys

import pytest

from bench.conform import Case, Row, check, random_cases, report, sample_cases
from tests.building.fake import FOLDER


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("tensorrt_rtx_libs", "tensorrt_rtx_bindings"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    "case", [Case("planned", (7,), "sm89"), next(sample_cases(("sm86",)))], ids=["random", "sample"]
)
def test_a_model_is_predicted_and_built(fake: None, case: Case):
    row = check(case)
    assert (row.outcome, row.errors, row.differ) == ("built", (), ())
    assert row.agree > 0


def test_cases_are_the_same_every_time():
    assert list(random_cases(8)) == list(random_cases(8))
    assert {case.family for case in random_cases(8)} == {"planned", "linted"}
    assert len(list(sample_cases(("sm89",)))) == 6 * 2 * 3 * 2


def test_disagreements_are_counted_and_named(capsys: pytest.CaptureFixture[str]):
    rows = [
        Row("one", "linted", "sm89", (), "built", agree=3),
        Row("two", "linted", "sm89", (), "built", (("Conv", "INT8", "FP32", "a rule (A31)"),), agree=1),
        Row("three", "linted", "sm86", (), "refused"),
        Row("four", "linted", "sm86", ("E_ZP_NONZERO",), "built"),
        Row("five", "linted", "sm86", ("E_ZP_NONZERO",), "refused"),
    ]
    assert report(rows) == 3
    out = capsys.readouterr().out
    assert "5 models: 3 refused as the lint says" in out
    assert "4 of 5 weighted operators in the predicted type (80.00 %)" in out
    assert "not built, and the lint has no error: 1 models, such as three (sm86)" in out
    assert "Conv: INT8 predicted, FP32 built; a rule (A31)" in out
