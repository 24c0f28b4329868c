"""What is predicted of ONNX Runtime's optimizer, against what it writes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from qdq_cli.model import files
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.onnxruntime.fusion import BIAS, NO_Q, Fusions, fuse
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from tests.networks import Network, serialized
from tests.targets.tensorrt.random_networks import FLOAT_STEPS, QDQ_STEPS, assembled, finished
from tests.workspace import SAMPLES, qdq

STEPS = (*FLOAT_STEPS, "depthwise_float", "add", "sigmoid", "split")


def optimized(model: ir.Model, folder: Path) -> onnx.GraphProto:
    """What the default session makes of a model, as far as it does so on every processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(serialized(model), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath).graph


def on_integers(graph: onnx.GraphProto) -> dict[str, str]:
    kernels = ("QLinear", "QGemm", "MatMulInteger")
    found = {node.name: node.op_type for node in graph.node if node.op_type.startswith(kernels)}
    return {name.removesuffix("/MatMulAddFusion"): kernel for name, kernel in found.items()}


def predicted(found: Fusions) -> dict[str, str]:
    return {entry.node: entry.becomes for entry in found.fused if entry.becomes != entry.op_type}


def left_alone(graph: onnx.GraphProto) -> tuple[int, int]:
    counts = Counter(node.op_type for node in graph.node)
    return counts["QuantizeLinear"], counts["DequantizeLinear"]


def predicted_alone(found: Fusions) -> tuple[int, int]:
    counts = Counter(entry.op_type for entry in found.alone)
    return counts["QuantizeLinear"], counts["DequantizeLinear"]


def planned(model: ir.Model) -> ir.Model:
    ready = prepare(model).model
    return draft(ready, make_plan(ready, ONNXRUNTIME))


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.onnx")), ids=lambda path: path.stem)
def test_sample_models(path: Path, tmp_path: Path):
    model = planned(files.load(path).model)
    real, found = optimized(model, tmp_path), fuse(model)
    assert predicted(found) == on_integers(real)
    (quantizes, dequantizes), (real_quantizes, real_dequantizes) = predicted_alone(found), left_alone(real)
    shapes = sum(node.op_type == "Shape" for node in model.graph)  # some of them are known before anything runs
    assert quantizes == real_quantizes
    assert real_dequantizes <= dequantizes <= real_dequantizes + shapes


@pytest.mark.parametrize("seed", range(24))
def test_random_networks_that_were_planned(seed: int, tmp_path: Path):
    net = assembled(random.Random(seed).choice, STEPS)
    model = planned(ir.serde.deserialize_model(finished(net)))
    real, found = optimized(model, tmp_path), fuse(model)
    assert predicted(found) == on_integers(real)
    assert predicted_alone(found) == left_alone(real)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_of_other_origin(seed: int, tmp_path: Path):
    """Weighted operators alone: what becomes of pairs that undo each other is not followed."""
    model = ir.serde.deserialize_model(finished(assembled(random.Random(seed).choice, QDQ_STEPS)))
    real = on_integers(optimized(model, tmp_path))
    assert {name for name in predicted(fuse(model)) if name in real} == set(predicted(fuse(model)))


def product(bias: bool, behind: bool) -> ir.Model:
    net = Network()
    net.input("x", (2, 16))
    weight = net.quantized_weight(net.weight(16, 8), 1, "w")
    made = net.op("MatMul", net.pair("x"), weight, name="product")
    made = net.op("Add", made, net.constant(net.weight(8), "b"), name="sum") if bias else made
    return net.model(net.pair(made) if behind else made)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_products_of_matrices(bias: bool, behind: bool, tmp_path: Path):
    model = product(bias, behind)
    found = fuse(model)
    together = {"sum": "QGemm"} if bias and behind else {}  # one kernel takes the place of both
    assert predicted(found) == on_integers(optimized(model, tmp_path)) | together
    assert (found.left == {"product": BIAS}) is (bias and not behind)


def test_a_result_that_is_read_as_floats_too_keeps_a_convolution_float(tmp_path: Path):
    net = Network()
    net.input("x", (1, 4, 6, 6))
    first = net.conv("x", 4, "first")
    model = net.model(net.conv(first, 4, "second"), net.op("Erf", first, name="y"))
    found = fuse(model)
    assert found.left == {"first": NO_Q, "second": NO_Q}
    assert predicted(found) == on_integers(optimized(model, tmp_path)) == {}


def test_the_command_says_so(tmp_path: Path):
    shown = qdq("inspect", SAMPLES / "digits_resnet.onnx", "--target", "onnxruntime", "--no-channel-rules")
    assert shown.code == 0, shown.err
    assert "14 of 14 weighted operators" in shown.out
    assert "13 QLinearConv, 5 QLinearAdd" in shown.out
    assert "0 inside, 1 at inputs and outputs" in shown.out
    net = Network()
    net.input("x", (1, 4, 6, 6))
    path = tmp_path / "m.onnx"
    onnx.save(net.proto(net.op("Erf", net.conv("x", 4, "first"))), path)
    refused = qdq("inspect", path, "--target", "onnxruntime", "--max-standalone", 0)
    assert refused.code == 5
    assert "beside first" in refused.err
    assert qdq("inspect", SAMPLES / "digits_resnet.onnx", "--target", "onnxruntime", "--layers").code == 2


def test_a_model_is_left_as_it_is():
    model = product(bias=True, behind=True)
    before = serialized(model)
    fuse(model)
    assert serialized(model) == before
