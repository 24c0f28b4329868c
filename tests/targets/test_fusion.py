"""What is predicted of ONNX Runtime's optimizer, against what it writes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from qdq_cli.model import files
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.fused_work import fused_everywhere, weigh_fused
from qdq_cli.targets.onnxruntime.fusion import BIAS, NO_Q, Fusions, fuse
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, in_a_branch
from tests.networks import Network, serialized
from tests.targets.tensorrt.random_networks import FLOAT_STEPS, QDQ_STEPS, assembled, finished
from tests.workspace import SAMPLES, qdq, small_convnet

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


def every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_node(attribute.g)


IN_BODIES = {
    "branches": bodies(BRANCHES),
    "rounds": bodies(ROUNDS),
    "nested": bodies(NESTED),
    "scanned": bodies(SCANNED),
    "convolutions": in_a_branch(small_convnet().proto("scores")),
    "denoise_unet": in_a_branch(onnx.load(SAMPLES / "denoise_unet.onnx")),
}


@pytest.mark.parametrize("name", IN_BODIES)
def test_bodies_are_optimized_as_graphs_of_their_own(name: str, tmp_path: Path):
    model = planned(ir.from_proto(IN_BODIES[name]))
    real, found = optimized(model, tmp_path), fused_everywhere(model, fuse, bodies=True)
    flat = onnx.GraphProto(node=every_node(real))
    assert predicted(found) == on_integers(flat)
    assert predicted(found)
    assert predicted_alone(found) == left_alone(flat)
    own = {value.name for value in model.graph.inputs}
    assert all(entry.neighbour or entry.tensor in own for entry in found.alone)


def test_a_network_in_a_branch_is_as_much_work_as_in_the_main_graph():
    alone, inside = small_convnet().proto("scores"), IN_BODIES["convolutions"]
    one, other = (planned(ir.from_proto(proto)) for proto in (alone, inside))
    expected = weigh_fused(one, fuse, ONNXRUNTIME.operators, bodies=True)
    found = weigh_fused(other, fuse, ONNXRUNTIME.operators, bodies=True)
    assert found.weighted_on_codes == expected.weighted_on_codes > 0
    assert (found.weighted, found.macs, found.macs_percent) == (expected.weighted, expected.macs, expected.macs_percent)
    floats = weigh_fused(other, fuse, ONNXRUNTIME.operators, bodies=False)
    assert (floats.weighted_on_codes, floats.macs, floats.macs_percent) == (0, expected.macs, 0.0)


@pytest.mark.parametrize("seed", range(24))
def test_random_networks_that_were_planned(seed: int, tmp_path: Path):
    net = assembled(random.Random(seed).choice, STEPS)
    model = planned(ir.serde.deserialize_model(finished(net)))
    real, found = optimized(model, tmp_path), fuse(model)
    assert predicted(found) == on_integers(real)
    assert predicted_alone(found) == left_alone(real)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_of_other_origin(seed: int, tmp_path: Path):
    """Of INT8 pairs ONNX Runtime makes UINT8 on x86 where one operator reads them; that is not followed."""
    model = ir.serde.deserialize_model(finished(assembled(random.Random(seed).choice, QDQ_STEPS)))
    real = on_integers(optimized(model, tmp_path))
    assert {name for name in predicted(fuse(model)) if name in real} == set(predicted(fuse(model)))


def behind_an_input(*steps: Callable[[Network, str], str]) -> ir.Model:
    """Steps one behind the other, then an Erf that reads floats."""
    net = Network()
    tensor = net.input("x", (1, 4, 6, 6))
    for step in steps:
        tensor = step(net, tensor)
    return net.model(net.op("Erf", tensor, name="y"))


def pair(scale: float) -> Callable[[Network, str], str]:
    return lambda net, tensor: net.pair(tensor, scale, shared=False)


def read_twice(net: Network, tensor: str) -> str:
    """The pair in front keeps one reader besides the step behind."""
    net.op("Exp", tensor, name="beside")
    return tensor


@pytest.mark.parametrize(
    ("model", "stay"),
    [
        (behind_an_input(pair(0.5), pair(0.5)), (1, 1)),
        (behind_an_input(pair(0.5), pair(0.25)), (1, 1)),
        (behind_an_input(pair(0.5), pair(0.25), pair(0.125)), (1, 1)),
        (behind_an_input(pair(0.5), read_twice, pair(0.5)), (1, 2)),
        (behind_an_input(pair(0.5), read_twice, pair(0.25)), (2, 3)),
        (behind_an_input(lambda net, tensor: net.pair(tensor, 0.5, shared=False) and tensor), (1, 1)),
        (behind_an_input(pair(0.5), lambda net, tensor: net.maxpool(tensor, "unread") and tensor), (1, 2)),
    ],
    ids=["equal", "finer", "three", "equal, read twice", "finer, read twice", "unread", "pooled, unread"],
)
def test_pairs_in_a_row_and_pairs_that_nothing_reads(model: ir.Model, stay: tuple[int, int], tmp_path: Path):
    assert predicted_alone(fuse(model)) == stay
    assert left_alone(optimized(model, tmp_path)) == stay


@pytest.mark.parametrize("shared", [True, False])
def test_equal_quantizes_of_one_tensor_are_one_where_they_read_one_zero_point(shared: bool, tmp_path: Path):
    net = Network()
    tensor = net.op("Exp", net.input("x", (1, 4, 6, 6)), name="made")
    first, second = (net.pair(tensor, 0.5, shared=False) for _ in range(2))
    model = net.model(net.op("Erf", first, name="y"), net.op("Sin", second, name="z"))
    if shared:
        kept, other = (node for node in model.graph if node.op_type == "QuantizeLinear")
        other.replace_input_with(2, kept.inputs[2])
    assert predicted_alone(fuse(model)) == left_alone(optimized(model, tmp_path)) == (1 if shared else 2, 2)


def between_pairs(*, bias: bool = True, beside: bool = False) -> ir.Model:
    """A convolution of floats between pairs, as planners leave one."""
    net = Network()
    read = net.pair(net.input("x", (1, 4, 6, 6)), 0.5)
    operands = [read, net.constant(net.weight(4, 4, 3, 3), "w"), *([net.constant(net.weight(4), "b")] if bias else [])]
    made = net.op("Conv", *operands, name="float", pads=[1, 1, 1, 1])
    behind = net.pair(made, 0.25)
    return net.model(net.op("Erf", behind, name="y"), *([net.op("Exp", made, name="z")] if beside else []))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_a_float_weight_between_pairs_becomes_integers(bias: bool, beside: bool, tmp_path: Path):
    model = between_pairs(bias=bias, beside=beside)
    assert (
        predicted(fuse(model))
        == on_integers(optimized(model, tmp_path))
        == ({} if beside else {"float": "QLinearConv"})
    )


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


def test_open_shapes_are_told_with_what_gives_them(tmp_path: Path):
    net = Network()
    path = tmp_path / "open.onnx"
    onnx.save(net.proto(net.pair(net.conv(net.input("x", ("n", 4, "h", "w")), 4, "first"))), path)
    shown, given = (
        qdq("inspect", path, "--target", "onnxruntime", *more) for more in ((), ("--input-shape", "x:1x4x6x6"))
    )
    assert "of unknown shape left out; --input-shape)" in " ".join(shown.out.split())
    assert (given.code, "unknown shape" in given.out) == (0, False)


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
