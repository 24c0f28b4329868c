"""`qdq compare --layers` of models in FP8 and with weights in blocks: what errs, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.comparing.compare import compare_models
from qdq_cli.comparing.record import Cause, Kind, Origin
from qdq_cli.comparing.written_as import options_of
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.config.forms import QuantType
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.model import files
from qdq_cli.quantizing.pipeline import quantize_model
from tests.networks import Network
from tests.workspace import qdq

INPUTS, SCORES = 128, 16
RNG_SEED = 5


def product(weight: np.ndarray) -> onnx.ModelProto:
    net = Network()
    x = net.input("rows", ("N", 4, INPUTS))
    made = net.op("MatMul", x, net.constant(weight.astype(np.float32), "w"), name="product")
    return net.proto(net.op("Neg", made, name="turned"))


def cause_of(folder: Path, weight: np.ndarray, samples: np.ndarray, kind: QuantType, **ranges: object) -> Cause:
    onnx.save(product(weight), folder / "model.onnx")
    np.savez(folder / "rows.npz", rows=samples.astype(np.float32))
    data = DataConfig(calib=(folder / "rows.npz",))
    config = QuantizeConfig(
        folder / "model.onnx",
        output=folder / "result.onnx",
        data=data,
        plan=PlanConfig(type=kind, all_int8=True, gemv_rules=False),
        ranges=RangeConfig(**ranges),
        verify=VerifyConfig(samples=0),
    )
    quantize_model(config)
    found = compare_models(CompareConfig(folder / "model.onnx", folder / "result.onnx", data=data, layers=True))
    assert found.layers is not None
    cause = found.layers.ranked[0].cause
    assert cause is not None
    return cause


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(RNG_SEED)


def rows(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(8, 4, INPUTS))


def test_weights_in_fp8_are_rounded_to_what_four_digits_keep(tmp_path: Path, rng: np.random.Generator):
    cause = cause_of(tmp_path, rng.normal(size=(INPUTS, SCORES)), np.sign(rows(rng)), QuantType.FP8)
    assert (cause.origin, cause.kind) == (Origin.WEIGHTS, Kind.ROUNDING)
    decibels = float(cause.text.rpartition("SQNR of ")[2].split()[0])
    assert 28 < decibels < 35


def test_weights_that_fp8_makes_zero_are_told(tmp_path: Path, rng: np.random.Generator):
    weight = rng.normal(size=(INPUTS, SCORES)) * 2.0**-20
    weight[0] = 1.0
    samples = np.sign(rows(rng))
    samples[..., 0] = 0.0  # where the large ones have nothing to say
    cause = cause_of(tmp_path, weight, samples, QuantType.FP8)
    assert (cause.origin, cause.kind) == (Origin.WEIGHTS, Kind.UNDERFLOW)
    assert "become 0" in cause.text


def test_activations_that_fp8_makes_zero_are_told(tmp_path: Path, rng: np.random.Generator):
    samples = rows(rng) * 2.0**-20
    samples[..., 0] = 1.0
    weight = 2.0 ** rng.integers(-3, 3, size=(INPUTS, SCORES))
    weight[0] = 0.0
    cause = cause_of(tmp_path, weight, samples, QuantType.FP8, method="minmax")
    assert (cause.origin, cause.kind) == (Origin.ACTIVATION, Kind.UNDERFLOW)
    assert "become 0" in cause.text


def test_activations_beyond_the_largest_value_of_fp8_are_told(tmp_path: Path, rng: np.random.Generator):
    weight = 2.0 ** rng.integers(-3, 3, size=(INPUTS, SCORES))
    cause = cause_of(tmp_path, weight, rows(rng), QuantType.FP8, manual={"rows": (-0.5, 0.5)})
    assert (cause.origin, cause.kind) == (Origin.ACTIVATION, Kind.CLIPPING)
    assert "is cut at 0.5" in cause.text or "is cut at -0.5" in cause.text


@pytest.mark.parametrize("large", [True, False])
def test_a_block_with_one_large_weight_is_told(tmp_path: Path, rng: np.random.Generator, large: bool):
    weight = rng.normal(size=(INPUTS, SCORES))
    if large:
        weight[::64] = 40.0
    cause = cause_of(tmp_path, weight, rows(rng), QuantType.INT4_WEIGHTS)
    assert cause.origin is Origin.WEIGHTS
    assert cause.kind is (Kind.LARGE_IN_BLOCK if large else Kind.ROUNDING)
    assert ("one large weight" in cause.text) == large


def test_weights_of_another_model_are_told_in_fp8_too(tmp_path: Path, rng: np.random.Generator):
    weight, data = rng.normal(size=(INPUTS, SCORES)), np.sign(rows(rng))
    cause_of(tmp_path, weight, data, QuantType.FP8)
    onnx.save(product(rng.normal(size=(INPUTS, SCORES))), tmp_path / "model.onnx")
    config = CompareConfig(
        tmp_path / "model.onnx", tmp_path / "result.onnx", data=DataConfig(calib=(tmp_path / "rows.npz",)), layers=True
    )
    found = compare_models(config)
    assert found.layers is not None
    assert found.layers.ranked[0].cause.kind is Kind.OTHER_WEIGHTS


@pytest.mark.parametrize("kind", [*QuantType])
def test_the_options_that_write_such_a_file_again_are_found(kind: QuantType, tmp_path: Path, rng: np.random.Generator):
    onnx.save(product(rng.normal(size=(INPUTS, SCORES))), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", rows=rows(rng).astype(np.float32))
    config = QuantizeConfig(
        tmp_path / "model.onnx",
        output=tmp_path / "result.onnx",
        data=DataConfig(calib=(tmp_path / "rows.npz",)),
        plan=PlanConfig(type=kind, gemv_rules=False, experimental=kind.experimental),
        verify=VerifyConfig(samples=0),
    )
    quantize_model(config)
    expected = () if kind is QuantType.INT8 else (f"--type {kind.value}",)
    found = options_of(files.load(tmp_path / "result.onnx").model)
    assert found == expected + (("--experimental",) if kind.experimental else ())


def test_the_target_is_one_of_them_and_a_command_names_all(tmp_path: Path, rng: np.random.Generator):
    weight = rng.normal(size=(INPUTS, SCORES))
    onnx.save(product(weight), tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", rows=rows(rng).astype(np.float32))
    done = qdq(
        "quantize",
        tmp_path / "model.onnx",
        "--calib",
        tmp_path / "rows.npz",
        "--target",
        "onnxruntime",
        "--all-int8",
        "--verify",
        "0",
        "-o",
        tmp_path / "cpu.onnx",
    )
    assert done.code == 0, done.err
    assert options_of(files.load(tmp_path / "cpu.onnx").model) == ("--target onnxruntime",)
    told = qdq(
        "compare", tmp_path / "model.onnx", tmp_path / "cpu.onnx", "--data", tmp_path / "rows.npz", "--layers"
    ).out
    commands = [line for line in told.splitlines() if "qdq quantize" in line]
    assert commands and all("--target onnxruntime" in line for line in commands), told
