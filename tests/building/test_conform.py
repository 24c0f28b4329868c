"""The suite of conformance counts what it says, here with the stand-in for the compiler in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

from bench.conform import Row, Score, check, report
from bench.conform_cases import Case, code_cases, form_cases, random_cases, row_cases, sample_cases, written
from bench.conform_rows import ROWS
from qdq_cli.targets.tensorrt.findings import RULES
from qdq_cli.targets.tensorrt.importer.table import TABLE
from qdq_cli.targets.tensorrt.operators import OPERATORS
from tests.building.fake import FOLDER
from tests.targets.tensorrt.importer_models import FORMS


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
    assert (row.outcome, row.errors, row.score().differ) == ("built", (), ())
    assert row.score().agree > 0
    assert row.score("tensorrt").agree + len(row.score("tensorrt").differ) == row.score().agree


def test_cases_are_the_same_every_time():
    assert list(random_cases(8)) == list(random_cases(8))
    assert {case.family for case in random_cases(8)} == {"planned", "linted"}
    assert len(list(sample_cases(("sm89",)))) == 6 * 2 * 3 * 2


def test_every_row_and_every_code_has_a_model():
    assert ROWS.keys() == OPERATORS.rules.keys()
    assert {case.key[0] for case in code_cases() if case.family == "code"} == RULES.keys()
    forms = {(case.key[1], case.key[2]) for case in form_cases() if case.key[0] == "refused"}
    forms |= {(name, case.key[1]) for case in form_cases() if case.key[0] == "body" for name in ("If", "Loop")}
    limits = {(name, limit.form) for name, row in TABLE.items() for limit in row.limits}
    assert limits <= forms
    assert {case.key[1] for case in form_cases() if case.key[0] == "plain"} == FORMS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_the_network_of_a_row_has_its_operator(name: str):
    operators = {node.op_type for node in ROWS[name]().graph.node}
    assert (name if name != "Swish" else "Sigmoid") in operators
    assert "Conv" in operators


def test_models_of_each_family_are_written(tmp_path: Path):
    cases = [
        *list(row_cases(("sm89",)))[:1],
        *list(code_cases())[:1],
        *list(form_cases())[-8:],
        Case("linted", (2,), ""),
    ]
    for case in cases:
        assert onnx.load(written(case, tmp_path)).graph.node, case


def test_disagreements_are_counted_and_named(capsys: pytest.CaptureFixture[str]):
    wrong = Score(1, (("Conv", "INT8", "FP32", "a rule (A31)"),), doubted=1)
    rows = [
        Row("one", "linted", "sm89", (), "built", {"tensorrt-rtx": Score(3), "tensorrt": wrong}),
        Row("two", "linted", "sm89", (), "built", {"tensorrt-rtx": wrong}),
        Row("three", "linted", "sm86", (), "refused"),
        Row("four", "linted", "sm86", ("E_ZP_NONZERO",), "built"),
        Row("five", "linted", "sm86", ("E_ZP_NONZERO",), "crashed"),
        Row("six", "linted", "sm86", (), "read"),
    ]
    assert report(rows) == 3
    out = capsys.readouterr().out
    assert "6 models: 4 refused as the lint says" in out
    assert "tensorrt-rtx: 4 of 5 (80.00 %) weighted operators in the predicted type" in out
    assert "1 are doubted, 0 of them agree; without them 4 of 4 (100.00 %)" in out
    assert "not built, and the lint has no error: 1 models, such as three (sm86)" in out
    assert "Conv: INT8 predicted, FP32 built; a rule (A31)" in out
