"""Variants: what carries over to a smaller plan, the work that INT8 loses, shapes that only a run knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from calibrators import Range
from qdq_cli.calibrating.calibration import Ranges
from qdq_cli.config.placement import PlanConfig
from qdq_cli.data.batches import Batch
from qdq_cli.judging.candidate import Candidate
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.quantizing.groundwork import carried_over
from qdq_cli.sensitivity.shapes import shapes_in
from qdq_cli.sensitivity.work import WorkMeter
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.workspace import small_convnet


@pytest.fixture
def model() -> ir.Model:
    return prepare(ir.serde.deserialize_model(small_convnet().proto("scores"))).model


def batch_of(model: ir.Model, *shape: int) -> Batch:
    return Batch({model.graph.inputs[0].name or "": np.ones(shape, np.float32)}, ("one",), shape[0])


def test_what_stays_quantized_keeps_its_constants_and_the_rest_gets_its_own_back(model: ir.Model):
    plan, smaller = make_plan(model, TENSORRT), make_plan(model, TENSORRT, PlanConfig(exclude=("middle",)))
    kept = tuple(Range.symmetric(1.0 + number) for number in range(len(plan.groups)))
    half = Range(0.0, 0.5)
    arrays = {target.tensor: np.ones(1, np.float32) for target in plan.weights}
    biases = {name: np.zeros(1) for name in plan.quantized}
    base = Candidate(plan, kept, weight_ranges=arrays, weights=arrays, biases=biases)
    found = carried_over(base, smaller, Ranges((half,) * len(smaller.groups), 0, ()))
    assert set(found.biases) == {"first", "second", "scores"}
    assert set(found.weights) == set(found.weight_ranges) == {"first_w", "second_w", "scores_w"}
    known = {group.tensors: value for group, value in zip(plan.groups, kept, strict=True)}
    assert found.ranges == tuple(known.get(group.tensors, half) for group in smaller.groups)


def test_the_work_lost_is_that_of_the_plan_without_the_operator(model: ir.Model):
    plan = make_plan(model, TENSORRT)
    meter = WorkMeter(model, shapes_in(model, batch_of(model, 2, 3, 16, 16)), TENSORRT)
    whole = meter.of(plan)
    assert whole.macs_percent == pytest.approx(100.0)
    names = ("first", "middle", "second", "residual", "scores")
    lost = dict(zip(names, meter.lost_without(plan, PlanConfig(), names), strict=True))
    macs = {"first": 27 * 256, "middle": 144 * 256, "second": 144 * 256, "residual": 0, "scores": 10}
    total = sum(16 * count for count in macs.values())
    for name, count in macs.items():
        assert lost[name].macs_percent == pytest.approx(100 * 16 * count / total)
        rest = meter.of(make_plan(model, TENSORRT, PlanConfig(exclude=(name,))))
        assert lost[name].traffic_percent == pytest.approx(whole.traffic_percent - rest.traffic_percent)
    assert lost["residual"].traffic_percent > 0
    assert lost["second"].percent == (lost["second"].macs_percent + lost["second"].traffic_percent) / 2


def test_a_run_knows_the_shapes_that_inference_does_not():
    net = Network()
    x = net.input("x", ("N", 16, "H", "W"))
    sides = net.op("Shape", x, name="sides")
    first = net.conv(x, 16, "first", scale=None)
    found = net.op("Reshape", first, sides, name="again")
    model = prepare(net.model(net.conv(found, 16, "second", scale=None))).model
    shapes = shapes_in(model, batch_of(model, 1, 16, 8, 12))
    assert shapes["x"] == shapes["second"] == (1, 16, 8, 12)
    assert model.graph.outputs[0].name == "second"
    plan = make_plan(model, TENSORRT)
    assert WorkMeter(model, shapes, TENSORRT).of(plan).macs_percent == pytest.approx(100.0)
    assert WorkMeter(model, {}, TENSORRT).of(plan).macs_percent == 0.0


def test_the_float_model_stays_as_it_is(model: ir.Model, tmp_path: Path):
    before = ir.to_proto(model).SerializeToString()
    meter = WorkMeter(model, shapes_in(model, batch_of(model, 1, 3, 16, 16)), TENSORRT)
    meter.lost_without(make_plan(model, TENSORRT), PlanConfig(), ("first",))
    assert ir.to_proto(model).SerializeToString() == before
