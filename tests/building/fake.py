"""The stand-in for the compiler, put where the process that runs it looks for one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "compiler"


def use_fake_compiler(monkeypatch: pytest.MonkeyPatch, mode: str = "") -> None:
    """Let processes that are started from now on find it; `mode` lets it misbehave (`crash`, `hang`, ...)."""
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER), *([inherited] if inherited else [])]))
    monkeypatch.setenv("FAKE_COMPILER", mode)


def write_engine(folder: Path) -> None:
    """Write what trtexec would write about an engine of the model of `make_workspace`, by the names of its nodes."""
    image, codes = _tensor("images", "Row major linear FP32"), _tensor("codes", "Channel major Int8 format")
    layers = [
        {
            "Name": "images_QuantizeLinear",
            "LayerType": "Reformat",
            "Inputs": [image],
            "Outputs": [codes],
            "Origin": "QDQ",
        },
        _convolution("first.weight + q1 + first + first_relu", "Int8", codes, codes),
        _convolution("middle + middle_relu", "Int8", codes, codes),
        _convolution("second + residual + total", "Half", image, image),
    ]
    times = [{"count": 100}] + [
        {"name": layer["Name"], "timeMs": 1.0, "averageMs": 0.01 * (place + 1), "percentage": 25.0}
        for place, layer in enumerate(layers)
    ]
    (folder / "layers.json").write_text(json.dumps({"Layers": layers, "Bindings": ["images"]}), encoding="utf-8")
    (folder / "times.json").write_text(json.dumps(times), encoding="utf-8")


def _tensor(name: str, words: str) -> dict[str, object]:
    return {"Name": name, "Dimensions": [1, 16, 16, 16], "Format/Datatype": words}


def _convolution(name: str, weight: str, reads: dict[str, object], writes: dict[str, object]) -> dict[str, object]:
    held = {"Weights": {"Type": weight, "Count": 2304}, "Bias": {"Type": "Float", "Count": 16}}
    return {"Name": name, "LayerType": "CaskConvolution", "Inputs": [reads], "Outputs": [writes], **held}


TRTEXEC = '''#!{python}
"""Stands for trtexec: what it prints and writes, by the documented options; FAKE_TRTEXEC lets it misbehave."""
import os, shutil, signal, sys, time

mode, release = os.environ.get("FAKE_TRTEXEC", ""), os.environ.get("FAKE_RELEASE", "v100300")
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if mode != "alien":
    print("&&&& RUNNING TensorRT.trtexec [TensorRT " + release + "] # " + " ".join(sys.argv))
if "help" in options:
    sys.exit(0)
with open(os.environ["FAKE_SEEN"], "w", encoding="utf-8") as seen:
    seen.write("\\n".join(sys.argv[1:]))
if release.startswith("v11") and {{"int8", "fp16"}} & set(options):
    print("[01/01/2026-00:00:00] [E] Unknown option: --int8")
    sys.exit(1)
print("[01/01/2026-00:00:00] [I] Selected Device: NVIDIA L4")
print("[01/01/2026-00:00:00] [I] Compute Capability: 8.9")
if mode == "hang":
    time.sleep(600)
if mode == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if mode == "memory":
    held = bytearray(os.urandom(1 << 20) * 300)
    time.sleep(600)
if mode == "refuse":
    print("[01/01/2026-00:00:00] [E] [TRT] ModelImporter.cpp:768: While parsing node number 1 [Det -> \\"y\\"]:")
    print("[01/01/2026-00:00:00] [E] [TRT] ModelImporter.cpp:769: --- Begin node ---")
    print("name: \\"the_det\\"")
    print("[01/01/2026-00:00:00] [E] [TRT] ModelImporter.cpp:773: ERROR: builtin.cpp:5 In function importFallback:")
    print("[8] Assertion failed: no such plugin")
    print("[01/01/2026-00:00:00] [E] Failed to parse onnx file")
    sys.exit(1)
if mode == "fail":
    print("[01/01/2026-00:00:00] [E] Error[10]: Could not find any implementation for node middle.")
    print("[01/01/2026-00:00:00] [E] Engine could not be created from network")
    sys.exit(1)
print("[01/01/2026-00:00:00] [I] Engine built in 12.5 sec.")
with open(options["saveEngine"], "wb") as engine:
    engine.write(b"plan")
if mode != "silent":
    shutil.copy(os.path.join(os.environ["FAKE_ENGINE"], "layers.json"), options["exportLayerInfo"])
    if mode != "untimed":
        shutil.copy(os.path.join(os.environ["FAKE_ENGINE"], "times.json"), options["exportProfile"])
print("&&&& PASSED TensorRT.trtexec")
'''
"""The program, made with the path of a Python interpreter."""


def write_trtexec(folder: Path, name: str = "trtexec") -> Path:
    """Write a stand-in for trtexec into a folder; returns its path."""
    program = folder / name
    program.write_text(TRTEXEC.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    return program
