"""The bench of the verdict: what counts as much and as little, and which ranges are spoiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from bench.spoiling import Spoiling, spoilings, write_spoiled
from bench.verdict import Spoiled, rates_of
from qdq_cli import DataConfig, QuantizeConfig, VerifyConfig, quantize_model
from qdq_cli.quantizing.report import Report
from tests.bodies import ROUNDS, bodies, samples

SAMPLES = Path(__file__).parents[2] / "sample_models"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    output = tmp_path_factory.mktemp("bench") / "out.onnx"
    data = DataConfig((SAMPLES / "images" / "digits",), "unit", samples=8)
    return quantize_model(QuantizeConfig(SAMPLES / "digits_resnet.onnx", output, data, verify=VerifyConfig(samples=0)))


@pytest.mark.parametrize(("metric", "large", "small", "between"), [("top1", 1, 2, 2), ("psnr_db", 3, 1, 1)])
def test_what_counts_as_much_and_as_little(metric: str, large: int, small: int, between: int):
    found = [Spoiled(0, lost, lost > 0.6) for lost in (1.2, 0.7, 0.9, 0.2, -0.1)]
    if metric == "top1":
        found[0] = Spoiled(0, 1.2, False)
    rates = rates_of("model", metric, found)
    assert (rates.large[0], rates.small[0], rates.between) == (large, small, between)
    assert rates.small[1] == 0
    assert rates.large[1] == (0 if metric == "top1" else 3)
    assert str(rates).count("|") == 5


def test_other_places_are_spoiled_each_time_and_equal_ones_by_equal_seeds(report: Report):
    found = list(spoilings(report, seed=3, count=12))
    assert found == list(spoilings(report, seed=3, count=12))
    assert len({each.tensors for each in found}) == 12
    strong, mild = ([each for each in found if bool(each.floats) == is_mild] for is_mild in (False, True))
    assert all(2**-5.5 <= each.factor <= 2**-0.5 or 2 <= each.factor <= 128 for each in strong)
    assert all(2**-0.8 <= each.factor <= 2**-0.1 or 2**0.2 <= each.factor <= 2**1.5 for each in mild)
    assert not any(set(each.tensors) & set(each.floats) for each in mild)


@pytest.mark.parametrize("half", [0, 1])
def test_each_half_of_the_places_holds_all_four_kinds(report: Report, half: int):
    kinds = {(each.factor < 1, bool(each.floats)) for each in spoilings(report, 0, 8) if each.number % 2 == half}
    assert len(kinds) == 4


def scales(path: Path) -> dict[str, float]:
    """Scale of each activation that is quantized."""
    graph = onnx.load(path).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    quantizes = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] not in constants]
    return {node.input[0]: float(constants[node.input[1]]) for node in quantizes}


def test_one_range_is_spoiled_and_others_are_taken_out(report: Report, tmp_path: Path):
    plain, path = Path(report.output), tmp_path / "spoiled.onnx"
    spoiled, left = next(iter(report.groups)).tensors, report.groups[2].tensors
    write_spoiled(plain, Spoiling(0, spoiled, 4.0, left), path)
    before, after = scales(plain), scales(path)
    assert before.keys() - after.keys() == set(left) & before.keys()
    for name, scale in after.items():
        assert scale == pytest.approx(before[name] * (4.0 if name in spoiled else 1.0))
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_ranges_in_a_body_are_taken_out_as_well(tmp_path: Path):
    model, plain, path = (tmp_path / f"{name}.onnx" for name in ("float", "plain", "spoiled"))
    onnx.save(bodies(ROUNDS), model)
    np.savez(tmp_path / "calib.npz", x=samples(4), n=np.full((4,), 2))
    data = DataConfig((tmp_path / "calib.npz",))
    made = quantize_model(QuantizeConfig(model, plain, data, verify=VerifyConfig(samples=0)))
    inner = onnx.load(plain).graph.node[-1].attribute[0].g
    assert TensorProto.INT8 in {info.type.tensor_type.elem_type for info in inner.value_info}
    write_spoiled(plain, Spoiling(0, (), 1.0, made.groups[0].tensors), path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    inner = onnx.load(path).graph.node[-1].attribute[0].g
    read = {name for node in inner.node if node.op_type == "QuantizeLinear" for name in node.input[:1]}
    assert not read & set(made.groups[0].tensors)
    feeds = {"x": samples(1)[0], "n": np.array(2)}
    onnxruntime.InferenceSession(path).run(None, feeds)
