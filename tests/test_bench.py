"""The bench measures what it says; no test looks at a time."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bench.deep import BLOCKS, CHANNELS, build_deep
from bench.growth import slope
from bench.machine import described
from bench.measure import Cost, alternate, child, median
from bench.networks import build
from bench.observe import observe_all, planned
from bench.pictures import pictures
from bench.plain import styles
from bench.results import Result, table
from bench.transformers import bert_base, sentences, vit_tiny


def test_activations_of_the_networks_are_those_of_a_trained_one(tmp_path):
    path = build("mobilenet_v2", tmp_path)
    model = onnx.load(path)
    norms = [node.output[0] for node in model.graph.node if node.op_type == "BatchNormalization"]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in norms)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(norms, {"input": pictures(2, seed=11)})
    assert len(found) == 52
    assert all(abs(values.mean()) < 0.7 and 0.5 < values.std() < 2.0 for values in found)
    assert session.run(None, {"input": pictures(1)})[0].shape == (1, 1000)
    assert path.stat().st_size == pytest.approx(14.2e6, rel=0.02)


def test_networks_are_built_once_and_the_same_every_time(tmp_path):
    first = build("mobilenet_v2", tmp_path / "a")
    stamp = first.stat().st_mtime_ns
    assert build("mobilenet_v2", tmp_path / "a").stat().st_mtime_ns == stamp
    assert first.read_bytes() == build("mobilenet_v2", tmp_path / "b").read_bytes()


@pytest.mark.parametrize("kind", BLOCKS)
def test_deep_networks_are_valid_and_as_deep_as_they_say(kind, tmp_path):
    model = onnx.load(build_deep(kind, 60, tmp_path))
    onnx.checker.check_model(model, full_check=True)
    assert 60 <= len(model.graph.node) < 90
    quantized = onnx.load(build_deep(kind, 60, tmp_path, quantized=True))
    onnx.checker.check_model(quantized, full_check=True)
    kinds = [node.op_type for node in quantized.graph.node]
    assert 2 * kinds.count("QuantizeLinear") > len(kinds) / 2


def test_alternate_goes_round_and_quotes_medians():
    order: list[str] = []

    def work(name, *walls):
        rest = iter(walls)

        def once():
            order.append(name)
            return Cost(next(rest), 1.0)

        return once

    found = alternate(3, {"a": work("a", 5.0, 1.0, 2.0), "b": work("b", 1.0, 1.0, 9.0)})
    assert order == ["a", "b"] * 3
    assert (found["a"].wall_seconds, found["b"].wall_seconds) == (2.0, 1.0)
    assert median([Cost(1.0, 2.0, 30), Cost(3.0, 1.0, 10), Cost(2.0, 9.0, 20)]) == Cost(2.0, 2.0, 20)


def test_a_child_is_measured_without_its_parent():
    held = np.ones(60_000_000, np.uint8)
    cost, printed = child(["-c", "data = bytearray(30_000_000); print(len(data))"])
    assert printed.strip() == "30000000"
    assert 30e6 < cost.peak_bytes < held.nbytes
    with pytest.raises(RuntimeError, match="no such name"):
        child(["-c", "raise SystemExit('no such name')"])


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_plain_inference_is_tried_with_all_cores(cores):
    assert {style.inside * style.beside for style in styles(cores)} == {cores}
    assert {style.batch for style in styles(cores)} == {1, 2, 4, 8, 16}


@pytest.mark.parametrize(("make", "samples"), [(vit_tiny, pictures), (bert_base, sentences)])
def test_transformers_run_and_are_planned(make, samples, tmp_path):
    path = build(make.__name__, tmp_path, lambda: make(layers=2))
    model, plan = planned(path)
    assert len(plan.targets) >= 10
    found = observe_all(model, plan, samples(2, seed=1), 2)
    assert all(0 < histogram.amax < 100 for histogram in found.values())


def test_a_slope_is_that_of_the_power():
    sizes = (50, 500, 5_000)
    assert slope(sizes, [3e-4 * size for size in sizes]) == pytest.approx(1.0)
    assert slope(sizes, [size**2 for size in sizes]) == pytest.approx(2.0)


def test_the_table_says_what_is_missed():
    lines = table([Result("a", "work", 2.0, 1.5), Result("b", "work", 1.0, 1.5), Result("c", "work", 3.0)])
    assert ["MISSED" in line for line in lines] == [False, True, False, False]
    assert ["met" in line for line in lines] == [False, False, True, False]


def test_the_machine_is_described():
    found = described()
    assert found["cores"].isdigit()
    assert "onnxruntime" in found["packages"]
    assert all(found.values())


def test_stages_are_timed_in_cpu_seconds(tmp_path):
    model = build_deep("residual", 20, tmp_path)
    np.save(tmp_path / "samples.npy", np.zeros((8, CHANNELS, 8, 8), np.float32) + np.arange(8.0)[:, None, None, None])
    words = ["--calib", str(tmp_path / "samples.npy"), "--verify", "0", "-o", str(tmp_path / "out.onnx")]
    cost, printed = child(["-m", "bench.staged", "quantize", str(model), "--json", *words])
    seconds = json.loads(printed)["seconds"]
    assert 0 < sum(seconds.values()) < cost.cpu_seconds
