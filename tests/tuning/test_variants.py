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
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, samples
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


PRODUCT = 2 * 16 * 16
"""Multiply-accumulates of each product in the models with bodies."""


def of_bodies(text: str, **others: object) -> tuple[ir.Model, dict[str, tuple[int, ...]]]:
    """A model with bodies, and the shapes of a run of it."""
    model = prepare(ir.serde.deserialize_model(bodies(text))).model
    arrays = {"x": samples(1)[0], **{name: np.asarray(value) for name, value in others.items()}}
    return model, shapes_in(model, Batch(arrays, ("one",), 2))


def shares(model: ir.Model, shapes: dict[str, tuple[int, ...]]) -> tuple[float, dict[str, float]]:
    """The share of the multiply-accumulates in INT8 with all quantized, and what each product takes away from it."""
    meter, plan = WorkMeter(model, shapes, TENSORRT), make_plan(model, TENSORRT)
    lost = meter.lost_without(plan, PlanConfig(), plan.quantized)
    parts = {name: work.macs_percent for name, work in zip(plan.quantized, lost, strict=True)}
    return meter.of(plan).macs_percent, {name: part for name, part in parts.items() if part}


@pytest.mark.parametrize(
    ("text", "others", "products"),
    [
        (BRANCHES, {"c": True}, {"MatMul_z", "MatMul_h", "MatMul_a"}),
        (BRANCHES, {"c": False}, {"MatMul_z", "MatMul_h_1"}),
        (ROUNDS, {"n": 3}, {"MatMul_p"}),
        (NESTED, {"n": 2, "c": True}, {"MatMul_p", "MatMul_a"}),
        (SCANNED, {"rows": np.ones((4, 2, 16), np.float32)}, {"MatMul_t"}),
    ],
    ids=["then", "else", "rounds", "nested", "scanned"],
)
def test_products_in_bodies_are_a_share_of_all(text: str, others: dict[str, object], products: set[str]):
    """Each body counts once, however often it runs; of a branch that a sample does not take no shape is known."""
    model, shapes = of_bodies(text, **others)
    whole, parts = shares(model, shapes)
    assert whole == pytest.approx(100.0)
    assert parts == pytest.approx(dict.fromkeys(products, 100.0 / len(products)))


def test_a_body_that_does_not_run_says_nothing_of_its_shapes():
    model, shapes = of_bodies(ROUNDS, n=0)
    assert shapes == {"x": (2, 16), "n": (), "y": (2, 16)}
    assert shares(model, shapes) == (0.0, {})


def test_what_grows_from_round_to_round_counts_by_the_round_in_the_middle():
    text = """
    agraph (float[N,16] x, int64 n) => (float[M,16] y)
    <bool yes = {1}>
    {
      y = Loop (n, yes, x) <
        body = b (int64 i, bool go, float[K,16] s) => (bool on, float[L,16] t)
        { on = Identity (go)  p = MatMul (s, w0)  t = Concat <axis = 0> (s, p) }
      >
    }
    """
    _, shapes = of_bodies(text, n=5)
    assert {name: shapes[name] for name in "spty"} == {"s": (8, 16), "p": (8, 16), "t": (16, 16), "y": (64, 16)}


def test_the_float_model_stays_as_it_is(model: ir.Model, tmp_path: Path):
    before = ir.to_proto(model).SerializeToString()
    meter = WorkMeter(model, shapes_in(model, batch_of(model, 1, 3, 16, 16)), TENSORRT)
    meter.lost_without(make_plan(model, TENSORRT), PlanConfig(), ("first",))
    assert ir.to_proto(model).SerializeToString() == before
