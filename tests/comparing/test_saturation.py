"""Products that ONNX Runtime saturates on some processors: a comparison is exact, and tells what they lose there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import quantize_dynamic

from qdq_cli.comparing.compare import compare_models
from qdq_cli.comparing.page import comparison_page
from qdq_cli.comparing.record import Saturation
from qdq_cli.comparing.text import comparison_lines
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.screen.render import render
from tests.networks import Network
from tests.workspace import qdq


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A product whose weights are all wide and of one sign: without VNNI, each pair of it saturates."""
    net = Network()
    x = net.input("x", (1, 64))
    weight = np.random.default_rng(0).uniform(0.9, 1, (64, 8)).astype(np.float32)
    onnx.save(net.proto(net.op("MatMul", x, net.constant(weight), name="y")), tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).uniform(1, 2, (6, 64)).astype(np.float32))
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "quantized.onnx")
    return tmp_path


def config(folder: Path) -> CompareConfig:
    return CompareConfig(folder / "float.onnx", folder / "quantized.onnx", DataConfig(calib=(folder / "data.npz",)))


def said(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def test_the_loss_is_computed_on_every_processor(folder: Path):
    found = compare_models(config(folder))
    assert found.outputs["y"].sqnr_db > 45
    assert found.saturation is not None
    assert (found.saturation.operators, found.saturation.left) == (1, ())
    assert found.saturation.saturated_sqnr_db == {"y": pytest.approx(10.63, abs=0.01)}
    exact = f"{found.outputs['y'].sqnr_db:.1f}"
    assert f"There, 'y' falls from {exact} to 10.6 dB." in said(comparison_lines(found, 5))


def test_pairs_that_the_default_session_fuses_count_too(folder: Path):
    """In the file there are floats, Q and DQ; what saturates is the product that ONNX Runtime makes of them."""
    net = Network()
    x = net.input("x", (1, 64))
    scale, zero = net.constant(np.float32(2 / 255), "step"), net.constant(np.uint8(0), "zero")
    data = net.op("DequantizeLinear", net.op("QuantizeLinear", x, scale, zero), scale, zero)
    stored = net.constant(np.random.default_rng(0).integers(114, 128, (64, 8)).astype(np.int8))
    weight = net.op("DequantizeLinear", stored, net.constant(np.float32(1 / 127)), net.constant(np.int8(0)))
    onnx.save(net.proto(net.op("MatMul", data, weight, name="y")), folder / "quantized.onnx")
    found = compare_models(config(folder))
    assert found.saturation is not None
    assert found.saturation.operators == 1
    assert found.saturation.saturated_sqnr_db["y"] < 11


def test_the_loss_is_told(folder: Path):
    found = compare_models(config(folder))
    sound = replace(found, saturation=Saturation(1, {"y": found.outputs["y"].sqnr_db - 0.9}))
    bad = replace(found, saturation=Saturation(2, {"y": 6.25}, ("attention",)))
    exact = f"{found.outputs['y'].sqnr_db:.1f}"
    for record, sentence in (
        (sound, "1 operator with products of UINT8 by INT8"),
        (sound, "no output falls by more than 1 dB"),
        (bad, f"'y' falls from {exact} to 6.2 dB"),
        (bad, "What attention would lose is not computed."),
        (replace(found, saturation=Saturation(1, {}, ("attention",))), "VNNI. What attention would lose"),
    ):
        assert sentence in said(comparison_lines(record, 5))
        assert sentence.replace("'", "&#x27;") in render(comparison_page(record)).replace("&#39;", "&#x27;")


def test_the_document_has_it(folder: Path):
    done = qdq("compare", folder / "float.onnx", folder / "quantized.onnx", "--data", folder / "data.npz", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["saturation"]["operators"] == 1


def test_weights_of_seven_bits_are_not_mentioned(folder: Path):
    quantize_dynamic(folder / "float.onnx", folder / "quantized.onnx", reduce_range=True)
    found = compare_models(config(folder))
    assert found.saturation is None
    assert "saturation" not in said(comparison_lines(found, 5))
