"""`qdq tune`: what it writes meets the target and is what `qdq quantize --exclude` writes; else it says why not."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from qdq_cli.config.data import DataConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.sensitivity import Evaluation, SensitivityConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.judging.candidate import Candidate
from qdq_cli.process.errors import DataError, LimitError
from qdq_cli.sensitivity.sensitivity import find_sensitivities
from qdq_cli.tuning.points import PointMeter
from qdq_cli.tuning.record import Point, TuneReport
from qdq_cli.tuning.tune import tune_model
from tests.listeners import Ear
from tests.screen.sample import Reader
from tests.tuning.networks_to_tune import BAD, with_a_bad_layer
from tests.workspace import SAMPLES, Workspace, make_workspace, qdq


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return make_workspace(tmp_path, with_a_bad_layer(2))


def tuned(space: Workspace, verify: VerifyConfig | None = None, **changes: object) -> TuneReport:
    data = DataConfig(calib=(space.arrays,))
    return tune_model(TuneConfig(QuantizeConfig(space.model, data=data, verify=verify or VerifyConfig()), **changes))


def full_sqnr(space: Workspace) -> float:
    return tuned(space, VerifyConfig(min_sqnr=-100.0)).frontier[0].sqnr_db


def tune(space: Workspace, *options: object):
    return qdq("tune", space.model, "--calib", space.arrays, *options)


def written_again(shown: str, output: Path) -> bytes:
    """What the command at the end of a summary writes to another place."""
    words = shlex.split(shown.partition("the same model without tuning:\n")[2].replace("\\\n", ""))
    assert words[:2] == ["qdq", "quantize"]
    again = qdq(*words[1:], "-o", output)
    assert again.code == 0, again.err
    return output.read_bytes()


def test_the_bad_layer_alone_is_left_float(space: Workspace):
    report = tuned(space, VerifyConfig(min_sqnr=full_sqnr(space) + 6))
    assert report.met
    assert [operator.name for operator in report.left_float] == [BAD]
    assert report.left_float[0].noise_percent > 50
    chosen = report.frontier[report.chosen]
    assert chosen.met and chosen.left_float == (BAD,)
    assert 0 < chosen.quantized_macs_percent < 100
    assert chosen.quantized_macs_percent == pytest.approx(100 - report.left_float[0].macs_percent)


def test_all_in_int8_is_enough_where_it_meets_the_target(space: Workspace):
    report = tuned(space, VerifyConfig(min_sqnr=full_sqnr(space) - 1))
    assert (report.met, report.left_float, len(report.frontier)) == (True, (), 1)
    plain = space.folder / "plain.onnx"
    assert qdq("quantize", space.model, "--calib", space.arrays, "-o", plain).code == 0
    assert plain.read_bytes() == space.output.read_bytes()


@pytest.mark.parametrize("gain_db", [3.0, 12.0])
@pytest.mark.parametrize("name", ["digits_resnet", "digits_mobilenetv2"])
def test_the_command_it_shows_writes_the_same_bytes(tmp_path: Path, name: str, gain_db: float):
    model, data = SAMPLES / f"{name}.onnx", ("--calib", SAMPLES / "images" / "digits", "--preprocess", "unit")
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    plain = qdq("tune", model, *data, "-o", one, "--min-sqnr", "-100", "--json").document["frontier"][0]["sqnr_db"]
    done = qdq("tune", model, *data, "-o", one, "--min-sqnr", plain + gain_db, "--samples", 60, "--no-recover")
    assert done.code == 0, done.err
    assert "--exclude" in done.out
    assert one.read_bytes() == written_again(done.out, two)


@pytest.mark.parametrize("options", [(), ("--recover-step", "gptq"), ("--cache", "model.qcal"), ("--weights", "int8")])
def test_the_command_it_shows_after_a_recovery_writes_the_same_bytes(space: Workspace, options: tuple[str, ...]):
    done = tune(space, "--min-sqnr", full_sqnr(space) + 33, *options, "-o", space.folder / "one.onnx")
    assert done.code == 0, done.err
    assert "\nrecovery  " in done.out and "--exclude-after-recovery" in done.out
    assert (space.folder / "one.onnx").read_bytes() == written_again(done.out, space.folder / "two.onnx")


def test_the_command_it_shows_where_recovery_was_enough_writes_the_same_bytes(space: Workspace):
    done = tune(space, "--min-sqnr", full_sqnr(space) + 0.5, "-o", space.folder / "one.onnx")
    assert done.code == 0, done.err
    assert (
        "everything in INT8, recovered, meets" in done.out
        and "--recover" in done.out
        and " --exclude " not in done.out.partition("qdq quantize")[2]
    )
    assert (space.folder / "one.onnx").read_bytes() == written_again(done.out, space.folder / "two.onnx")


@pytest.mark.parametrize("step", ["equalize", "gptq"])
def test_a_recovery_that_makes_it_worse_is_undone(space: Workspace, monkeypatch: pytest.MonkeyPatch, step: str):
    asked = ("--min-sqnr", full_sqnr(space) + 12, "-o")
    assert tune(space, *asked, space.folder / "one.onnx", "--no-recover").code == 0
    measure, worse = PointMeter.of, iter([False, True])

    def of(meter: PointMeter, left_float: tuple[str, ...], candidate: Candidate) -> Point:
        point = measure(meter, left_float, candidate)
        if not next(worse, False):
            return point
        return replace(point, met=False, sqnr_db=point.sqnr_db - 100, shortfall=point.shortfall + 100)

    monkeypatch.setattr(PointMeter, "of", of)
    done = tune(space, *asked, space.folder / "two.onnx", "--recover-step", step)
    assert done.code == 0, done.err
    assert (
        "so it is undone." in done.err and "\nrecovery " not in done.out and "--exclude-after-recovery" not in done.out
    )
    assert (space.folder / "one.onnx").read_bytes() == (space.folder / "two.onnx").read_bytes()


def test_the_best_of_a_target_that_is_not_met_can_be_written_again(space: Workspace):
    done = tune(space, "--min-sqnr", 190)
    assert done.code == 5
    best = space.folder / "model.qdq.best.onnx"
    assert best.read_bytes() == written_again(done.out, space.folder / "two.onnx")


def test_the_same_command_twice_gives_the_same_bytes(space: Workspace):
    target = full_sqnr(space) + 8
    files = []
    for name in ("one.onnx", "two.onnx"):
        assert tune(space, "--min-sqnr", target, "-o", space.folder / name).code == 0
        files.append((space.folder / name).read_bytes())
    assert files[0] == files[1]


def test_what_is_written_passes_the_gates_of_quantize(space: Workspace):
    target = full_sqnr(space) + 5
    report = tuned(space, VerifyConfig(min_sqnr=target))
    verification = report.quantize.verification
    assert verification is not None and all(found.sqnr_db >= target for found in verification.outputs.values())
    assert report.output == report.quantize.output == str(space.output)


def test_a_target_that_cannot_be_met_keeps_the_best_elsewhere(space: Workspace):
    done = tune(space, "--min-sqnr", 190)
    best = space.folder / "model.qdq.best.onnx"
    assert done.code == 5
    assert not space.output.exists()
    assert best.exists() and str(best) in done.err
    onnx.checker.check_model(onnx.load(best))
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(best).graph.node)
    assert "<- chosen" in done.out and "not met" in done.out
    assert "dB instead of at least 190 dB" in done.err


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (("--min-sqnr", 190), "dB instead of at least 190 dB"),
        (("--eval", "counts", "--max-drop", -30), "worse than the float model's instead of at most -30"),
    ],
)
def test_the_page_of_a_target_that_is_not_met_says_so_on_top(space: Workspace, limit: tuple[object, ...], said: str):
    words = [program(space.folder, COUNTS_BAD) if word == "counts" else word for word in limit]
    done = tune(space, *words, "--no-recover", "--report", "page.html")
    assert done.code == 5, done.err
    assert said in done.err and "What was found is in page.html." in done.err
    reader = Reader(Path("page.html").read_text(encoding="utf-8"))
    start = reader.texts.index("bad")
    assert start < reader.texts.index("target")
    assert said in reader.texts[start + 1] and "model.qdq.best.onnx" in reader.texts[start + 1]


def test_a_floor_under_the_work_in_int8_is_kept(space: Workspace):
    target = full_sqnr(space) + 20
    free = tuned(space, VerifyConfig(min_sqnr=target))
    share = free.frontier[free.chosen].quantized_macs_percent
    bound = tuned(space, VerifyConfig(min_sqnr=target), min_int8_macs=min(99.0, share + 10))
    assert not bound.met
    assert bound.frontier[bound.chosen].quantized_macs_percent >= min(99.0, share + 10)
    assert bound.output.endswith("model.qdq.best.onnx")


def test_a_floor_that_not_even_int8_reaches_is_said_at_once(tmp_path: Path):
    space = make_workspace(tmp_path)
    config = QuantizeConfig(
        space.model,
        data=DataConfig(calib=(space.arrays,)),
        plan=PlanConfig(exclude=("first",)),
        verify=VerifyConfig(min_sqnr=150),
    )
    with pytest.raises(LimitError, match="Even with everything quantized"):
        tune_model(TuneConfig(config, min_int8_macs=99.0))
    assert not space.output.exists()


# the user's metric


def program(folder: Path, body: str) -> str:
    path = folder / "value.py"
    path.write_text(body, encoding="utf-8")
    return f'"{sys.executable}" "{path}" {{model}}'


COUNTS_BAD = (
    "import onnx, sys\n"
    "nodes = onnx.load(sys.argv[1]).graph.node\n"
    "bad = any('bad_w' in node.input[0] for node in nodes if node.op_type == 'QuantizeLinear')\n"
    "print(70 if bad else 90)\n"
)


def test_the_users_metric_decides(space: Workspace):
    report = tuned(space, evaluation=Evaluation(program(space.folder, COUNTS_BAD)), max_drop=1.0)
    assert report.met and report.float_metric == 90.0
    chosen = report.frontier[report.chosen]
    assert BAD in chosen.left_float and chosen.metric == 90.0 and chosen.drop == 0.0
    everything = next(point for point in report.frontier if not point.left_float)
    assert (everything.metric, everything.drop, everything.met) == (70.0, 20.0, False)


def test_a_smaller_number_can_be_the_better_one(space: Workspace):
    asked = Evaluation(program(space.folder, COUNTS_BAD), lower_is_better=True)
    report = tuned(space, evaluation=asked, max_drop=0.0)
    assert (report.met, report.left_float) == (True, ())


COUNTS_PAIRS = (
    "import onnx, sys\n"
    "nodes = onnx.load(sys.argv[1]).graph.node\n"
    "print(sum(node.op_type == 'QuantizeLinear' for node in nodes))\n"
)


def test_a_metric_that_chance_decides_is_told(space: Workspace):
    """More in float is less noise, and here a worse number."""
    done = tune(space, "--eval", program(space.folder, COUNTS_PAIRS), "--max-drop", "-1000")
    assert done.code == 5
    assert "chance decides" in done.err


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("import sys; print('broken dataset', file=sys.stderr); sys.exit(3)", 4, "broken dataset"),
        ("print('all good')", 4, "no number"),
    ],
)
def test_a_program_without_a_number_ends_the_run(space: Workspace, body: str, code: int, message: str):
    before = space.listing()
    done = tune(space, "--eval", program(space.folder, body), "--max-drop", 1)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert sorted({*space.listing()} - {*before}) == ["value.py"]


def test_a_program_is_asked_before_anything_is_observed(space: Workspace):
    """It is the likeliest thing to be wrong, and calibration may take minutes."""
    listener = Ear()
    evaluation = Evaluation(program(space.folder, "print('all good')"))
    config = QuantizeConfig(space.model, data=DataConfig(calib=(space.arrays,)))
    for run, asked in (
        (tune_model, TuneConfig(config, evaluation, max_drop=1.0)),
        (find_sensitivities, SensitivityConfig(config, evaluation=evaluation)),
    ):
        with pytest.raises(DataError, match="no number"):
            run(asked, listener)
    assert "calibrating" not in listener.titles


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--calib", "arrays.npz"), 2, "no target"),
        (("--min-sqnr", "30"), 4, "No calibration data"),
        (("--calib", "arrays.npz", "--eval", "x {model}"), 2, "--max-drop"),
        (("--calib", "arrays.npz", "--max-drop", "1"), 2, "--eval"),
        (("--calib", "arrays.npz", "--eval", "x", "--max-drop", "1"), 2, "where the model goes"),
        (("--calib", "arrays.npz", "--min-sqnr", "30", "--verify", "0"), 2, "--verify"),
        (("--calib", "arrays.npz", "--min-sqnr", "30", "-o", "model.onnx"), 2, "input model itself"),
        (("--calib", "arrays.npz", "--min-sqnr", "30", "--exclude", "*"), 4, "Nothing of this model"),
        (("--calib", "arrays.npz", "--min-sqnr", "30", "--exclude", "nothing"), 2, "matches nothing"),
    ],
)
def test_bad_input(space: Workspace, options: tuple[str, ...], code: int, message: str):
    done = qdq("tune", "model.onnx", *options)
    assert (done.code, done.out) == (code, ""), done.err
    assert message in done.err
    assert not space.output.exists()


def test_agreement_is_a_target_of_class_scores_only(tmp_path: Path):
    done = qdq(
        "tune", SAMPLES / "superres_fsrcnn.onnx", "--calib", SAMPLES / "images" / "digits", "--min-agreement", "99",
        "-o", tmp_path / "out.onnx", "--color", "gray", "--samples", "4", "--verify", "2",
    )  # fmt: skip
    assert done.code == 5, done.err
    assert "no output holds class scores" in done.err


def test_given_ranges_stay_with_the_tensors_that_are_quantized(space: Workspace):
    """Tensors that a variant does not quantize have no use for the range, and that is no error."""
    target = full_sqnr(space) + 6
    done = tune(space, "--min-sqnr", target, "--range", "images=4", "--json")
    assert done.code == 0, done.err
    amax = done.document["quantize"]["amax"]
    assert 4.0 in amax


# the text


def test_the_text_fits_the_screen(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = tune(space, "--min-sqnr", full_sqnr(space) + 6, "--report", "page.html")
    assert done.code == 0
    ours = done.out.partition("\nmodel  ")[0].splitlines()
    assert max(map(len, ours)) <= 80
    assert "page.html" in space.listing()
    page = Path("page.html").read_text(encoding="utf-8")
    assert BAD in page and "INT8 work" in page


def test_one_document_with_json(space: Workspace):
    document = tune(space, "--min-sqnr", full_sqnr(space) + 6, "--json").document
    assert next(iter(document)) == "schema_version"
    assert document["frontier"][document["chosen"]]["met"]
    assert document["quantize"]["output"] == document["output"]


def test_quiet_says_nothing(space: Workspace):
    done = tune(space, "--min-sqnr", full_sqnr(space) + 6, "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


# qdq quantize --tune


def test_quantize_reaches_its_gates_in_the_same_way(space: Workspace):
    target = full_sqnr(space) + 6
    one, two = space.folder / "one.onnx", space.folder / "two.onnx"
    done = tune(space, "--min-sqnr", target, "-o", one)
    same = space.quantize("--min-sqnr", target, "--tune", "-o", two)
    assert same.code == 0, same.err
    assert one.read_bytes() == two.read_bytes()
    shown = "the same model without tuning:"
    assert same.out.partition(shown)[2] == done.out.partition(shown)[2].replace("one.onnx", "two.onnx")
    assert space.quantize("--min-sqnr", target, "-o", two).code == 5


@pytest.mark.parametrize(
    ("options", "message"), [(("--tune",), "no target"), (("--tune", "--min-sqnr", "30", "--dry-run"), "--dry-run")]
)
def test_tuning_without_a_target_or_without_a_run_is_refused(space: Workspace, options: tuple[str, ...], message: str):
    done = qdq("quantize", space.model, "--calib", space.arrays, *options)
    assert (done.code, done.out) == (2, "")
    assert message in done.err


def test_the_agreement_of_variants_has_its_interval(tmp_path: Path):
    space = make_workspace(tmp_path)
    page = tmp_path / "page.html"
    done = qdq("tune", space.model, "--calib", space.arrays, "--min-agreement", "1", "--report", page)
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "agreement (95 %)" in text
    assert re.search(r"\d+\.\d % \(\d+(\.\d)? to 100\) <- chosen", text)
    assert "verification " in text and "against FP32" in text
    assert re.search(r"agreement [\d.]+ % \([\d.]+ to [\d.]+\)", page.read_text(encoding="utf-8"))
