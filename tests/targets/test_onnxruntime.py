"""ONNX Runtime as a target: its default session computes on integers what the plan says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from qdq_cli import DataConfig, QuantizeConfig, VerifyConfig, quantize_model
from qdq_cli.config.forms import UNPREDICTED, WeightForm
from qdq_cli.quantizing.report import Report
from qdq_cli.targets.known import TARGETS
from tests.workspace import SAMPLES, qdq

MODEL, IMAGES = SAMPLES / "digits_resnet.onnx", SAMPLES / "images" / "digits"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    output = tmp_path_factory.mktemp("onnxruntime") / "digits.onnx"
    data = DataConfig(calib=(IMAGES,), preprocess="unit", samples=48)
    return quantize_model(QuantizeConfig(MODEL, output, data, verify=VerifyConfig(samples=16), target="onnxruntime"))


def optimized(path: str, folder: Path) -> onnx.ModelProto:
    """What the default session makes of a model, as far as it holds on every processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


FLOOR_DB = 30.0
"""Measured: 37 dB, literally and by default."""


def test_integers_from_end_to_end(report: Report, tmp_path: Path):
    found = Counter(node.op_type for node in optimized(report.output, tmp_path).graph.node)
    assert report.weighted_ops.quantized == found["QLinearConv"] + found["QGemm"]
    assert (found["QuantizeLinear"], found["Conv"], found["Gemm"]) == (1, 0, 0)
    assert found["QLinearAdd"] > 0
    outputs = report.verification.outputs["scores"]
    assert outputs.sqnr_db > FLOOR_DB
    assert report.verification.default_session.sqnr_db["scores"] > FLOOR_DB


def test_weights_are_stored_as_integers_unless_asked_otherwise(report: Report):
    graph = onnx.load(report.output).graph
    sizes = {tensor.name: np.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == 1}
    assert max(sizes.values()) <= 64  # scales alone are floats
    assert QuantizeConfig(MODEL, target="onnxruntime").weight_form is WeightForm.INT8
    assert QuantizeConfig(MODEL, target="onnxruntime", weights=WeightForm.FP32).weight_form is WeightForm.FP32
    assert QuantizeConfig(MODEL).weight_form is WeightForm.FP32


def test_a_dry_run_shows_the_plan():
    shown = qdq("quantize", MODEL, "--target", "onnxruntime", "--dry-run")
    assert shown.code == 0
    assert "plan" in shown.out
    assert "TensorRT" not in shown.out


def test_what_nobody_predicts_is_said():
    shown = qdq("inspect", MODEL, "--target", "onnxruntime")
    assert shown.code == 2
    assert "--dry-run -v shows the plan" in shown.err
    assert {name for name, target in TARGETS.items() if target.predictor is None} == set(UNPREDICTED)
