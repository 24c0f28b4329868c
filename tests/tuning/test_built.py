"""`qdq tune --cost built`, with a stand-in for the compiler in processes of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdq_cli.config.data import DataConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.tuning.record import TuneReport
from qdq_cli.tuning.tune import tune_model
from tests.building.fake import use_fake_compiler
from tests.listeners import Ear
from tests.tuning.networks_to_tune import BAD, with_a_bad_layer
from tests.workspace import Workspace, make_workspace, qdq

EASY, HARD = -100.0, 25.0


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    use_fake_compiler(monkeypatch)
    return make_workspace(tmp_path, with_a_bad_layer(2))


def tuned(space: Workspace, least: float = HARD, ear: Ear | None = None, **changes: str) -> TuneReport:
    quantize = QuantizeConfig(space.model, data=DataConfig(calib=(space.arrays,)), verify=VerifyConfig(min_sqnr=least))
    return tune_model(TuneConfig(quantize, **{"cost": "built", **changes}), *([] if ear is None else [ear]))


def everything_sqnr(space: Workspace) -> float:
    return tuned(space, EASY, cost="predicted").frontier[0].sqnr_db


def test_of_those_that_meet_the_target_the_fewest_bytes_win(space: Workspace):
    report = tuned(space, everything_sqnr(space) + 6)
    assert report.met
    assert report.built is not None
    moved = [point.built_bytes for point in report.frontier]
    assert None not in moved and moved == sorted(moved)
    assert report.chosen == min(number for number, point in enumerate(report.frontier) if point.met)
    assert report.frontier[report.chosen].left_float == (BAD,)
    assert (report.built.compiler, report.built.gpu) == ("TensorRT for RTX 0.0.fake", "sm89")
    assert 2 <= report.built.builds <= len(report.frontier) + 1  # every variant once, and the float model
    assert report.built.float_bytes is not None and report.built.unbuilt == ""


def test_everything_in_int8_needs_two_builds(space: Workspace):
    report = tuned(space, EASY, gpu="sm86")
    assert report.built is not None
    assert (report.built.builds, report.built.gpu, len(report.frontier)) == (2, "sm86", 1)


def test_the_same_run_chooses_the_same(space: Workspace):
    least = everything_sqnr(space) + 6
    first, again = tuned(space, least), tuned(space, least)
    assert (first.frontier, first.left_float, first.built) == (again.frontier, again.left_float, again.built)


def test_the_screen_and_the_page_show_bytes(space: Workspace, tmp_path: Path):
    page = tmp_path / "page.html"
    done = qdq("tune", space.model, "--calib", space.arrays, "--min-sqnr", EASY, "--cost", "built", "--report", page)
    assert done.code == 0, done.err
    out = " ".join(done.out.split())
    assert "bytes that kernels move: 2 variants given to TensorRT for RTX 0.0.fake for sm89" in out
    assert "in the float model" in out
    heading, row = next(
        (one, two)
        for one, two in zip(done.out.splitlines(), done.out.splitlines()[1:], strict=False)
        if "in INT8:" in one
    )
    assert heading.endswith("built") and row.split("<-")[0].rstrip().endswith("kB")
    assert "moved by kernels as built, MB" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("mode", "said"), [("fail", "nothing can be made of this"), ("crash", "ended by signal 11")])
def test_where_nothing_is_built_predictions_decide(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, mode: str, said: str
):
    least = everything_sqnr(space) + 6
    predicted = tuned(space, least, cost="predicted")
    written = Path(predicted.output).read_bytes()
    use_fake_compiler(monkeypatch, mode)
    ear = Ear()
    report = tuned(space, least, ear)
    assert report.built is not None and said in report.built.unbuilt
    assert report.left_float == predicted.left_float
    assert Path(report.output).read_bytes() == written
    assert any(said in note and "as predicted decides" in note for note in report.notes)


def test_a_missing_compiler_is_told_before_the_work(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch, "unloadable")
    done = qdq("tune", space.model, "--calib", space.arrays, "--min-sqnr", EASY, "--cost", "built")
    assert (done.code, "cannot be loaded" in done.err) == (2, True)
    assert not space.output.exists()


def test_options_that_do_not_go_together(space: Workspace):
    assert qdq("tune", space.model, "--calib", space.arrays, "--min-sqnr", EASY, "--cost", "time").code == 2


def test_a_float_rest_is_built_too(space: Workspace):
    common = ("tune", space.model, "--calib", space.arrays, "--min-sqnr", EASY, "--cost", "built", "--json")
    whole = qdq(*common).document["built"]["float_bytes"]
    half = qdq(*common, "--float-type", "fp16").document["built"]["float_bytes"]
    assert half < 0.75 * whole
