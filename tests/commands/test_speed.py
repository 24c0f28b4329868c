"""`--time` and `--min-speedup` as their users meet them; the time is that of a clock of the test's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qdq_cli import DataConfig, QuantizeConfig, VerifyConfig, quantize_model
from qdq_cli.comparing import compare as comparing
from qdq_cli.quantizing import speed
from qdq_cli.timing.models import time_models
from qdq_cli.timing.record import Speed
from tests.timing.watches import in_turn
from tests.toy_target import TOY
from tests.workspace import Workspace, process, qdq

ROUNDS = 401
Takes = Callable[[float, float], None]


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Takes:
    """Lets the float model and the other one take so many milliseconds."""

    def take(first: float, second: float) -> None:
        def watched(*arguments: object, **more: object) -> Speed:
            return time_models(*arguments, **more, clock=in_turn(first, second, ROUNDS))

        for module in (speed, comparing):
            monkeypatch.setattr(module, "time_models", watched)

    return take


def test_quantize_tells_how_fast_the_result_is(space: Workspace, takes: Takes):
    takes(3, 2)
    done = space.quantize("--time")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "speed 1.50 times as fast as FP32 on this CPU (" in text
    assert "batch 1 (95 % interval 1.50 to 1.50) 2.00 ms instead of 3.00 ms, medians of 401 runs in turn" in text
    assert done.err == (
        "note: The result is placed for TensorRT; its speed in ONNX Runtime on a CPU says nothing of that there.\n"
    )
    assert all(len(line) <= 80 for line in done.out.splitlines() if str(space.folder) not in line)


def test_it_is_in_the_document_and_on_the_page(space: Workspace, takes: Takes):
    takes(3, 2)
    page = space.folder / "page.html"
    found = space.quantize("--time", "--json", "--report", page).document["speed"]
    assert (found["ratio"], found["interval"], found["rounds"]) == (1.5, [1.5, 1.5], ROUNDS)
    assert (found["reference"]["median_ms"], found["quantized"]["quartiles_ms"]) == (3.0, [2.0, 2.0])
    assert (found["batch_size"], found["threads"] > 0, bool(found["processor"]["name"])) == (1, True, True)
    assert "1.50 times as fast as FP32 on this CPU" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(("least", "code"), [(1.4, 0), (1.5, 0), (1.6, 5)])
def test_a_limit_times_and_decides(least: float, code: int, space: Workspace, takes: Takes):
    takes(3, 2)
    done = space.quantize("--min-speedup", least, "--json")
    assert (done.code, space.output.exists()) == (code, code == 0)
    report = done.document if code == 0 else done.document["report"]
    (held,) = report["verification"]["limits"]
    assert held == {
        "output": "", "limit": "min_speedup", "asked": least, "found": 1.5, "standing": "missed" if code else "met",
        "interval": [1.5, 1.5], "rows": ROUNDS,
    }  # fmt: skip
    if code:
        assert done.document["error"]["kind"] == "speed"
        assert done.document["error"]["message"] == (
            "The model runs 1.50 times as fast as FP32 (95 % interval 1.50 to 1.50); --min-speedup is 1.6."
        )


@pytest.mark.parametrize("command", ["quantize", "compare"])
def test_what_the_rounds_do_not_decide_is_told_apart(command: str, space: Workspace, monkeypatch: pytest.MonkeyPatch):
    def noisy(*arguments: object, **more: object) -> object:
        found = time_models(*arguments, **more, clock=in_turn(3, 2, ROUNDS))
        return replace(found, interval=(1.2, 1.8))

    assert space.quantize("-q").code == 0
    for module in (speed, comparing):
        monkeypatch.setattr(module, "time_models", noisy)

    def run(least: float) -> tuple[int, str]:
        options = ("--min-speedup", least, "--json")
        if command == "quantize":
            done = space.quantize(*options)
        else:
            done = qdq("compare", space.model, space.output, "--data", space.arrays, *options)
        return done.code, done.document["error"]["kind"] if done.code else ""

    assert [run(least) for least in (1.1, 1.4, 1.6, 1.9)] == [(0, ""), (0, ""), (5, "undecided"), (5, "speed")]


def test_what_passes_undecided_is_said(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    def noisy(*arguments: object, **more: object) -> object:
        found = time_models(*arguments, **more, clock=in_turn(3, 2, ROUNDS))
        return replace(found, interval=(1.2, 1.8))

    monkeypatch.setattr(speed, "time_models", noisy)
    text = " ".join(space.quantize("--min-speedup", 1.4).out.split())
    assert (
        "limit undecided: The model runs 1.50 times as fast as FP32, and the 95 % interval, 1.20 to 1.80, holds the "
        "limit: --min-speedup 1.4 can be met or not. Measure on a machine where nothing else runs." in text
    )


def test_compare_times_two_models_of_any_tool(space: Workspace, takes: Takes):
    takes(2, 5)
    done = qdq("compare", space.model, space.model, "--data", space.arrays, "--time", "--min-speedup", 0.3)
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "speed 0.40 times as fast as the reference on this CPU (" in text
    assert re.search(r"5\.00 ms instead of 2\.00 ms, medians of \d+ runs in turn", text)
    slow = qdq("compare", space.model, space.model, "--data", space.arrays, "--min-speedup", 0.5)
    assert slow.code == 5
    assert "0.40 times as fast" in slow.out
    assert "--min-speedup is 0.5" in slow.err


def test_services_are_told(space: Workspace, takes: Takes, monkeypatch: pytest.MonkeyPatch):
    takes(3, 2)
    values = space.folder / "values"
    monkeypatch.setenv("GITHUB_OUTPUT", str(values))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    done = space.quantize("--time", "--format", "github")
    assert "1.50 times as fast as FP32 on this CPU" in done.out
    assert "speedup=1.50" in values.read_text(encoding="utf-8")


def of_target(space: Workspace, runtime: str, **changes: object) -> object:
    config = QuantizeConfig(space.model, data=DataConfig(calib=(space.arrays,)), **changes)
    return quantize_model(config, target=replace(TOY, runtime=runtime)).speed


def test_a_target_that_runs_here_is_timed_unasked(space: Workspace, takes: Takes):
    takes(3, 2)
    assert of_target(space, "onnxruntime").ratio == 1.5
    assert of_target(space, "onnxruntime", time=False) is None
    assert of_target(space, "onnxruntime", verify=VerifyConfig(samples=0)) is None
    assert of_target(space, "") is None


@pytest.mark.parametrize(("here", "elsewhere"), [("x86_64", "arm"), ("aarch64", "avx2")])
def test_what_is_written_for_another_processor_is_timed_for_who_asks(
    here: str, elsewhere: str, space: Workspace, takes: Takes, monkeypatch: pytest.MonkeyPatch
):
    takes(3, 2)
    monkeypatch.setattr("platform.machine", lambda: here)
    for options, told in (((), False), (("--time",), True)):
        done = space.quantize("--target", "onnxruntime", "--cpu", elsewhere, "--json", *options)
        assert done.code == 0, done.err
        assert (done.document["speed"] is not None) is told
        assert any("its speed on this one says nothing" in note for note in done.document["notes"]) is told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--time",), "--time needs a sample to run, and there is none."),
        (("--min-speedup", "2"), "--min-speedup needs a sample to run, and there is none."),
        (("--min-speedup", "2", "--tune"), "--tune does not search for speed"),
        (("--min-speedup", "0"), "--min-speedup"),
    ],
    ids=["time", "limit", "tune", "zero"],
)
def test_what_cannot_be_timed_is_refused(options: tuple[str, ...], sentence: str, space: Workspace):
    cache = space.folder / "model.qcal"
    assert space.quantize("--cache", cache, "-q").code == 0
    done = qdq("quantize", space.model, "--cache", cache, "-o", space.folder / "other.onnx", *options)
    assert done.code == 2
    assert sentence in done.err


def test_a_limit_contradicts_no_time(space: Workspace):
    done = space.quantize("--min-speedup", 2, "--no-time", "--calib", space.folder / "nothing-is-read-before")
    assert (done.code, "--no-time contradicts --min-speedup" in done.err) == (2, True)


def test_a_float_model_and_one_that_is_quantized_have_no_speed_to_judge(space: Workspace):
    nothing = space.quantize("--min-speedup", 1, "--exclude-op", "Conv", "--exclude-op", "Gemm")
    assert (nothing.code, "have nothing to judge" in nothing.err) == (2, True)
    assert space.quantize("-q").code == 0
    again = space.quantize("--min-speedup", 1, "-o", space.folder / "again.onnx", model=space.output)
    assert (again.code, "is quantized already" in again.err) == (2, True)


def test_the_real_clock_in_a_process_of_its_own(space: Workspace):
    done = process("quantize", "model.onnx", "--calib", "arrays.npz", "--min-speedup", "0.0001", "-q", cwd=space.folder)
    assert (done.code, done.err) == (0, "")


def test_a_result_that_the_default_session_refuses_is_not_timed(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    from qdq_cli.process.errors import ModelError

    def refuse(*arguments: object, **more: object) -> object:
        raise ModelError("ONNX Runtime cannot load the model: it is too new.")

    monkeypatch.setattr(speed, "time_models", refuse)
    done = space.quantize("--time")
    assert done.code == 0
    assert "note: Speed was not measured. ONNX Runtime cannot load the model: it is too new." in done.err
    limited = space.quantize("--min-speedup", 1)
    assert (limited.code, "--min-speedup is 1, and the speed could not be measured." in limited.err) == (5, True)


def test_paths_of_both_models_are_all_that_is_read(tmp_path: Path):
    assert qdq("compare", tmp_path / "a.onnx", tmp_path / "b.onnx", "--data", tmp_path, "--time").code == 3
