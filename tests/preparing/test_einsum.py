"""An Einsum that is a product of matrices is the MatMul it is; every other one counts and stays float."""

import numpy as np
import onnx
import pytest
from onnx import helper

from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.einsum import equation_of
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network, run
from tests.workspace import qdq

SIZES = {"a": 2, "b": 3, "c": 4, "d": 5, "e": 6, "n": 7}


def one_einsum(equation: str, *, weight: int | None = 1, open_axes: str = "", ranks: tuple[int, int] | None = None):
    """A network of one Einsum of an activation `x` and a weight, or of two activations."""
    net = Network()
    terms = equation.split("->", maxsplit=1)[0].replace(" ", "").split(",")
    shapes = [[SIZES[letter] for letter in term.replace("...", "ab")] for term in terms]
    operands = []
    for number, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        if number == weight:
            operands.append(net.constant(np.random.default_rng(number).normal(size=shape).astype(np.float32)))
        else:
            letters = term.replace("...", "ab")
            declared = [letter.upper() if letter in open_axes else SIZES[letter] for letter in letters]
            operands.append(net.input("x" if "x" not in operands else "z", tuple(declared)))
    net.op("Einsum", *operands, equation=equation, name="y")
    return net, shapes


PRODUCTS = [
    ("abc,cd->abd", 1, ["MatMul"]),
    ("abc,cde->abde", 1, ["MatMul", "Reshape"]),
    ("abcd,cde->abe", 1, ["Reshape", "MatMul"]),
    ("abc,dc->abd", 1, ["MatMul"]),
    ("acb,cd->abd", 1, ["Transpose", "MatMul"]),
    ("abc,cd->adb", 1, ["MatMul", "Transpose"]),
    ("acb,edc->adbe", 1, ["Transpose", "MatMul", "Reshape", "Transpose"]),
    ("cd,abc->abd", 0, ["MatMul"]),
    ("abc,cd", 1, ["MatMul"]),
    ("bac,cd", 1, ["Transpose", "MatMul"]),
    ("...c,cd->...d", 1, ["MatMul"]),
    ("...c,cd", 1, ["MatMul"]),
    ("c...,dc->...d", 1, ["Transpose", "MatMul"]),
    (" abc , cd -> abd ", 1, ["MatMul"]),
    ("abc,acd->abd", 1, ["MatMul"]),
    ("bac,acd->bad", 1, ["Transpose", "MatMul", "Transpose"]),
    ("abcd,adce->abe", 1, ["Transpose", "Reshape", "MatMul"]),
    ("abcd,bed->abce", 1, ["MatMul"]),  # positions of rows, as SAM adds them
    ("abcd,ced->abce", 1, ["Transpose", "MatMul", "Transpose"]),  # and of columns
    ("abcd,ade->abce", 1, ["Transpose", "MatMul", "Transpose"]),
    ("abcde,bcen->abcdn", 1, ["MatMul"]),
]


@pytest.mark.parametrize("open_axes", ["", "a", "ab"])
@pytest.mark.parametrize(("equation", "weight", "expected"), PRODUCTS)
def test_a_product_with_a_weight_becomes_a_matmul(equation: str, weight: int, expected: list[str], open_axes: str):
    net, shapes = one_einsum(equation, weight=weight, open_axes=open_axes)
    feed = {"x": np.random.default_rng(9).normal(size=shapes[1 - weight]).astype(np.float32)}
    before = run(net.model("y"), feed)[0]
    model = prepare(net.model("y")).model
    found = [node.op_type for node in model.graph]
    assert found.count("MatMul") == 1
    assert "Einsum" not in found
    if not open_axes:
        assert sorted(found) == sorted(expected)
    assert next(node.name for node in model.graph if node.op_type == "MatMul") == "y"
    assert [value.name for value in model.graph.outputs] == ["y"]
    np.testing.assert_allclose(run(model, feed)[0], before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("equation", "weight"),
    [
        ("abc,abd->abcd", None),  # two activations, and nothing is summed
        ("abc,abd->ad", None),  # one of them has nothing of its own
        ("abcd,acd->abc", None),  # the same, of a stack
        ("abc,cd->ab", 1),  # the weight is summed alone
        ("abc,cd->bd", 1),  # and the activation
        ("abc,abc->abc", 1),  # nothing is summed
        ("abc,ade->abcde", 1),
        ("abcd,acd->ab", 1),  # a vector for each
        ("abcb,cd->abd", 1),  # a diagonal
    ],
)
def test_every_other_einsum_stays_counts_and_costs(equation: str, weight: int | None, tmp_path):
    net, _ = one_einsum(equation, weight=weight)
    model = prepare(net.model("y")).model
    assert [node.op_type for node in model.graph] == ["Einsum"]
    plan = make_plan(model, TENSORRT)
    assert (plan.weighted, plan.quantized) == (1, ())
    assert [(skip.node, skip.code) for skip in plan.skips] == [("y", "EINSUM")]
    onnx.save(net.proto("y"), tmp_path / "model.onnx")
    document = qdq("inspect", tmp_path / "model.onnx", "--json").document
    labels = {letter for letter in equation.split("->", maxsplit=1)[0] if letter.isalpha()}
    assert document["summary"]["macs"] == int(np.prod([SIZES[letter] for letter in labels]))
    assert document["summary"]["quantized_macs_percent"] == 0
    assert document["summary"]["weighted_ops"] == 1


