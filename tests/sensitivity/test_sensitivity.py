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


# by type


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> SensitivityReport:
    """Convolutions, one of which INT8 spoils, and a product of a matrix and its weight."""
    return report_of(make_workspace(tmp_path_factory.mktemp("types"), with_a_bad_layer(2)), gpu="sm89")


def test_each_operator_is_measured_in_every_type_that_it_can_have(compared: SensitivityReport):
    types = {operator.name: [choice.type for choice in operator.types] for operator in compared.by_type}
    assert types[BAD] == ["int8", "fp8"]
    assert types["scores"] == ["int8", "fp8", "int8-weights"]  # its inputs are no whole block of INT4
    assert compared.types == ("int8", "fp8", "int8-weights")
    alone = {operator.name: operator.noise for operator in compared.operators}
    for operator in compared.by_type:
        noises = {choice.type: choice.noise for choice in operator.types}
        assert noises["int8"] == pytest.approx(alone[operator.name], rel=1e-6)
    bad = compared.by_type[0]
    assert bad.name == BAD
    assert bad.types[1].noise < bad.types[0].noise / 2


def test_weights_are_as_large_as_their_codes_and_scales(compared: SensitivityReport):
    sizes = {operator.name: (operator.float_bytes, operator.types) for operator in compared.by_type}
    count = 16 * 16 * 3 * 3
    whole, types = sizes[BAD]
    assert whole == 4 * count
    assert [choice.weight_bytes for choice in types] == [count + 4 * 16, count + 4]


def test_types_are_a_table_of_a_screen_and_of_the_page(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    page = space.folder / "types.html"
    done = qdq("sensitivity", space.model, "--calib", space.arrays, "--types", "int8,int8-weights", "--report", page)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert max(map(len, lines[1:])) <= 80
    head = next(number for number, line in enumerate(lines) if "INT8 w." in line)
    row = next(line.split() for line in lines[head + 1 :] if line.endswith(BAD))
    assert row[1] == "-" and row[-2:] == ["Conv", BAD]
    assert "scale groups" not in done.out
    assert "INT8 weights, dB" in page.read_text(encoding="utf-8")


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
        (("--calib", "arrays.npz", "--types", "int9"), 2, "no type that can be measured"),
        (("--calib", "arrays.npz", "--types", "fp8", "--gpu", "sm80"), 2, "sm80 has no units for FP8"),
        (("--calib", "arrays.npz", "--gpu", "sm80", "--target", "onnxruntime"), 2, "runs on the CPU"),
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
