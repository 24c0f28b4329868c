"""Shadows: a piece of the quantized graph, fed what the float model computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper

from qdq_cli.comparing.match import match_tensors
from qdq_cli.comparing.shadow import find_pieces, shadow_model
from qdq_cli.data.batches import Batch
from qdq_cli.running.outputs import set_outputs
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source
from tests.comparing.models import CHANNELS, SIDE, chain, comparable
from tests.foreign import make_ort_models
from tests.networks import Network, run

FEED = {"images": np.random.default_rng(2).normal(size=(2, CHANNELS, SIDE, SIDE)).astype(np.float32)}


def values(model: onnx.ModelProto, names: list[str], feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of a model, ONNX Runtime's optimisations off."""
    proto = onnx.ModelProto.FromString(model.SerializeToString())
    set_outputs(proto, names)
    runner = Runner(Source(proto.SerializeToString()), threads=1)
    return runner.run(Batch(feed, ("feed",), 1))


def test_a_shadow_is_its_layer_fed_with_fp32():
    """By hand: the quantized model is cut in front of layer b and fed the float model's tensor."""
    plain, quantized = chain(quantized=False), chain()
    reference, other = comparable(plain, quantized)
    model, shadows = shadow_model(reference, other, match_tensors(reference, other))
    assert list(shadows) == ["a", "b", "c"], "Relu and pooling quantize nothing"
    got = dict(zip(shadows, run(model, dict(FEED)), strict=True))
    fed = values(plain, ["a_relu"], FEED)["a_relu"]
    cut = onnx.ModelProto.FromString(quantized.SerializeToString())
    relu = next(node for node in cut.graph.node if node.name == "a_relu")
    cut.graph.node.remove(relu)
    cut.graph.input.append(helper.make_tensor_value_info("a_relu", TensorProto.FLOAT, fed.shape))
    expected = values(cut, ["b"], {**FEED, "a_relu": fed})["b"]
    np.testing.assert_array_equal(got["b"], expected)


def test_the_float_models_tensors_keep_their_names_and_values():
    plain = chain(quantized=False)
    reference, other = comparable(plain, chain())
    model, _ = shadow_model(reference, other, match_tensors(reference, other))
    names = ["a_relu", "b", "scores"]
    found = values(ir.to_proto(model), names, FEED)
    for name, array in values(plain, names, FEED).items():
        np.testing.assert_array_equal(found[name], array)


def test_both_models_are_left_as_they_are():
    models = comparable(chain(quantized=False), chain())
    before = [ir.to_proto(model).SerializeToString(deterministic=True) for model in models]
    shadow_model(*models, match_tensors(*models))
    assert before == [ir.to_proto(model).SerializeToString(deterministic=True) for model in models]


def test_a_fused_relu_is_part_of_its_piece():
    folder = Path(make_ort_models.__file__).parent
    plain = make_ort_models.float_model()
    reference, other = comparable(plain, onnx.load(folder / "ort_defaults.onnx"))
    model, shadows = shadow_model(reference, other, match_tensors(reference, other))
    feed = {"image": np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)}
    got = dict(zip(shadows, run(model, dict(feed)), strict=True))
    expected = values(plain, ["relu1"], feed)["relu1"]
    error = got["relu1"] - expected
    assert got["relu1"].min() >= 0
    assert 15 < 10 * np.log10(np.sum(expected**2) / np.sum(error**2)) < 60


def with_branch(*, quantized: bool) -> onnx.ModelProto:
    """A convolution behind an If whose bodies read a tensor from outside."""
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    y = net.relu(x, "y")
    source = net.pair(y) if quantized else y
    bodies = {}
    for name, op_type in (("then_branch", "Neg"), ("else_branch", "Sigmoid")):
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [1, 4, 8, 8])
        node = helper.make_node(op_type, [source], [f"{name}_out"])
        bodies[name] = helper.make_graph([node], name, [], [out])
    chosen = net.op("If", net.constant(np.asarray(True)), name="chosen", **bodies)
    return net.proto(net.relu(chosen, "out"))


def test_bodies_read_what_their_node_is_given():
    reference, other = comparable(with_branch(quantized=False), with_branch(quantized=True))
    model, shadows = shadow_model(reference, other, match_tensors(reference, other))
    assert list(shadows) == ["chosen"]
    x = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    expected = -np.clip(np.rint(np.maximum(x, 0) * 32), -128, 127) / 32
    np.testing.assert_array_equal(run(model, {"x": x})[0], expected.astype(np.float32))


def test_pieces_end_at_shared_tensors():
    reference, other = comparable(chain(quantized=False), chain())
    pieces = {piece.match.tensor: piece for piece in find_pieces(other, match_tensors(reference, other))}
    kinds = [node.op_type for node in pieces["b"].nodes]
    assert sorted(kinds) == ["Conv", "DequantizeLinear", "DequantizeLinear", "QuantizeLinear", "QuantizeLinear"]
    assert not pieces["a_relu"].quantizes