STACKS = [
    ("abc,abd->acd", ["Transpose", "MatMul"]),
    ("abcd,abed->abce", ["Transpose", "MatMul"]),  # queries by keys
    ("bqhd,bkhd->bhqk", ["Transpose", "Transpose", "MatMul"]),  # with the heads behind the tokens
    ("bhqk,bkhd->bqhd", ["Transpose", "MatMul", "Transpose"]),  # weights by values
    ("ab,bc->ac", ["MatMul"]),
    ("ab,bc->ca", ["Transpose", "Transpose", "MatMul"]),
    ("...ab,...bc->...ac", ["MatMul"]),
    ("abcd,abe->acde", ["Transpose", "MatMul", "Transpose"]),  # two axes of rows
    ("abe,abcd->acde", ["Transpose", "MatMul", "Transpose"]),  # of the second operand
    ("bqhd,bqkd->bhqk", ["Transpose", "MatMul", "Transpose"]),
    ("abcd,abce->ade", ["Transpose", "Reshape", "Reshape", "MatMul"]),  # two that are summed
    ("abc,cde->abde", ["Reshape", "MatMul", "Reshape"]),  # two axes of columns
    ("abcd,cdek->abek", ["Reshape", "Reshape", "MatMul", "Reshape"]),
]


@pytest.mark.parametrize("open_axes", ["", "ab"])
@pytest.mark.parametrize(("equation", "expected"), STACKS)
def test_a_product_of_two_activations_becomes_a_matmul(equation: str, expected: list[str], open_axes: str):
    sizes = {**SIZES, "h": 3, "k": 4, "q": 5}
    terms = equation.split("->", maxsplit=1)[0].replace("...", "de").split(",")
    net, rng, feed = Network(), np.random.default_rng(0), {}
    for name, term in zip("xz", terms, strict=True):
        net.input(name, tuple(letter.upper() if letter in open_axes else sizes[letter] for letter in term))
        feed[name] = rng.normal(size=[sizes[letter] for letter in term]).astype(np.float32)
    net.op("Einsum", *feed, equation=equation, name="y")
    model = prepare(net.model("y")).model
    assert sorted(node.op_type for node in model.graph) == sorted(expected)
    np.testing.assert_allclose(run(model, feed)[0], run(net.model("y"), feed)[0], rtol=1e-5, atol=1e-5)
    assert [(skip.node, skip.code) for skip in make_plan(model, TENSORRT).skips] == [("y", "ATTENTION")]
    assert make_plan(model, TENSORRT, PlanConfig(mha=True)).quantized == ("y",)


def test_a_batch_that_one_operand_stretches_stays():
    net = Network()
    net.op("Einsum", net.input("x", (1, 3, 4)), net.input("z", (5, 4, 2)), equation="abc,acd->abd", name="y")
    assert [node.op_type for node in prepare(net.model("y")).model.graph] == ["Einsum"]


@pytest.mark.parametrize("size", [1, "K", 4])
def test_what_is_summed_has_to_have_one_size(size: int | str):
    """Of a size of one, or an open one that may be, Einsum makes as many as the other operand has."""
    net = Network()
    net.op("Einsum", net.input("x", (2, 3, 4)), net.input("z", (2, size, 5)), equation="abc,acd->abd", name="y")
    found = [node.op_type for node in prepare(net.model("y")).model.graph]
    assert found == (["MatMul"] if size == 4 else ["Einsum"])


