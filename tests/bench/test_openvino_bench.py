"""The bench beside NNCF, without NNCF and without measuring a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest

from bench.figures import Effort
from bench.kit import only, sample_subjects
from bench.openvino import Row, _row, quantize
from bench.peer_models import read_samples, write_samples
from qdq_cli import DataConfig
from tests.workspace import make_workspace


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    space = make_workspace(tmp_path)
    write_samples(space.model, DataConfig(calib=(space.arrays,)), tmp_path / "samples.npz")
    return tmp_path / "samples.npz"


def test_both_tools_get_the_samples_that_qdq_feeds(samples: Path):
    feeds = read_samples(samples)
    assert len(feeds) == 10
    assert {(name, array.shape, array.dtype.name) for feed in feeds for name, array in feed.items()} == {
        ("images", (1, 3, 16, 16), "float32")
    }


def test_one_process_quantizes_one_model(samples: Path):
    output = samples.with_name("result.onnx")
    assert quantize("qdq", samples.with_name("model.onnx"), samples, output) > 0
    assert "DequantizeLinear" in {node.op_type for node in onnx.load(output).graph.node}


@pytest.mark.skipif(importlib.util.find_spec("nncf") is not None, reason="NNCF is installed")
def test_without_nncf_its_row_says_why(samples: Path):
    (subject,) = only(sample_subjects(), ["digits_resnet"])
    row = _row(subject, "nncf", samples, Effort(1, 1, 600.0))
    assert (row.value, "nncf" in row.failure) == (None, True)


def test_a_row_in_words():
    row = Row("cats", "qdq", "top1", 91.234, 2.04, (19, 20), (1.5, 1.4, 1.61))
    assert str(row) == (
        "cats                 qdq  ; top1 91.23; 2.0 s CPU; 19 of 20 on integers; 1.50 times FP32 (1.40 to 1.61)"
    )
    assert str(Row("cats", "nncf", failure="it is not there")) == "cats                 nncf ; it is not there"
