"""Laws of channel classes: whatever the factors, a tensor is multiplied by what its classes say, and outputs stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.preparing.prepare import prepare
from qdq_cli.recovering.channel_rules import scalable_channels
from qdq_cli.recovering.channels import Channels, scaled_constants
from tests.networks import as_half
from tests.placement.cubic_networks import CubicStep, build_cubic, cubic_recipes
from tests.placement.random_networks import Step, build, recipes
from tests.recovering.channel_networks import NETWORKS, C, Net, flattened, normed, plain, residual

SAMPLE_MODELS = Path(__file__).parents[2] / "sample_models"


def prepared(net: Net, *outputs: str) -> ir.Model:
    return prepare(net.model(*outputs)).model


def powers_of_two(count: int, seed: int = 0) -> np.ndarray:
    return 2.0 ** np.random.default_rng(seed).integers(-3, 4, count)


def every_tensor(model: ir.Model, seed: int = 0) -> dict[str, np.ndarray]:
    """Run a model without optimisations and return its outputs and every float tensor of its main graph."""
    proto = ir.to_proto(model)
    outputs = {value.name for value in proto.graph.output}
    inner = [name for node in proto.graph.node for name in node.output if name and name not in outputs]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    feeds = {}
    for put in session.get_inputs():
        shape = [dim if isinstance(dim, int) else 2 for dim in put.shape]
        types = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(bool)": np.bool_}
        array = np.asarray(rng.integers(-400, 401, shape) / 64)
        feeds[put.name] = array.astype(types.get(put.type, np.float32))
    names = [value.name for value in session.get_outputs()]
    return {
        name: array
        for name, array in zip(names, session.run(names, feeds), strict=True)
        if isinstance(array, np.ndarray) and array.dtype.kind == "f"
    }


def with_factors(model: ir.Model, channels: Channels, factors: np.ndarray) -> ir.Model:
    clone = model.clone()
    for name, array in scaled_constants(model.graph, channels, factors).items():
        clone.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    return clone


def check_law(model: ir.Model, *, seed: int = 0) -> Channels:
    """Assert that every tensor is what its classes say, bit for bit, under random powers of two."""
    channels = scalable_channels(model.graph)
    factors = powers_of_two(channels.count, seed)
    padded = np.append(factors, 1.0)
    before, after = every_tensor(model), every_tensor(with_factors(model, channels, factors))
    for name, array in before.items():
        expected = array
        if name in channels.tensors:
            axis, classes = channels.tensors[name]
            assert classes.shape == (array.shape[axis],), name
            expected = array * padded[classes].reshape(-1, *(1,) * (array.ndim - axis - 1)).astype(array.dtype)
        np.testing.assert_array_equal(after[name], expected, err_msg=name)
    outputs = {value.name for value in model.graph.outputs}
    assert not outputs & set(channels.tensors)
    return channels


def free(channels: Channels) -> set[str]:
    return set(channels.tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_is_scaled_as_its_classes_say_and_outputs_stay(name: str):
    net = Net()
    output, expected = NETWORKS[name](net)
    assert free(check_law(prepared(net, output))) == expected


def test_doubles_follow_the_same_rules():
    net = Net()
    net.image()
    a, b = (net.op("Conv", "x", net.constant(net.weight(C, C, 3, 3)), name=name, pads=[1] * 4) for name in "ab")
    net.op("Exp", net.add(a, b, "s"), name="y")
    proto = net.proto("y")
    for constant in proto.graph.initializer:
        constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float64), constant.name))
    for info in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        info.type.tensor_type.elem_type = TensorProto.DOUBLE
    model = prepare(ir.from_proto(proto)).model
    assert not free(scalable_channels(model.graph))


@pytest.mark.parametrize("name", ["plain", "residual", "head transB=1", "pools", "normed"])
def test_half_precision_models_keep_their_outputs(name: str):
    net = Net()
    output, expected = NETWORKS[name](net)
    model = prepare(ir.from_proto(as_half(net.proto(output)))).model
    assert free(check_law(model)) == expected


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_operands_that_opsets_moved_are_found(opset: int):
    """Axes of Squeeze and of reductions, which were attributes first."""
    net = Net(opset=opset)
    a = net.first()
    m = net.op("ReduceMean", a, name="m", axes=[3]) if opset < 18 else net.op("ReduceMean", a, net.ints(3), name="m")
    s = net.op("Squeeze", m, name="s", axes=[3]) if opset < 13 else net.op("Squeeze", m, net.ints(3), name="s")
    n = net.op("ReduceSum", s, name="n", axes=[-1]) if opset < 13 else net.op("ReduceSum", s, net.ints(-1), name="n")
    y = net.gemm(net.op("Flatten", net.relu(n, "r"), name="f"), C, 3, "y", scale=None)
    assert free(check_law(prepared(net, y))) == {"a", "m", "s", "n", "r", "f"}


def test_a_branch_that_reads_a_tensor_keeps_it():
    net = Net()
    a, b = net.first(), net.second()
    net.input("c", (), TensorProto.BOOL)
    inner = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("inner", "other")]
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Exp", [a], ["inner"], name="e")], "then", [], inner[:1]),
        "else_branch": helper.make_graph(
            [helper.make_node("Identity", ["x"], ["other"], name="i")], "other", [], inner[1:]
        ),
    }
    net.op("If", "c", name="z", **branches)
    y = net.conv(a, 3, "y", scale=None)
    w = net.conv(b, 3, "w", scale=None)
    assert free(check_law(prepared(net, y, w, "z"))) == {"b"}


def test_an_output_in_the_middle_keeps_its_values():
    net = Net()
    y = net.last(net.relu(net.first(), "r"))
    assert free(check_law(prepared(net, "a", y))) == set()


def test_a_batch_of_unknown_size_is_no_obstacle():
    net = Net()
    net.image(batch="N")
    f = net.op("Flatten", net.maxpool(net.relu(net.first(), "r"), "m"), name="f")
    y = net.gemm(f, C * 9, 3, "y", scale=None)
    assert free(check_law(prepared(net, y))) == {"a", "r", "m", "f"}


def test_channels_that_meet_are_one_class():
    net = Net()
    output, _ = residual(net)
    channels = check_law(prepared(net, output))
    assert channels.count == C
    for tensor in ("a", "b", "s"):
        np.testing.assert_array_equal(channels.tensors[tensor][1], channels.tensors["t"][1])


def test_classes_of_a_norm_are_told_apart():
    net = Net()
    output, _ = normed(net)
    channels = check_law(prepared(net, output))
    assert channels.norms == set(channels.tensors["n"][1].tolist())
    other = Net()
    output, _ = plain(other)
    assert not check_law(prepared(other, output)).norms


def test_flattened_channels_keep_their_elements_together():
    net = Net()
    output, _ = flattened(net)
    channels = check_law(prepared(net, output))
    np.testing.assert_array_equal(channels.tensors["f"][1], np.repeat(channels.tensors["r"][1], 36))


@settings(max_examples=60)
@given(recipes(), st.integers(0, 9))
def test_random_networks_keep_every_tensor_as_their_classes_say(recipe: list[Step], seed: int):
    net, outputs = build(recipe)
    check_law(prepare(net.model(*outputs)).model, seed=seed)


@settings(max_examples=150)
@given(cubic_recipes(), st.integers(0, 9))
def test_axes_of_equal_size_are_not_taken_for_each_other(recipe: list[CubicStep], seed: int):
    net, output = build_cubic(recipe)
    with np.errstate(all="ignore"):
        check_law(prepare(net.model(output)).model, seed=seed)


MODELS = sorted(path.stem for path in SAMPLE_MODELS.glob("*.onnx"))


@pytest.mark.parametrize("name", MODELS)
def test_sample_models_keep_their_outputs_under_any_factors(name: str):
    model = prepare(ir.load(SAMPLE_MODELS / f"{name}.onnx")).model
    channels = scalable_channels(model.graph)
    assert bool(channels.count) == (name != "denoise_unet")  # SiLU behind every convolution
    factors = np.exp(np.random.default_rng(1).uniform(-3, 3, channels.count))
    before, after = every_tensor(model), every_tensor(with_factors(model, channels, factors))
    for value in model.graph.outputs:
        scale = np.abs(before[value.name]).max()
        np.testing.assert_allclose(after[value.name], before[value.name], rtol=1e-4, atol=1e-4 * scale)
    check_law(model)