def test_an_einsum_in_a_branch_is_replaced_there():
    net = Network()
    x, flag = net.input("x", (2, 3, 16)), net.input("flag", (), dtype=9)
    net.constant(net.weight(16, 16), "w")
    branches = {}
    for name, equation in (("then_branch", "abc,cd->abd"), ("else_branch", "abc,dc->abd")):
        node = helper.make_node("Einsum", [x, "w"], [f"{name}_y"], name=name, equation=equation)
        out = helper.make_tensor_value_info(f"{name}_y", 1, (2, 3, 16))
        branches[name] = helper.make_graph([node], name, [], [out])
    net.op("If", flag, name="y", **branches)
    model = prepare(net.model("y")).model
    assert set(make_plan(model, TENSORRT).quantized) == {"then_branch", "else_branch"}
    for choice in (True, False):
        feed = {"x": np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32), "flag": np.array(choice)}
        np.testing.assert_allclose(run(model, feed)[0], run(net.model("y"), feed)[0], rtol=1e-5, atol=1e-5)


def test_a_size_of_one_is_stretched_by_einsum_and_not_by_matmul():
    net = Network()
    weight = net.constant(np.ones((1, 5), np.float32))
    net.op("Einsum", net.input("x", (2, 3, 4)), weight, equation="abc,cd->abd", name="y")
    assert [node.op_type for node in prepare(net.model("y")).model.graph] == ["Einsum"]


def test_an_einsum_of_one_tensor_is_no_weighted_operator():
    net = Network()
    net.op("Einsum", net.input("x", (2, 3)), equation="ab->ba", name="y")
    assert make_plan(prepare(net.model("y")).model, TENSORRT).weighted == 0


def test_open_columns_that_cannot_be_told_apart_stay():
    net = Network()
    net.op("Einsum", net.input("x", (2, 3, 4)), net.input("z", (4, "D", "E")), equation="abc,cde->abde", name="y")
    assert [node.op_type for node in prepare(net.model("y")).model.graph] == ["Einsum"]


def test_a_matrix_for_each_row_of_a_picture_is_quantized(tmp_path):
    """Relative positions, as SAM adds them: all rows of one place share a weight."""
    net = Network()
    queries = net.relu(net.input("x", ("N", 6, 6, 16)))
    rows = net.op("Einsum", queries, net.constant(net.weight(6, 6, 16)), equation="bhwc,hkc->bhwk", name="rows")
    columns = net.op("Einsum", queries, net.constant(net.weight(6, 6, 16)), equation="bhwc,wkc->bhwk", name="columns")
    net.op("Add", rows, columns, name="out")
    onnx.save(net.proto("out"), tmp_path / "model.onnx")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).normal(size=(24, 6, 6, 16)).astype(np.float32))
    options = ("--calib", tmp_path / "data.npz", "--no-channel-rules", "--json")
    done = qdq("quantize", tmp_path / "model.onnx", *options)
    assert done.code == 0, done.err
    assert done.document["weighted_ops"] == {"total": 2, "quantized": 2}
    assert done.document["predicted"]["quantized_layers"] == 2
    assert done.document["verification"]["outputs"]["out"]["sqnr_db"] > 30


def test_projections_written_as_einsum_are_quantized(tmp_path):
    net = Network()
    x = net.input("x", ("N", 10, 64))
    heads = net.op("Einsum", x, net.constant(net.weight(64, 4, 16)), equation="abc,cde->abde", name="query")
    net.op("Einsum", net.relu(heads), net.constant(net.weight(4, 16, 64)), equation="abcd,cde->abe", name="out")
    onnx.save(net.proto("out"), tmp_path / "model.onnx")
    data = np.random.default_rng(1).normal(size=(24, 10, 64)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=data)
    done = qdq("quantize", tmp_path / "model.onnx", "--calib", tmp_path / "data.npz", "--json")
    assert done.code == 0, done.err
    assert done.document["weighted_ops"] == {"total": 2, "quantized": 2}
    assert done.document["predicted"]["quantized_layers"] == 2
    assert done.document["verification"]["outputs"]["out"]["sqnr_db"] > 25


def test_equations_are_written_out():
    net, _ = one_einsum("...c,cd")
    node = next(node for node in net.model("y").graph if node.op_type == "Einsum")
    assert equation_of(node) == (("ABc", "cd"), "ABd")
