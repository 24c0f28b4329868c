"""The first qdq.toml of a model: what the model tells is in it, every command reads it, and no file is lost."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
import tomllib
from pathlib import Path

import onnx
import pytest

from qdq_cli.main import run
from tests.networks import Network
from tests.workspace import SIDE, Workspace, command, environment, make_workspace, qdq


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    return make_workspace(tmp_path)


def settings(name: str = "qdq.toml") -> dict[str, dict[str, object]]:
    models: dict[str, dict[str, object]] = tomllib.loads(Path(name).read_text(encoding="utf-8"))["models"]
    return models


def test_what_the_model_tells_is_in_the_file_and_quantize_needs_no_more(here: Workspace):
    done = qdq("init", "model.onnx")
    assert done.code == 0, done.err
    assert settings() == {"model.onnx": {"calib": ["images"], "preprocess": "imagenet", "inspect": {}}}
    text = Path("qdq.toml").read_text(encoding="utf-8")
    assert "# input images: float32 [N, 3, 16, 16]" in text
    assert 'preprocess = "imagenet"  # a guess: the pictures have 3 channels' in text
    assert qdq("quantize", "model.onnx").code == 0


def test_what_is_only_proposed_can_be_switched_on(here: Workspace):
    assert qdq("init", "model.onnx").code == 0
    text = Path("qdq.toml").read_text(encoding="utf-8")
    head, _, table = text.partition("[models")
    proposed = re.sub(r"^# (?=[\w-]+ = )", "", f"[models{table}", flags=re.MULTILINE)
    assert proposed != f"[models{table}"
    Path("qdq.toml").write_text(head + proposed.replace('trt = "11"', 'trt = "10"'), encoding="utf-8")
    done = qdq("quantize", "model.onnx", "--json", "--min-agreement", "0", "--min-sqnr", "1")
    assert done.code == 0, done.err
    assert done.document["calibration"]["cache"] == "model.qcal"
    assert qdq("inspect", "model.onnx").code == 0


def test_answers_on_the_command_line_are_written_down(here: Workspace):
    words = ("--calib", "arrays.npz", "--preprocess", "unit", "--min-sqnr", "12.5", "--trt", "11")
    done = qdq("init", "model.onnx", *words, "--json")
    assert settings()["model.onnx"] == {
        "calib": ["arrays.npz"], "preprocess": "unit", "trt": "11", "min-sqnr": 12.5, "inspect": {},
    }  # fmt: skip
    assert done.document["preprocess"] == "unit"
    assert done.document["inputs"] == ["input 'images' (float32 [N, 3, 16, 16])"]


def test_a_known_exporter_gives_its_preset(here: Workspace):
    model = onnx.load(here.model)
    for key, value in (("author", "Ultralytics"), ("description", "Ultralytics YOLOv8n model")):
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, here.model)
    done = qdq("init", "model.onnx")
    assert settings()["model.onnx"]["preprocess"] == "yolov8"
    assert "# its metadata names Ultralytics and this family" in done.out


def test_open_sizes_are_left_to_fill_in(here: Workspace):
    net = Network()
    x = net.input("x", ("N", 3, "h", "w"))
    onnx.save(net.proto(net.relu(net.conv(x, 16, scale=None))), here.model)
    done = qdq("init", "model.onnx")
    assert '# input-shape = ["x:?x3x?x?"]' in done.out
    assert qdq("init", "model.onnx", "--input-shape", "x:1x3x8x8", "-o", "other.toml").code == 0
    assert settings("other.toml")["model.onnx"]["input-shape"] == ["x:1x3x8x8"]


def test_names_in_a_model_forge_no_settings(here: Workspace):
    name = 'x\ncalib = ["/etc"]\x1b[2J'
    net = Network()
    onnx.save(net.proto(net.relu(net.conv(net.input(name, (1, 3, SIDE, SIDE)), 16, scale=None))), here.model)
    odd = here.folder / 'a "b"\\c.onnx'
    here.model.rename(odd)
    done = qdq("init", odd.name, "--calib", "images")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + Path("qdq.toml").read_text(encoding="utf-8")
    assert settings() == {odd.name: {"calib": ["images"], "preprocess": "imagenet", "inspect": {}}}


def test_a_file_that_is_there_is_kept_or_gets_one_more_table(here: Workspace):
    assert qdq("init", "model.onnx").code == 0
    before = Path("qdq.toml").read_text(encoding="utf-8") + "# mine\n"
    Path("qdq.toml").write_text(before, encoding="utf-8")
    done = qdq("init", "model.onnx")
    assert done.code == 2
    assert "qdq.toml is there already." in done.err
    assert "has a table for model.onnx already" in qdq("init", "model.onnx", "--add").err
    assert Path("qdq.toml").read_text(encoding="utf-8") == before
    Path("second.onnx").write_bytes(here.model.read_bytes())
    assert qdq("init", "second.onnx", "--add").out.startswith("added to qdq.toml:")
    assert Path("qdq.toml").read_text(encoding="utf-8").startswith(before)
    assert list(settings()) == ["model.onnx", "second.onnx"]


def test_no_model_no_file(here: Workspace):
    assert qdq("init", "missing.onnx").code == 3
    assert run(["init", "images"]) == 3
    assert not Path("qdq.toml").exists()


def test_a_quantized_model_is_pointed_out(here: Workspace):
    assert here.quantize("-q").code == 0
    assert "holds Q/DQ; qdq quantize wants the float model." in qdq("init", "model.qdq.onnx").err


def test_on_a_terminal_the_rest_is_asked_for_until_it_is_right(here: Workspace):
    """Asked on a real terminal; an empty line takes what is proposed."""
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        command("init", "model.onnx"), cwd=here.folder, env=environment(), stdin=terminal, stdout=subprocess.PIPE,
        stderr=terminal,
    ) as asked:  # fmt: skip
        os.close(terminal)
        os.write(controller, b"arrays.npz\n\n9.9\n8.6\n\n")
        said = _read(controller, asked)
    assert asked.returncode == 0, said
    assert "Calibration data (folder, archive, list, .npz) [images]:" in said
    assert "'9.9' is not one of" in said
    assert settings()["model.onnx"] == {
        "calib": ["arrays.npz"], "preprocess": "imagenet", "trt": "8.6", "inspect": {},
    }  # fmt: skip


def _read(controller: int, asked: subprocess.Popen[bytes]) -> str:
    found = b""
    while True:
        try:
            found += os.read(controller, 4096)
        except OSError:  # the other end is closed
            break
    while asked.poll() is None:
        time.sleep(0.01)
    return found.decode()
