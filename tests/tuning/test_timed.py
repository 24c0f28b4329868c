"""`qdq tune` along measured times: which variant is taken, where it is the default, and where nothing can be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from qdq_cli.config.data import DataConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.process.processor import this_processor
from qdq_cli.timing import runtimes
from qdq_cli.timing.record import Speed, Timing
from qdq_cli.tuning import timed
from qdq_cli.tuning.record import TuneReport
from qdq_cli.tuning.tune import tune_model
from tests.listeners import Ear
from tests.tuning.networks_to_tune import with_a_bad_layer
from tests.workspace import Workspace, make_workspace, qdq

NAME = "onnxruntime"
HARD, SEVERAL = 25.0, 48.0


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return make_workspace(tmp_path, with_a_bad_layer(2))


def taking(milliseconds: Callable[[], float]) -> Callable[..., Speed]:
    """Stands for `time_models`: the float model takes 1 ms, and variants what is given."""

    def time_models(models: tuple[Path, Path], *_: object, **__: object) -> Speed:
        assert all(path.exists() for path in models)
        each = milliseconds()
        times = Timing(1.0, (1.0, 1.0)), Timing(each, (each, each))
        return Speed("a runtime", this_processor(), 1, 1, 9, *times, ratio=1 / each, interval=(1 / each, 1 / each))

    return time_models


def tuned(
    space: Workspace, ear: Ear | None = None, target: str = NAME, least: float = HARD, **changes: str
) -> TuneReport:
    verify = VerifyConfig(min_sqnr=least, samples=4)
    quantize = QuantizeConfig(
        space.model, data=DataConfig(calib=(space.arrays,)), verify=verify, target=target, time=False
    )
    return tune_model(TuneConfig(quantize, **changes), *([] if ear is None else [ear]))


def test_of_those_that_meet_the_target_the_fastest_is_taken(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    """Later variants are slower, or faster: the choice follows the times."""
    chosen = []
    for later in (0.05, -0.05):
        given: Iterator[float] = iter([0.9 + later * each for each in range(13)])
        monkeypatch.setattr(timed, "time_models", taking(partial(next, given)))
        report = tuned(space, least=SEVERAL)
        ratios = [point.speed.ratio for point in report.frontier if point.speed is not None]
        assert len(ratios) == len(report.frontier) and ratios == sorted(ratios, reverse=True)
        met = [number for number, point in enumerate(report.frontier) if point.met]
        assert len(met) > 1 and report.chosen == met[0]
        chosen.append(report.frontier[report.chosen].left_float)
    assert chosen[0] != chosen[1]


def test_the_screen_and_the_page_show_times(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timed, "time_models", taking(lambda: 1.25))
    page = space.folder / "page.html"
    done = qdq("tune", space.model, "--calib", space.arrays, "--min-sqnr", -100, "--target", NAME, "--report", page)
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "cost the time of a run; chosen: 0.80 times as fast as FP32 on this CPU" in text
    assert "No variant that meets the target is faster than the float model" in text
    heading, row = next(
        (one, two) for one, two in zip(done.out.splitlines(), done.out.splitlines()[1:], strict=False) if "MACs" in one
    )
    assert heading.endswith("time  times FP32") and row.split("<-")[0].split()[-3:] == ["1.25", "ms", "0.80"]
    assert "times as fast as FP32" in page.read_text(encoding="utf-8")


def test_predicted_work_decides_where_it_is_asked_for(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(timed, "time_models", lambda *_: pytest.fail("something was timed"))
    report = tuned(space, cost="predicted")
    assert not report.is_timed and report.met
    assert tuned(space, target="tensorrt").met


def test_a_target_that_does_not_run_here_is_not_timed(space: Workspace):
    done = qdq("tune", space.model, "--calib", space.arrays, "--min-sqnr", HARD, "--cost", "measured")
    assert (done.code, space.output.exists()) == (2, False)
    assert "--cost measured times variants on this CPU, and TensorRT does not run on it." in done.err


def test_a_runtime_that_is_not_installed_leaves_predictions(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtimes, "is_installed", lambda: False)
    ear = Ear()
    report = tuned(space, ear, target="openvino")
    assert not report.is_timed and report.met
    assert any("OpenVINO is not installed, so variants are compared by predicted work" in note for note in report.notes)
    asked = ("tune", space.model, "--calib", space.arrays, "--min-sqnr", HARD, "--target", "openvino")
    done = qdq(*asked, "--cost", "measured")
    assert done.code == 2 and "Variants for OpenVINO are timed in it, and it is not installed." in done.err
