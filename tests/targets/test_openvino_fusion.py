"""What is predicted of OpenVINO's CPU plugin, against the execution graph that it makes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
import pytest

from qdq_cli.model import files
from qdq_cli.model.nodes import only_consumer
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.running.openvino import OpenVinoRunner, is_installed
from qdq_cli.targets.known import TARGETS
from qdq_cli.targets.openvino.fusion import DATA, WEIGHT, fuse
from tests.networks import Network, serialized
from tests.targets.tensorrt.random_networks import FLOAT_STEPS, QDQ_STEPS, assembled, finished
from tests.workspace import SAMPLES, qdq

there = pytest.mark.skipif(not is_installed(), reason="OpenVINO is not installed")

TARGET = TARGETS["openvino"]
STEPS = (*FLOAT_STEPS, "depthwise_float", "add", "sigmoid", "split")

_PRODUCT = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
PRODUCTS = dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _PRODUCT)
OTHERS = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), ("Pooling", "Reduce")),
    "MaxPool": ("Pooling",), "Concat": ("Concatenation",), "Split": ("Split",),
}  # fmt: skip
"""Operators that are told apart in its graph, and what they are called in it; a Transpose may vanish in another."""


def planned(model: ir.Model) -> ir.Model:
    ready = prepare(model).model
    return draft(ready, make_plan(ready, TARGET))


def random_network(seed: int, *, foreign: bool = False) -> ir.Model:
    model = ir.serde.deserialize_model(finished(assembled(random.Random(seed).choice, QDQ_STEPS if foreign else STEPS)))
    return model if foreign else planned(model)


def differing(model: ir.Model, kinds: dict[str, tuple[str, ...]], folder: Path) -> Iterator[str]:
    """Name the operators of these kinds whose type in the execution graph is not the one that is predicted.

    An operator that OpenVINO merges with another one has no layer of its own, and is not in its answer.
    """
    path = folder / "model.onnx"
    path.write_bytes(serialized(model))
    told = [(name, layer) for layer in OpenVinoRunner(path).every_layer() for name in layer.originals]
    fused = {entry.node for entry in fuse(model, TARGET.operators).fused}
    for node in model.graph:
        if node.op_type not in kinds:
            continue
        use = only_consumer(node.outputs[0])
        names = (node.name, node.outputs[0].name, "" if use is None else use[0].name)
        wanted = kinds[node.op_type]
        layer = next((layer for name, layer in told if name in names and layer.kind in wanted), None)
        if layer is not None and layer.on_integers != (node.name in fused):
            yield f"{node.op_type} {node.name}: {layer}"


@there
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.onnx")), ids=lambda path: path.stem)
def test_sample_models(path: Path, tmp_path: Path):
    assert list(differing(planned(files.load(path).model), PRODUCTS | OTHERS, tmp_path)) == []


@there
@pytest.mark.parametrize("seed", range(16))
def test_random_networks_that_were_planned(seed: int, tmp_path: Path):
    assert list(differing(random_network(seed), PRODUCTS | OTHERS, tmp_path)) == []


@there
@pytest.mark.parametrize("seed", range(12))
def test_random_networks_of_other_origin(seed: int, tmp_path: Path):
    assert list(differing(random_network(seed, foreign=True), PRODUCTS, tmp_path)) == []


def between(add: str) -> ir.Model:
    net = Network()
    x = net.pair(net.input("x", (1, 8, 6, 6)))
    made = net.conv(x, 8, "first", scale=None)
    return net.model(net.conv(net.op(add, made, name="between"), 8, "last", scale=None))


def test_what_a_kernel_does_not_get_keeps_it_float():
    net = Network()
    x = net.pair(net.input("x", (1, 8, 6, 6)))
    plain = net.op("Conv", x, net.constant(net.weight(8, 8, 3, 3), "w"), name="float weight", pads=[1, 1, 1, 1])
    coded = net.quantized_weight(net.weight(8, 8, 3, 3), 0, "v")
    model = net.model(net.op("Conv", plain, coded, name="float data", pads=[1, 1, 1, 1]))
    found = fuse(model, TARGET.operators)
    assert found.left == {"float weight": WEIGHT, "float data": DATA}
    assert found.fused == ()


def test_activations_and_a_swish_are_computed_in_the_kernel_before_them():
    net = Network()
    made = net.conv(net.input("x", (1, 8, 6, 6)), 8, "first", scale=None)
    made = net.op("Mul", made, net.op("Sigmoid", made, name="gate"), name="swish")
    made = net.relu(net.conv(made, 8, "last", scale=None))
    found = fuse(planned(ir.serde.deserialize_model(net.proto(made))), TARGET.operators)
    assert {entry.node: entry.writes_codes for entry in found.fused} == {"first": True, "last": False}
    assert {"gate", "swish"} < set(found.merged) and len(found.merged) == 3


def test_the_command_says_so():
    shown = qdq("inspect", SAMPLES / "digits_resnet.onnx", "--target", "openvino")
    assert shown.code == 0, shown.err
    text = " ".join(shown.out.split())
    assert "14 of 14 weighted operators" in text and "13 Convolution, 1 MaxPool" in text
    assert "computed with the one before" in text


def test_a_model_is_left_as_it_is():
    model = between("Relu")
    before = serialized(model)
    fuse(model, TARGET.operators)
    assert serialized(model) == before
