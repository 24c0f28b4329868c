"""T57: every class C row of the operator table commutes with Q and DQ, and runs on INT8 where the table says so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from qdq_cli.placement.operators import OPERATORS, OpClass, commutes, obstacle_to_commuting, operator_of
from qdq_cli.placement.propagate import nodes_on_codes, propagate
from tests.networks import SCALE, Network, proto_of, run

INNER_PAD = np.array([0, 0, 1, 2, 0, 0, 2, 1])

CASES = {
    "MaxPool": ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, []),
    "GlobalMaxPool": ({}, []),
    "ReduceMax": ({"axes": [2, 3]}, []),
    "ReduceMin": ({"axes": [1]}, []),
    "Transpose": ({"perm": [0, 2, 3, 1]}, []),
    "Reshape": ({}, [np.array([4, 64])]),
    "Flatten": ({"axis": 2}, []),
    "Squeeze": ({}, [np.array([0])]),
    "Unsqueeze": ({}, [np.array([1])]),
    "Slice": ({}, [np.array([1]), np.array([3]), np.array([1])]),
    "Gather": ({"axis": 1}, [np.array([2, 0, 2])]),
    "GatherND": ({}, [np.array([[0, 2], [0, 1]])]),
    "GatherElements": ({"axis": 1}, [np.full((1, 2, 8, 8), 3)]),
    "Concat": ({"axis": 1}, []),
    "Expand": ({}, [np.array([3, 4, 8, 8])]),
    "Tile": ({}, [np.array([1, 2, 1, 1])]),
    "DepthToSpace": ({"blocksize": 2}, []),
    "SpaceToDepth": ({"blocksize": 2}, []),
    "Pad": ({}, [INNER_PAD, np.float32(0)]),
    "Resize": ({"mode": "nearest"}, [None, np.array([1, 1, 2, 2], np.float32)]),
    "Identity": ({}, []),
    "Dropout": ({}, []),
}

DOES_NOT_COMMUTE = {
    "LeakyRelu": ({"alpha": 0.3}, []),
    "AveragePool": ({"kernel_shape": [3, 3]}, []),
    "Resize linear": ({"mode": "linear"}, [None, np.array([1, 1, 2, 2], np.float32)]),
    "Pad with 1": ({}, [INNER_PAD, np.float32(1.01)]),
    "Abs": ({}, []),
    "Neg": ({}, []),
}


def network(op_type: str, case: tuple[dict, list], *, pair: str, opset: int = 17) -> ir.Model:
    """`op` with a Q/DQ pair before it or behind it."""
    attributes, operands = case
    net = Network(opset)
    x = net.input("x", (1, 4, 8, 8))
    data = net.pair(x) if pair == "before" else x
    inputs = [data, data] if op_type == "Concat" else [data]
    constants = ["" if array is None else net.constant(array) for array in operands]
    y = net.op(op_type, *inputs, *constants, name="op", **attributes)
    return net.model(net.pair(y) if pair == "behind" else net.op("Softmax", y))


def test_every_commuting_operator_has_a_case():
    rows = {name for name, row in OPERATORS.items() if row.op_class is OpClass.COMMUTING}
    assert rows - set(CASES) == {"Split", "Upsample"}  # Split has tests of its own; Upsample ended with opset 9


@pytest.mark.parametrize("op_type", CASES)
def test_t57_quantizing_before_or_behind_gives_the_same_numbers(op_type):
    before, behind = (
        network(op_type, CASES[op_type], pair=pair).graph.node("op").outputs[0] for pair in ("before", "behind")
    )
    assert commutes(before.producer()) and commutes(behind.producer())
    behind_model = network(op_type, CASES[op_type], pair="behind")
    before_model = network(op_type, CASES[op_type], pair="before")
    before_model.graph.outputs[:] = [before_model.graph.node("op").outputs[0]]
    np.testing.assert_array_equal(run(before_model)[0], run(behind_model)[0])


@pytest.mark.parametrize("op_type", CASES)
@pytest.mark.parametrize("pair", ["before", "behind"])
def test_the_operator_runs_on_int8_where_the_table_says_so(op_type, pair):
    model = network(op_type, CASES[op_type], pair=pair)
    expected = run(model)

    def executable(node: ir.Node) -> bool:
        since = operator_of(node).int8_opset
        return commutes(node) and since is not None and since <= 17

    propagate(model, may_move=executable)
    on_codes = {node.name for node in nodes_on_codes(model.graph)}
    assert on_codes == (set() if operator_of(model.graph.node("op")).int8_opset is None else {"op"})
    for found, wanted in zip(run(model), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("op_type", ["GlobalMaxPool", "Dropout"])
def test_operators_without_an_int8_opset_do_not_run_on_int8(op_type):
    model = network(op_type, CASES[op_type], pair="behind")
    propagate(model)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph):
        onnxruntime.InferenceSession(
            ir.serde.serialize_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
        )


@pytest.mark.parametrize("name", DOES_NOT_COMMUTE)
def test_t57_what_is_not_in_class_c_gives_different_numbers(name):
    op_type = name.split()[0]
    node = network(op_type, DOES_NOT_COMMUTE[name], pair="behind").graph.node("op")
    assert not commutes(node)
    before = network(op_type, DOES_NOT_COMMUTE[name], pair="before")
    before.graph.outputs[:] = [before.graph.node("op").outputs[0]]
    feeds = {"x": np.linspace(-128 * SCALE * 1.5, 5, 256, dtype=np.float32).reshape(1, 4, 8, 8)}
    (a,), (b,) = run(before, dict(feeds)), run(network(op_type, DOES_NOT_COMMUTE[name], pair="behind"), dict(feeds))
    assert np.any(a != b)


def test_a_maxpool_whose_indices_are_used_does_not_commute():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    net.op("MaxPool", x, name="pool", kernel_shape=[2, 2])
    net._nodes[-1].output.append("indices")
    model = net.model("pool", "indices", output_types={"indices": 7})
    assert "Indices" in obstacle_to_commuting(model.graph.node("pool"))


def test_pad_attributes_of_old_opsets_are_read():
    net = Network(10)
    y = net.op("Pad", net.input("x", (1, 4, 8, 8)), name="pad", pads=[0, 0, 1, 1, 0, 0, 1, 1])
    assert commutes(net.model(y).graph.node("pad"))
    filled = Network(10)
    y = filled.op("Pad", filled.input("x", (1, 4, 8, 8)), name="pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.5)
    assert not commutes(filled.model(y).graph.node("pad"))


def test_a_valid_model_stays_valid():
    model = network("Pad", CASES["Pad"], pair="behind")
    propagate(model)
    proto_of(model)
