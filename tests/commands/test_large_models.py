"""Large models: 15,000 nodes in one pass, and 2 GB of weights that are never read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto

from qdq_cli.main import run
from tests.networks import Network

NODES = 15_000
PAIRS = 2_000
HUGE = (23_200, 23_200)  # 2.15 GB in FP32


def test_fifteen_thousand_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    net = Network()
    y = net.input("x", ("n", 4, 8, 8))
    while len(net._nodes) < NODES:
        main = net.conv(net.relu(net.conv(y, 4)), 4)
        y = net.relu(net.add(net.pair(y), main))
    onnx.save(net.proto(y), tmp_path / "deep.onnx")
    assert run(["inspect", str(tmp_path / "deep.onnx"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["weighted_quantized"] == summary["weighted_ops"] > 2000
    assert summary["reasons"] == {"BOUNDARY_INPUT": 1, "RESIDUAL_NOT_REQUANTIZED": 1}
    assert summary["unknown_costs"] == 0


def test_thousands_of_nodes_on_one_weight_are_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    net = Network()
    y = net.input("x", (1, 32, 8, 8))
    weight = net.constant(np.full((32, 32, 1, 1), 0.1, np.float32))
    for _ in range(PAIRS):
        y = net.relu(net.op("Conv", y, weight))
    onnx.save(net.proto(y), tmp_path / "shared.onnx")
    assert run(["inspect", str(tmp_path / "shared.onnx"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["weighted_ops"] == {"total": PAIRS, "quantized": PAIRS}
    assert found["summary"]["weighted_quantized"] == PAIRS
    assert found["summary"]["standalone"] == 0


@pytest.fixture(params=["quantized", "float"])
def huge_model(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A product, with Q/DQ or still to be planned, with 2 GB of weights in a sparse data file."""
    net = Network()
    x = net.input("x", ("n", HUGE[0]))
    if request.param == "quantized":
        weight = net.quantized_weight(np.zeros((1, 1), np.float32), None, "w")
        proto = net.proto(net.op("MatMul", net.pair(x), weight, name="matmul"))
    else:
        proto = net.proto(net.op("MatMul", x, net.constant(np.zeros((1, 1), np.float32), "w"), name="matmul"))
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "w")
    tensor.CopyFrom(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=HUGE))
    tensor.data_location = TensorProto.EXTERNAL
    size = HUGE[0] * HUGE[1] * 4
    for key, value in (("location", "huge.data"), ("offset", "0"), ("length", str(size))):
        tensor.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
    del proto.graph.value_info[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "huge.onnx").write_bytes(proto.SerializeToString())
    with (tmp_path / "huge.data").open("wb") as file:
        file.truncate(size)
    return tmp_path / "huge.onnx"


def test_two_gigabytes_of_weights_are_not_read(huge_model: Path, capsys, monkeypatch):
    def refuse(self: ir.ExternalTensor, *arguments: object) -> None:
        raise AssertionError(f"{self.name} was read")

    for method in ("numpy", "tobytes", "_load", "__array__"):
        monkeypatch.setattr(ir.ExternalTensor, method, refuse)
    assert run(["inspect", str(huge_model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["size_bytes"] > 2**31
    assert found["summary"]["weighted_quantized"] == 1
    assert found["summary"]["macs"] == HUGE[0] * HUGE[1]
