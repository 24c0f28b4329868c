"""Odd names and places: spaces, letters of other scripts, what shells and formats give a meaning to, links."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.main import run
from qdq_cli.process.printable import printable
from tests.networks import Network
from tests.workspace import Outcome, Workspace, command, environment, make_workspace, process, qdq

NAMES = [
    "with space",
    "Ünïcødé 模型",
    "-leading-dash",
    "hash#percent%20plus+",
    "braces{}{0}%s",
    'quote\'s "double"',
    "semi;colon&amp$HOME",
    "glob[1]*",
    "dots.in.name.onnx",
    "new\nline",
]


@pytest.fixture(params=NAMES)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    """A workspace whose folder, model, pictures and arrays all have an odd name."""
    name: str = request.param
    folder = tmp_path / name
    folder.mkdir()
    space = make_workspace(folder)
    space.model.rename(folder / f"{name}.onnx")
    space.images.rename(folder / f"{name} images")
    return space


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
def test_odd_names(odd: Workspace, monkeypatch: pytest.MonkeyPatch):
    name = odd.folder.name
    data = ["--calib", odd.folder / f"{name} images", "--preprocess", "unit"]
    done = qdq("quantize", *data, "--cache", odd.folder / f"{name}.qcal", "--", odd.folder / f"{name}.onnx")
    assert done.code == 0, done.err
    result = odd.folder / f"{name}.qdq.onnx"
    onnx.checker.check_model(str(result), full_check=True)
    monkeypatch.chdir(odd.folder)
    bare = qdq("quantize", f"--cache={name}.qcal", "-o", f"{name} again.onnx", "--json", "--", f"{name}.onnx")
    assert bare.code == 0, bare.err
    assert bare.document["model"] == f"{name}.onnx"
    assert Path(f"{name} again.onnx").read_bytes() == result.read_bytes()
    missing = qdq("quantize", "--calib", f"{name} nowhere", "--", f"{name}.onnx")
    assert missing.code == 4
    assert printable(f"{name} nowhere") in missing.err


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_that_are_no_unicode(space: Workspace):
    name = os.fsdecode(b"caf\xe9")
    space.images.rename(space.folder / name)
    (space.folder / name / "0.png").rename(space.folder / name / f"{name}.png")
    done = space.quantize("--calib", space.folder / name)
    assert done.code == 0, done.err
    (space.folder / name / f"{name}.png").write_bytes(b"no picture")
    failed = space.quantize("--calib", space.folder / name)
    assert failed.code == 4
    assert "caf\N{REPLACEMENT CHARACTER}" in failed.err
    moved = space.model.rename(space.folder / f"{name}.onnx")
    for options in (["--dry-run"], [], ["-o", space.output]):
        refused = space.quantize(*options, model=moved)
        assert refused.code == 3
        assert "onnx holds bytes that are no Unicode" in refused.err


def test_a_terminal_without_the_letters_of_a_name(space: Workspace):
    """A console of an old code page, or of the locale C: JSON escapes them, sentences replace them."""
    folder = space.folder / "模型"
    folder.mkdir()
    moved = space.model.rename(folder / "é.onnx")
    line = ["quantize", moved, "--dry-run", "--json"]
    done = process(*line, cwd=space.folder, PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert done.document["model"] == str(moved)
    failed = qdq_in_ascii("quantize", moved)
    assert failed.code == 4
    shown = qdq_in_ascii("quantize", moved, "--dry-run")
    assert shown.code == 0
    assert "??/?.onnx" in shown.out


def qdq_in_ascii(*arguments: object) -> Outcome:
    """Run with streams that take ASCII alone."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Outcome(code, *texts)


