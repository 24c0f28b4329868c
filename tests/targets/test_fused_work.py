"""What is predicted for CPUs: how much of the work is on integers, as a number, as a limit, on pages."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from qdq_cli.config.forms import QuantType
from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import make_plan
from qdq_cli.placement.prediction import Prediction
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.fused_work import FusedWork, of_one_sample, weigh_fused
from qdq_cli.targets.known import TARGETS, target_for
from tests.networks import Network, serialized
from tests.workspace import SAMPLES, qdq

MODEL, IMAGES = SAMPLES / "digits_resnet.onnx", SAMPLES / "images" / "digits"
CALIB = ("--calib", IMAGES, "--preprocess", "unit", "--samples", 8)
ON_CPUS = [name for name, target in TARGETS.items() if target.fuse is not None]


def two_convolutions(batch: int | str = 1, between: str = "Relu") -> ir.Model:
    """Input of 16 x 8 x 8, and two 3 x 3 convolutions to as many channels with an activation between."""
    net = Network()
    x = net.conv(net.input("x", (batch, 16, 8, 8)), 16, "first", scale=None)
    made = net.conv(net.op(between, x, name="between"), 16, "last", scale=None)
    return prepare(ir.serde.deserialize_model(net.proto(made))).model


def weighed(model: ir.Model, target: str, **config: object) -> FusedWork:
    found, plan = TARGETS[target], PlanConfig(**config)  # type: ignore[arg-type]
    assert found.fuse is not None
    return weigh_fused(
        of_one_sample(draft(model, make_plan(model, found, plan)), {}), found.fuse, found.operators, bodies=found.bodies
    )


def predicted(model: ir.Model, target: str, **config: object) -> Prediction:
    found, plan = TARGETS[target], PlanConfig(**config)  # type: ignore[arg-type]
    assert found.predictor is not None
    return found.predictor.predict(draft(model, make_plan(model, found, plan)), {})


MACS = 16 * 8 * 8 * 16 * 9
TENSOR = 16 * 8 * 8


@pytest.mark.parametrize("batch", [1, "N"])
def test_everything_on_integers(batch: int | str):
    found = weighed(two_convolutions(batch), "onnxruntime")
    assert [(each.name, each.macs, each.codes, each.floats) for each in found.operators] == [
        ("first", MACS, 2 * TENSOR, 0),  # its Relu is superfluous, and nothing is stored before it
        ("last", MACS, 2 * TENSOR, 0),
    ]
    assert [size for _, size in found.alone] == [TENSOR, TENSOR]  # the Q of the input, the DQ of the output
    assert (found.macs_percent, found.unknown) == (100.0, 0)
    assert found.traffic_percent == pytest.approx(100 * 6 / 8)


def test_an_operator_left_float_costs_its_part():
    found = weighed(two_convolutions(), "onnxruntime", exclude=("last",))
    assert [bool(each.becomes) for each in found.operators] == [True, False]
    assert found.macs_percent == 50.0
    assert [each.floats for each in found.operators] == [0, 2 * TENSOR]


@pytest.mark.parametrize("name", ON_CPUS)
def test_nothing_quantized_is_no_work_on_integers(name: str):
    found = weighed(two_convolutions(), name, exclude=("*",))
    assert (found.macs_percent, found.traffic_percent, found.weighted_on_codes, found.weighted) == (0.0, 0.0, 0, 2)
    assert sum(each.floats or 0 for each in found.operators) == 4 * TENSOR  # a Relu ends the kernel in front of it


def test_an_unknown_shape_is_said_to_be_unknown():
    net = Network()
    made = net.conv(net.input("x", (1, 16, "height", 8)), 16, "only", scale=None)
    model = prepare(ir.serde.deserialize_model(net.proto(net.op("Erf", made)))).model
    found = predicted(model, "onnxruntime")
    assert (found.quantized_macs_percent, found.quantized_traffic_percent) == (100.0, None)
    assert found.unknown_costs > 0


def test_weights_alone_are_no_work_on_integers():
    net = Network()
    made = net.op("MatMul", net.input("x", (1, 64)), net.constant(net.weight(64, 64), "w"), name="product")
    onnx_model = net.proto(made)
    model = prepare(ir.serde.deserialize_model(onnx_model)).model
    config = PlanConfig(type=QuantType.INT8_WEIGHTS)
    target = target_for("onnxruntime", config)
    assert target.predictor is not None
    found = target.predictor.predict(draft(model, make_plan(model, target, config)), {})
    assert (found.weights_alone, found.quantized_layers, found.quantized_macs_percent) == (1, 0, 0.0)


@pytest.mark.parametrize("name", ON_CPUS)
def test_the_share_of_the_work_is_a_limit_of_inspections(name: str, tmp_path: Path):
    page = tmp_path / "page.html"
    options = (MODEL, "--target", name, "--exclude", "/5/conv1/Conv", "--min-int8-macs")
    done = qdq("inspect", *options, 50, "--report", page, "--json")
    assert done.code == 0, done.err
    share = done.document["predicted"]["quantized_macs_percent"]
    assert 80 < share < 100
    text = page.read_text(encoding="utf-8")
    assert f"Predicted operators in {TARGETS[name].title}" in text and "/4/relu/Relu" in text
    missed = qdq("inspect", *options, 99.99)
    assert missed.code == 5
    assert f"{share:.2f} % of the MACs run on integers; --min-int8-macs is 99.99 %." in missed.err
    planned = qdq("quantize", *options, 99.99, "--dry-run")
    assert (planned.code, missed.err.splitlines()[-2]) == (5, planned.err.splitlines()[-2])


@pytest.mark.parametrize("name", ON_CPUS)
def test_the_share_of_the_work_is_a_limit_of_results(name: str, tmp_path: Path):
    page, path = tmp_path / "page.html", tmp_path / "m.onnx"
    options = ("quantize", MODEL, *CALIB, "--target", name, "--no-time", "--exclude", "/5/conv1/Conv", "-o", path)
    done = qdq(*options, "--report", page, "--json")
    assert done.code == 0, done.err
    counted = done.document["weighted_ops"]
    assert done.document["predicted"]["quantized_layers"] == counted["quantized"]
    assert f"Predicted operators in {TARGETS[name].title}" in page.read_text(encoding="utf-8")
    missed = qdq(*options[:-1], tmp_path / "none.onnx", "--min-int8-macs", 99.99)
    assert (missed.code, (tmp_path / "none.onnx").exists()) == (5, False)
    again = qdq("inspect", path, "--target", name, "--json").document["predicted"]
    assert again == done.document["predicted"]


@pytest.mark.parametrize("name", ON_CPUS)
def test_operators_are_ranked_for_cpus_too(name: str):
    done = qdq("sensitivity", MODEL, *CALIB, "--target", name, "--json")
    assert done.code == 0, done.err
    assert done.document["target"] == name
    operators = {each["name"]: each for each in done.document["operators"]}
    assert max(each["macs_percent"] for each in operators.values()) > 10
    assert all(each["noise"] >= 0 for each in operators.values())


def test_a_model_is_left_as_it_is():
    model = two_convolutions()
    before = serialized(model)
    predicted(model, "onnxruntime")
    assert serialized(model) == before
