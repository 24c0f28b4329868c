"""An Einsum with a constant weight is the MatMul it is; every other one counts and stays float."""

import numpy as np
import onnx
import pytest

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
        ("abc,abd->acd", None),  # two activations
        ("abc,cd->ab", 1),  # the weight is summed alone
        ("abc,cd->bd", 1),  # and the activation
        ("abc,abc->abc", 1),  # nothing is summed
        ("abc,ade->abcde", 1),
        ("abcd,acd->ab", 1),  # a vector for each
        ("abcb,cd->abd", 1),  # a diagonal
        ("abcd,ade->abce", 1),  # a stack of several row axes
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


def test_a_size_of_one_is_stretched_by_einsum_and_not_by_matmul():
    net = Network()
    weight = net.constant(np.ones((1, 5), np.float32))
    net.op("Einsum", net.input("x", (2, 3, 4)), weight, equation="abc,cd->abd", name="y")
    assert [node.op_type for node in prepare(net.model("y")).model.graph] == ["Einsum"]


def test_an_einsum_of_one_tensor_is_no_weighted_operator():
    net = Network()
    net.op("Einsum", net.input("x", (2, 3)), equation="ab->ba", name="y")
    assert make_plan(prepare(net.model("y")).model, TENSORRT).weighted == 0


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
    assert done.document["tensorrt"]["quantized_layers"] == 2
    assert done.document["verification"]["outputs"]["out"]["sqnr_db"] > 25


def test_equations_are_written_out():
    net, _ = one_einsum("...c,cd")
    node = next(node for node in net.model("y").graph if node.op_type == "Einsum")
    assert equation_of(node) == (("ABc", "cd"), "ABd")
