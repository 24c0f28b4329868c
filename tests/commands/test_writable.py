"""What cannot be written is found before the work: before the model is even looked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.workspace import Workspace, qdq

OUTPUTS = {
    "quantize -o": "quantize missing.onnx --calib arrays.npz -o",
    "quantize --report": "quantize missing.onnx --calib arrays.npz --report",
    "quantize --cache": "quantize missing.onnx --calib arrays.npz --cache",
    "quantize --recalibrate": "quantize missing.onnx --calib arrays.npz --recalibrate --cache",
    "quantize --dry-run --report": "quantize missing.onnx --dry-run --report",
    "quantize --tune": "quantize missing.onnx --calib arrays.npz --tune --min-sqnr 10 --report",
    "tune -o": "tune missing.onnx --calib arrays.npz --min-sqnr 10 -o",
    "tune --report": "tune missing.onnx --calib arrays.npz --min-sqnr 10 --report",
    "tune --cache": "tune missing.onnx --calib arrays.npz --min-sqnr 10 --cache",
    "sensitivity --report": "sensitivity missing.onnx --calib arrays.npz --report",
    "sensitivity --cache": "sensitivity missing.onnx --calib arrays.npz --cache",
    "calibrate -o": "calibrate missing.onnx --calib arrays.npz -o",
    "compare --report": "compare missing.onnx missing.onnx --data arrays.npz --report",
    "fix -o": "fix missing.onnx -o",
    "inspect --dot": "inspect missing.onnx --dot",
    "inspect --svg": "inspect missing.onnx --svg",
    "quantize junit": "quantize --format junit --calib arrays.npz missing.onnx",
    "compare junit": "compare --format junit --data arrays.npz missing.onnx missing.onnx",
    "inspect junit": "inspect --format junit missing.onnx",
    "cache show --plot": "cache show missing.qcal --plot",
    "cache merge -o": "cache merge missing.qcal missing.qcal -o",
    "cache export -o": "cache export missing.qcal --format json -o",
    "cache import -o": "cache import missing.json -o",
}
"""Every option that names a file to be written, in a command that would fail over its model or cache otherwise."""

PLACES = {
    "no folder": ("no/such/folder/x{}", "does not exist"),
    "a file for a folder": ("model.onnx/x{}", "does not exist: it is a file"),
    "a folder": ("folder{}", "is a folder"),
    "too long": ("x" * 300 + "{}", "cannot be written: File name too long"),
}


def ending(name: str) -> str:
    return ".html" if "--report" in name or "--tune" in name else ".svg" if "--plot" in name else ".x"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_what_cannot_be_written_is_found_first(
    space: Workspace, name: str, place: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(space.folder)
    path, problem = PLACES[place]
    path = path.format(ending(name))
    if place == "a folder":
        Path(path).mkdir()
    before = space.listing()
    done = qdq(*OUTPUTS[name].split(), path)
    assert (done.code, done.out) == (2, ""), done.err
    assert problem in done.err
    assert done.err.splitlines()[0].endswith(".")
    assert space.listing() == before


@pytest.mark.skipif(sys.platform == "win32", reason="devices of POSIX")
@pytest.mark.parametrize(
    "name", [name for name in OUTPUTS if ending(name) == ".x" and "inspect" not in name and "junit" not in name]
)
def test_devices_are_no_outputs(space: Workspace, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    done = qdq(*OUTPUTS[name].split(), os.devnull)
    assert done.code == 2
    assert "is a device or a pipe" in done.err


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_folder_that_may_not_be_written_is_found_first(space: Workspace, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    monkeypatch.setattr(
        os, "access", lambda path, mode: not mode & os.W_OK or Path(path) != space.folder
    )  # root may write everywhere
    done = qdq(*OUTPUTS[name].split(), f"x{ending(name)}")
    assert (done.code, done.out) == (2, ""), done.err
    assert "may not be written: Permission denied." in done.err


@pytest.mark.parametrize(
    "line",
    [
        "quantize model.onnx --calib arrays.npz -o a.html --report a.html",
        "quantize model.onnx --calib arrays.npz --cache a.html --report a.html",
        "quantize model.onnx --calib arrays.npz --cache a -o a",
        "tune model.onnx --calib arrays.npz --min-sqnr 1 -o a.html --report ./a.html",
        "tune model.onnx --calib arrays.npz --min-sqnr 1 -o a.html --report a.best.html",
        "sensitivity model.onnx --calib arrays.npz --cache a.html --report x/../a.html",
        "inspect model.onnx --svg a --dot a",
        "inspect model.onnx --dot a --format junit a",
        "compare model.onnx model.onnx --data arrays.npz --report model.onnx",
    ],
)
def test_no_two_outputs_are_one_file(space: Workspace, line: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    before = space.listing()
    done = qdq(*line.split())
    assert (done.code, done.out) == (2, ""), done.err
    assert space.listing() == before


def test_a_cache_that_serves_may_lie_where_nothing_can_be_written(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    (space.folder / "read-only").mkdir()
    cache = space.folder / "read-only" / "model.qcal"
    assert space.quantize("--cache", cache).code == 0
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK or Path(path) == space.folder)
    assert space.quantize("--cache", cache).code == 0
    refused = space.quantize("--cache", cache, "--recalibrate")
    assert (refused.code, "may not be written" in refused.err) == (2, True)
