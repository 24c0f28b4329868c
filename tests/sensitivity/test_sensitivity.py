"""`qdq sensitivity`: a layer made bad on purpose comes first; the estimate ranks as the measurement does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from qdq_cli.config.data import DataConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.sensitivity import Evaluation, SensitivityConfig
from qdq_cli.sensitivity.record import SensitivityReport
from qdq_cli.sensitivity.sensitivity import find_sensitivities
from tests.tuning.networks_to_tune import BAD, with_a_bad_layer
from tests.workspace import SAMPLES, Workspace, make_workspace, qdq

NUMBER = "value.py"


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, with_a_bad_layer(2))


def report_of(space: Workspace, **changes: object) -> SensitivityReport:
    config = QuantizeConfig(space.model, data=DataConfig(calib=(space.arrays,)), verify=VerifyConfig(samples=0))
    return find_sensitivities(SensitivityConfig(config, **changes))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_layer_made_bad_on_purpose_comes_first(tmp_path: Path, position: int, exact: bool):
    space = make_workspace(tmp_path, with_a_bad_layer(position))
    report = report_of(space, exact=exact)
    assert report.operators[0].name == BAD
    assert report.operators[0].noise_percent > 50


def test_every_quantized_operator_is_listed_once(space: Workspace):
    report = report_of(space)
    assert {operator.name for operator in report.operators} == {"good_0", "good_1", BAD, "good_3", "scores", "pool"}
    assert sum(operator.noise_percent for operator in report.operators) == pytest.approx(100)
    assert sum(operator.macs_percent for operator in report.operators) == pytest.approx(100)
    assert report.rank_correlation is None
    assert all(operator.exact_noise is None and operator.drop is None for operator in report.operators)


def test_shares_of_all_samples_where_they_are_measured(space: Workspace):
    report = report_of(space, exact=True)
    noises = [operator.exact_noise or 0.0 for operator in report.operators]
    assert noises == sorted(noises, reverse=True)
    assert report.together.sum == pytest.approx(sum(noises))
    assert report.rank_correlation is not None
    assert report.group_rank_correlation is not None


def test_the_estimate_ranks_as_the_measurement_does(tmp_path: Path):
    config = QuantizeConfig(
        SAMPLES / "digits_resnet.onnx", data=DataConfig(calib=(SAMPLES / "images" / "digits",), preprocess="unit")
    )
    report = find_sensitivities(SensitivityConfig(config, exact=True))
    assert report.rank_correlation is not None and report.rank_correlation >= 0.9
    assert report.estimate_samples < report.samples


def test_the_same_run_twice_finds_the_same(space: Workspace):
    one, two = report_of(space, exact=True), report_of(space, exact=True)
    assert one.operators == two.operators
    assert one.groups == two.groups


def value_program(folder: Path) -> Evaluation:
    """A program whose number falls with every Q/DQ pair of the bad layer's weight in the model."""
    path = folder / NUMBER
    path.write_text(
        "import onnx, sys\n"
        "nodes = onnx.load(sys.argv[1]).graph.node\n"
        "bad = any('bad_w' in node.input[0] for node in nodes if node.op_type == 'QuantizeLinear')\n"
        "print('accuracy', 70 if bad else 90)\n",
        encoding="utf-8",
    )
    return Evaluation(f'"{sys.executable}" "{path}" {{model}}')


def test_the_users_metric_ranks_the_operators(space: Workspace):
    report = report_of(space, evaluation=value_program(space.folder))
    assert (report.together.float_metric, report.together.metric) == (90.0, 70.0)
    assert (report.operators[0].name, report.operators[0].drop, report.operators[0].metric) == (BAD, 20.0, 70.0)
    assert {operator.drop for operator in report.operators[1:]} == {0.0}
    assert report.metric_rank_correlation is not None


def test_a_loss_rises(space: Workspace):
    asked = Evaluation(value_program(space.folder).command, lower_is_better=True)
    report = report_of(space, evaluation=asked)
    assert report.operators[-1].name == BAD
    assert report.operators[-1].drop == -20.0


# the command


def test_it_prints_operators_groups_and_how_they_add_up(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = qdq("sensitivity", space.model, "--calib", space.arrays, "--exact")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(map(len, lines[1:])) <= 80  # the first names the model
    assert "rank correlation" in done.out
    first = next(number for number, line in enumerate(lines) if line.startswith("operators quantized alone"))
    assert lines[first + 2].endswith(f"Conv {BAD}")
    assert "scale groups quantized alone" in done.out


def test_one_document_with_json(space: Workspace):
    document = qdq("sensitivity", space.model, "--calib", space.arrays, "--json").document
    assert next(iter(document)) == "schema_version"
    assert document["operators"][0]["name"] == BAD


def test_quiet_says_nothing(space: Workspace):
    done = qdq("sensitivity", space.model, "--calib", space.arrays, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_the_page_is_written_and_nothing_else(space: Workspace):
    before = space.listing()
    page = space.folder / "page.html"
    done = qdq("sensitivity", space.model, "--calib", space.arrays, "--report", page)
    assert done.code == 0, done.err
    text = page.read_text(encoding="utf-8")
    assert BAD in text and "SQNR alone" in text
    assert sorted({*space.listing()} - {*before}) == ["page.html"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 4, "No calibration data"),
        (("--calib", "arrays.npz", "--eval", "python value.py"), 2, "where the model goes"),
        (("--calib", "arrays.npz", "--eval", "no-such-program {model}"), 2, "cannot be started"),
        (("--calib", "arrays.npz", "--lower-is-better"), 2, "--eval"),
        (("--calib", "arrays.npz", "--report", "page.txt"), 2, "no page"),
        (("--calib", "arrays.npz", "--exclude", "*"), 4, "Nothing of this model is quantized"),
    ],
)
def test_bad_input(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], code: int, message: str
):
    monkeypatch.chdir(space.folder)
    done = qdq("sensitivity", "model.onnx", *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
