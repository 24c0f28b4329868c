"""The stand-in for the compiler, put where the process that runs it looks for one."""

from __future__ import annotations

import json
import os
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
