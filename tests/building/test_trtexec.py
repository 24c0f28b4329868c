"""`qdq build --trtexec`, with a stand-in for the program that speaks and writes as the documented one does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import onnx
import pytest

from qdq_cli.building.shapes import Profile
from qdq_cli.building.trtexec import Order, words_of
from qdq_cli.building.trtexec_log import release_in
from tests.building.fake import write_engine, write_trtexec
from tests.networks import Network
from tests.workspace import Outcome, Workspace, make_workspace, qdq


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    space = make_workspace(tmp_path_factory.mktemp("trtexec"))
    assert space.quantize().code == 0
    write_engine(space.folder)
    write_trtexec(space.folder)
    return space


class Bench:
    """A quantized model, and the stand-in told how to behave."""

    def __init__(self, space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.space, self._monkeypatch = space, monkeypatch
        monkeypatch.setenv("FAKE_ENGINE", str(space.folder))
        monkeypatch.setenv("FAKE_SEEN", str(space.folder / "seen.txt"))

    def build(self, *options: object, model: Path | None = None, mode: str = "", release: str = "v100300") -> Outcome:
        self._monkeypatch.setenv("FAKE_TRTEXEC", mode)
        self._monkeypatch.setenv("FAKE_RELEASE", release)
        return qdq("build", model or self.space.output, "--trtexec", self.space.folder / "trtexec", *options)

    def seen(self) -> dict[str, str]:
        """The options of the last run."""
        lines = (self.space.folder / "seen.txt").read_text(encoding="utf-8").splitlines()
        return dict(line.lstrip("-").partition("=")[::2] for line in lines)


@pytest.fixture
def bench(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(made, monkeypatch)


def test_layers_and_times_stand_beside_the_prediction(bench: Bench):
    document = bench.build("--json").document
    (found,) = document["builds"]
    assert (document["compiler"], found["gpu"], found["outcome"]) == ("TensorRT 10.3.0", "sm89", "built")
    assert (found["seconds"], found["engine_bytes"]) == (12.5, 4)
    types = {each["name"]: (each["predicted"], each["built"], each["agrees"]) for each in found["operators"]}
    assert types == {
        "first": ("INT8", "INT8", True),
        "middle": ("INT8", "INT8", True),
        "second": ("INT8", "FP32", False),
        "scores": ("INT8", "", None),
    }
    device = document["device"]
    assert (device["name"], device["total_ms"], device["untimed"]) == ("NVIDIA L4", pytest.approx(0.1), 0)
    assert [loss["subject"] for loss in device["losses"]] == ["second", "images_QuantizeLinear"]
    assert device["conversions_ms"] == pytest.approx(0.01)


def test_the_screen_says_what_was_run_and_what_to_mend(bench: Bench):
    out = " ".join(bench.build().out.split())
    assert "trtexec on NVIDIA L4" in out
    assert "built in 12.5 s" in out
    assert "0.100 ms in 4 layers" in out
    assert "1 kernel that only quantizes or dequantizes, 10.0 us, 10.0 % of the time" in out
    assert "what to mend, most time first:" in out
    assert "the same by hand:" in out and "--exportLayerInfo=layers.json" in out
    table = bench.build("--layers").out
    assert "40.0" in table and "us" in table
    assert "INT8 predicted, FP32 built" in bench.build("--node", "second").out


def test_options_follow_the_release(bench: Bench):
    assert bench.build().code == 0
    seen = bench.seen()
    assert {"int8", "fp16"} <= seen.keys()
    assert seen["profilingVerbosity"] == "detailed"
    assert bench.build(release="v110100").code == 0
    assert not {"int8", "fp16", "stronglyTyped"} & bench.seen().keys()
    assert bench.build("--json", release="v110400").document["compiler"] == "TensorRT 11.4.0"
    assert bench.build("--json", release="v8601").document["compiler"] == "TensorRT 8.6.1"
    assert bench.build(model=bench.space.model).code == 0
    assert {"int8", "fp16"} & bench.seen().keys() == {"fp16"}


def order(tmp_path: Path, **others: Any) -> Order:
    asked = {"profiles": {}, "quantized": True, "typed": False, **others}
    return Order(Path("m.onnx"), tmp_path, tmp_path / "m.engine", **asked)


@pytest.mark.parametrize(
    ("version", "typed", "flags"),
    [
        ((8, 4), False, {"--int8", "--fp16"}),
        ((8, 6), True, set()),
        ((9, 2), True, {"--stronglyTyped"}),
        ((10, 16), False, {"--int8", "--fp16"}),
        ((10, 3), True, {"--stronglyTyped"}),
        ((11, 0), True, set()),
        ((11, 4), False, set()),
    ],
)
def test_flags_about_types(tmp_path: Path, version: tuple[int, int], typed: bool, flags: set[str]):
    words = words_of(order(tmp_path, typed=typed), version)
    assert {word for word in words if word in ("--int8", "--fp16", "--stronglyTyped")} == flags


def test_shapes_and_names_in_quotes(tmp_path: Path):
    shapes = {"in:0": Profile((1, 3), (2, 3), (4, 3), assumed=False), "b": Profile((1,), (1,), (1,), assumed=False)}
    words = words_of(order(tmp_path, profiles=shapes), (10, 3))
    assert "--minShapes='in:0':1x3,b:1" in words
    assert "--optShapes='in:0':2x3,b:1" in words
    assert "--maxShapes='in:0':4x3,b:1" in words
    assert "--shapes='in:0':2x3,b:1" in words


def test_shapes_reach_the_program(bench: Bench):
    assert bench.build("--input-shape", "images:1x3x16x16/2x3x16x16/8x3x16x16").code == 0
    seen = bench.seen()
    assert [seen[name] for name in ("minShapes", "optShapes", "maxShapes", "shapes")] == [
        "images:1x3x16x16",
        "images:2x3x16x16",
        "images:8x3x16x16",
        "images:2x3x16x16",
    ]


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8401] # trtexec", (8, 4, 1)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v9200] # trtexec", (9, 2, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b30] # C:\\t\\trtexec.exe", (10, 3, 0)),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v110401] # trtexec", (11, 4, 1)),
        ("usage: something", None),
    ],
)
def test_releases(text: str, release: tuple[int, int, int] | None):
    assert release_in(text) == release


def test_a_refusal_stands_beside_our_finding(bench: Bench, tmp_path: Path):
    net = Network()
    net.op("Det", net.op("Relu", net.input("x", (1, 4, 4))), name="the_det")
    onnx.save(net.proto("the_det"), tmp_path / "refused.onnx")
    done = bench.build(model=tmp_path / "refused.onnx", mode="refuse")
    assert done.code == 0
    assert "refused: the importer does not read 1 node" in done.out
    assert "the importer: [8] Assertion failed: no such plugin" in done.out
    assert "E_UNSUPPORTED_OP" in done.out
    failed = bench.build("--fail-on", "refused", model=tmp_path / "refused.onnx", mode="refuse")
    assert (failed.code, "at Det 'the_det'" in failed.err) == (5, True)


@pytest.mark.parametrize(
    ("mode", "options", "code", "said"),
    [
        ("hang", ("--time-limit", "1"), 5, "trtexec was still running after 1 s, and was ended"),
        ("memory", ("--memory-limit", "0.15"), 5, "trtexec took more memory than the 0.15 GB it may have"),
        ("crash", (), 3, "trtexec was ended by signal 11"),
        ("silent", (), 3, "trtexec ended well, and wrote no information about layers"),
        ("alien", (), 2, "names no release of TensorRT, so it is no trtexec"),
    ],
)
def test_whatever_happens_is_a_sentence(bench: Bench, mode: str, options: tuple[str, ...], code: int, said: str):
    done = bench.build(*options, mode=mode)
    assert (done.code, done.out) == (code, ""), done.err
    assert said in " ".join(done.err.split())


def test_a_model_that_is_read_and_not_built(bench: Bench):
    done = bench.build(mode="fail")
    assert done.code == 0
    assert "not built" in done.out
    assert "Could not find any implementation for node middle" in " ".join(done.out.split())


def test_without_times_bytes_rank(bench: Bench):
    done = bench.build(mode="untimed")
    assert "what to mend, most bytes first:" in done.out
    assert "\ntime " not in done.out


def test_releases_that_cannot_be_read(bench: Bench):
    done = bench.build(release="v8205")
    assert (done.code, "8.4 is the oldest release" in done.err) == (2, True)


def test_a_program_that_is_not_there(bench: Bench):
    done = qdq("build", bench.space.output, "--trtexec", bench.space.folder / "nowhere")
    assert (done.code, "cannot be started" in done.err) == (2, True)
    note = bench.space.folder / "note.txt"
    note.write_text("no program", encoding="utf-8")
    assert qdq("build", bench.space.output, "--trtexec", note).code == 2


def test_a_program_of_this_folder_goes_before_one_of_the_path(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(bench.space.folder)
    assert qdq("build", bench.space.output, "--trtexec", "./trtexec").code == 0
    monkeypatch.chdir(bench.space.folder.parent)
    monkeypatch.setenv("PATH", str(bench.space.folder), prepend=os.pathsep)
    assert qdq("build", bench.space.output, "--trtexec", "trtexec").code == 0


@pytest.mark.parametrize("options", [("--gpu", "sm89"), ("--against", "model.onnx")])
def test_what_does_not_go_together(bench: Bench, options: tuple[str, str]):
    done = bench.build(*options)
    assert (done.code, "is about builds without a GPU" in done.err) == (2, True)


def test_the_engine_is_kept_where_that_is_asked(bench: Bench, tmp_path: Path):
    done = bench.build("-o", tmp_path / "model.plan")
    assert done.code == 0
    assert (tmp_path / "model.plan").read_bytes() == b"plan"
    assert "for TensorRT 10.3.0 on this GPU" in done.out
    assert bench.build("-o", tmp_path / "other.plan", mode="fail").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["model.plan"]


def test_views_of_pipelines_and_a_page(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    page, report = tmp_path / "page.html", tmp_path / "junit.xml"
    done = bench.build("--format", "github", "--report", page)
    assert "| time | 0.100 ms in 4 layers |" in done.out
    text = page.read_text(encoding="utf-8")
    assert all(words in text for words in ("What to mend first", "Times", "NVIDIA L4"))
    assert bench.build(report, "--format", "junit", mode="fail").code == 0
    assert ElementTree.parse(report).getroot().get("failures") == "1"
    assert bench.build("--min-int8-macs", 10).code == 5  # one operator is in no layer, so the share is not known
    assert bench.build("--max-bytes", 2).code == 5


def test_a_name_with_spaces_as_on_windows(bench: Bench, tmp_path: Path):
    folder = tmp_path / "Program Files"
    folder.mkdir()
    program = write_trtexec(folder, "trtexec.exe")
    document = qdq("build", bench.space.output, "--trtexec", program, "--json").document
    assert document["device"]["trtexec"] == str(program)
    assert document["device"]["command"].startswith(f"'{program}'")
    assert json.loads(json.dumps(document)) == document
