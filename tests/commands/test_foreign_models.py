"""Models made by other tools are read without surprise; the reports about three of them are goldens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qdq_cli.main import run
from tests.foreign import make_ort_models

FOLDER = Path(make_ort_models.__file__).parent


@pytest.mark.parametrize("name", ["ort_defaults", "ort_tensorrt", "qat_resnet"])
def test_report(name, golden, capsys, monkeypatch):
    monkeypatch.chdir(FOLDER)
    for view in ([], ["--layers"]):
        assert run(["inspect", f"{name}.onnx", *view]) == 0
    golden(f"{name}.inspect.txt", capsys.readouterr().out)


def report(path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict, set[str]]:
    assert run(["inspect", str(path), "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["summary"], {entry["code"] for entry in found["findings"]}


def test_onnx_runtime_defaults_of_this_release(tmp_path, capsys):
    target = tmp_path / "defaults.onnx"
    make_ort_models.quantize(target, {})
    summary, codes = report(target, capsys)
    assert {"E_ZP_NONZERO", "E_BIAS_QUANTIZED"} <= codes
    assert "W_DQ_ONLY_WEIGHTS" in report(target, capsys, "--trt", "8.6")[1] - codes
    assert summary["weighted_quantized"] == summary["weighted_ops"] == 5


def test_onnx_runtime_settings_for_tensorrt_of_this_release(tmp_path, capsys):
    target = tmp_path / "tensorrt.onnx"
    make_ort_models.quantize(target, make_ort_models.TENSORRT)
    summary, codes = report(target, capsys)
    assert summary["errors"] == 0
    assert "W_Q_BEFORE_RELU" in codes
    assert summary["weighted_quantized"] == summary["weighted_ops"] == 5