def test_a_model_in_the_current_folder_by_its_bare_name(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    proto = onnx.load("model.onnx")
    onnx.save(proto, "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    done = qdq("quantize", "model.onnx", "--calib", "arrays.npz")
    assert done.code == 0, done.err
    assert space.output.is_file()
    assert "model         model.onnx  (" in done.out
    assert "--onnx=model.qdq.onnx" in done.out


def test_relative_paths_up_and_down(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    (space.folder / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(space.folder / "a" / "b")
    done = qdq(
        "quantize", "../../model.onnx", "--calib", "../../images", "--preprocess", "unit", "-o", "../out.onnx", "-q"
    )
    assert (done.code, done.err) == (0, "")
    assert (space.folder / "a" / "out.onnx").is_file()


def test_linked_folders_and_models(space: Workspace, tmp_path_factory: pytest.TempPathFactory):
    """A hub's snapshot: links to files elsewhere; the result goes beside the link."""
    hub = tmp_path_factory.mktemp("hub")
    proto = onnx.load(space.model)
    onnx.save(proto, space.model, save_as_external_data=True, location="w.bin", size_threshold=0)
    (hub / "model.onnx").symlink_to(space.model)
    (hub / "w.bin").symlink_to(space.folder / "w.bin")
    (hub / "pictures").symlink_to(space.images)
    done = qdq("quantize", hub / "model.onnx", "--calib", hub / "pictures", "--preprocess", "unit", "-q")
    assert (done.code, done.err) == (0, "")
    assert (hub / "model.qdq.onnx").is_file()
    assert not space.output.exists()


def test_an_output_that_is_a_link_is_replaced_itself(space: Workspace):
    other = space.folder / "precious.txt"
    other.write_text("precious")
    space.output.symlink_to(other)
    assert space.quantize("-q").code == 0
    assert other.read_text() == "precious"
    assert not space.output.is_symlink()


def test_a_model_without_suffix(space: Workspace):
    bare = space.model.rename(space.folder / "network")
    assert space.quantize("-q", model=bare).code == 0
    assert (space.folder / "network.qdq.onnx").is_file()


def test_several_models_of_one_folder_do_not_meet(space: Workspace):
    second = space.folder / "model.v2.onnx"
    second.write_bytes(space.model.read_bytes())
    assert space.quantize("-q").code == 0
    assert space.quantize("-q", model=second).code == 0
    assert {path.name for path in space.folder.glob("*.qdq.onnx")} == {"model.qdq.onnx", "model.v2.qdq.onnx"}


OVER_INPUTS = [
    "quantize model.onnx --calib arrays.npz -o arrays.npz",
    "quantize model.onnx --calib images -o images/0.png",
    "quantize model.onnx --calib images/../images -o ./images/0.png",
    "quantize model.onnx --calib images -o linked.png",
    "quantize model.onnx --calib images --cache new.qcal -o new.qcal",
    "quantize model.onnx --calib images --cache ready.qcal -o ready.qcal",
    "quantize model.onnx --calib images --dry-run -o images/0.png",
    "tune model.onnx --calib images --min-sqnr 10 -o images/0.png",
    "calibrate model.onnx --calib arrays.npz -o arrays.npz",
    "calibrate model.onnx --calib images -o images/0.png",
    "inspect model.onnx --dot model.onnx",
    "inspect model.onnx --svg ./model.onnx",
    "inspect model.onnx --dot linked.onnx",
    "inspect model.onnx --dot ./linked.onnx",
]


@pytest.mark.parametrize("line", OVER_INPUTS)
def test_what_a_run_reads_is_never_written(space: Workspace, line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    assert qdq("calibrate", "model.onnx", "--calib", "images", "-o", "ready.qcal").code == 0
    (space.folder / "linked.png").symlink_to("images/0.png")
    (space.folder / "linked.onnx").symlink_to("model.onnx")
    before = {name: (space.folder / name).read_bytes() for name in space.listing() if (space.folder / name).is_file()}
    done = qdq(*line.split())
    assert (done.code, done.out) == (2, ""), done.err
    assert "is read by this run, and would be overwritten" in done.err
    assert {name: (space.folder / name).read_bytes() for name in before} == before
    assert set(space.listing()) == {*before, "images"}


def test_a_report_for_services_replaces_reports_alone(space: Workspace):
    before = space.model.read_bytes()
    done = qdq("inspect", space.model, "--format", "junit", space.model)
    assert (done.code, done.out) == (2, "")
    assert "is there, and is no report" in done.err
    assert space.model.read_bytes() == before


def test_a_model_may_lie_among_its_samples(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    for _ in range(2):  # the second time it is there already
        assert qdq("quantize", "model.onnx", "--calib", "images", "-o", "images/model.qdq.onnx").code == 0


def test_nothing_replaces_the_weights_of_a_model(tmp_path: Path):
    net = Network()
    x = net.conv(net.input("x", (1, 16, 8, 8)), 16, scale=None)
    onnx.save(net.proto(x), tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    before = (tmp_path / "w.bin").read_bytes()
    np.save(tmp_path / "x.npy", np.arange(1024, dtype=np.float32).reshape(1, 16, 8, 8))
    model, weights, data = tmp_path / "model.onnx", tmp_path / "w.bin", ("--calib", tmp_path / "x.npy")
    for words in (("inspect", model, "--dot"), ("calibrate", model, *data, "-o"), ("quantize", model, *data, "-o")):
        assert qdq(*words, weights).code == 2, words
        assert weights.read_bytes() == before
    assert qdq("quantize", model, *data, "-o", tmp_path / "model.qdq.onnx").code == 0
    (data,) = tmp_path.glob("model.qdq.onnx.*.data")
    quantized = data.read_bytes()
    assert qdq("fix", tmp_path / "model.qdq.onnx", "-o", data).code == 2
    copied = Path(shutil.copy(tmp_path / "model.qdq.onnx", tmp_path / "copied.onnx"))  # it reads the same weights
    replaced = qdq("fix", copied, "-o", tmp_path / "model.qdq.onnx")
    assert (replaced.code, data.read_bytes()) == (2, quantized)
    assert "holds weights of the input model" in replaced.err
    assert qdq("inspect", tmp_path / "model.onnx", "--dot", tmp_path / "w.dot").code == 0
    assert (tmp_path / "w.dot").read_text(encoding="utf-8").startswith("digraph")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="Python follows the locale elsewhere")
def test_a_locale_without_the_letters_of_a_name_is_told(space: Workspace):
    moved = space.model.rename(space.folder / "模型.onnx")
    changes = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = process("inspect", moved, cwd=space.folder, **changes)
    assert done.code == 3
    assert "holds letters that the locale has not.\nhint: Run in a locale of UTF-8" in done.err
    assert process("inspect", moved, cwd=space.folder, **{**changes, "PYTHONUTF8": "1"}).code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that somebody is in")
def test_a_current_folder_that_is_gone(space: Workspace):
    (space.folder / "gone").mkdir()
    for arguments, code in (
        (("inspect", "model.onnx"), 2),
        (("quantize", "model.onnx", "--calib", "x"), 2),
        (("quantize", space.model, "--calib", space.arrays, "-q"), 0),
    ):
        line = subprocess.list2cmdline(command(*arguments))
        done = subprocess.run(
            ["bash", "-c", f"mkdir -p gone; cd gone; rmdir ../gone; {line}"], cwd=space.folder, env=environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert ("The current folder does not exist any more." in done.stderr) == (code == 2)
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")
@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("inspect X", 3),
        ("quantize X --calib arrays.npz", 3),
        ("quantize model.onnx --cache X", 4),
        ("quantize model.onnx --ranges X", 4),
        ("fix model.onnx --ranges X", 4),
        ("cache show X", 4),
        ("cache merge X X -o out.qcal", 4),
        ("cache import X -o out.json", 4),
        ("cache check model.onnx X", 4),
        ("calibrate model.onnx --calib arrays.npz --append -o X", 2),
    ],
)
def test_only_regular_files_are_read(
    space: Workspace, line: str, code: int, what: str, monkeypatch: pytest.MonkeyPatch
):
    """A pipe would be waited for without end, and a device read until the memory is full."""
    monkeypatch.chdir(space.folder)
    path = Path("odd")
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    before = space.listing()
    done = qdq(*line.replace("X", "odd").split())
    assert (done.code, done.out) == (code, ""), done.err
    assert {"pipe": "pipe", "device": "device", "folder": "folder"}[what] in done.err
    assert space.listing() == before
