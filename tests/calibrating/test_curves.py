"""The function that alone reads a tensor, found in the graph, and what it is worth in a model for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli import DataConfig, QuantizeConfig, RangeConfig, VerifyConfig, quantize_model
from qdq_cli.calibrating.curves import curves_of
from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.known import target_named
from tests.networks import Network


def network(activation: str) -> Network:
    """Two convolutions with something between them, whose input is `c`."""
    net = Network(opset=17)
    c = net.conv(net.input("images", ("N", 3, 12, 12)), 8, "first", scale=None)
    match activation:
        case "swish":
            made = net.op("Mul", c, net.op("Sigmoid", c))
        case "hardswish by hand":
            made = net.op("Mul", c, net.op("HardSigmoid", c, alpha=1 / 6, beta=0.5))
        case "another slope":
            made = net.op("Mul", c, net.op("HardSigmoid", c, alpha=0.3, beta=0.5))
        case "gate of another":
            made = net.op("Mul", net.relu(c), net.op("Sigmoid", c))
        case "two":
            made = net.add(net.op("Tanh", c), net.op("Sigmoid", c))
        case _:
            made = net.op(activation, c)
    net.conv(made, 8, "second", scale=None)
    return net


CURVES = {
    "swish": "swish",
    "hardswish by hand": "hardswish",
    "HardSwish": "hardswish",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "HardSigmoid": "hardsigmoid",
    "another slope": None,
    "gate of another": None,
    "two": None,
    "Softplus": None,
}


@pytest.mark.parametrize("activation", CURVES)
def test_the_function_is_found_where_it_alone_reads_codes(activation: str):
    model = prepare(network(activation).model("second")).model
    config = PlanConfig(channel_rules=False)  # which leave a Conv of three channels float
    found = curves_of(model, make_plan(model, target_named("onnxruntime"), config))
    assert found.get("first") == CURVES[activation]
    assert curves_of(model, make_plan(model, target_named("tensorrt"), config)) == {}


def test_outputs_gain_from_it(tmp_path: Path):
    path, arrays = tmp_path / "m.onnx", tmp_path / "a.npz"
    onnx.save(network("swish").proto("second"), path)
    random = np.random.default_rng(0)
    np.savez(arrays, images=(20 * random.standard_normal((32, 3, 12, 12))).astype(np.float32))

    def sqnr_db(method: str) -> float:
        report = quantize_model(
            QuantizeConfig(
                path,
                tmp_path / f"{method}.onnx",
                DataConfig(calib=(arrays,)),
                ranges=RangeConfig(method=method),
                verify=VerifyConfig(samples=8),
                target="onnxruntime",
                time=False,
                plan=PlanConfig(all_int8=True, channel_rules=False),
            )
        )
        return report.verification.outputs["second"].sqnr_db

    assert sqnr_db("auto") > sqnr_db("mse") + 1.0
