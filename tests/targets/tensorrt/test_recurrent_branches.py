"""Recurrent operators in branches of If, which TensorRT for RTX reads and does not build."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.targets.tensorrt.lint import lint
from tests.networks import Network
from tests.targets.tensorrt.faulty import recurrent_branch


def found(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(entry.node, entry.found) for entry in lint(ir.from_proto(model)) if entry.code == "W_RECURRENT_BRANCH"]


@pytest.mark.parametrize(("op_type", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_operators_in_a_branch_are_found(op_type: str, gates: int):
    assert found(recurrent_branch(op_type, gates)) == [("recurrent", f"{op_type} in a branch of If")]


def test_those_of_the_main_graph_are_not():
    net = Network()
    weights = net.constant(net.weight(1, 16, 4)), net.constant(net.weight(1, 16, 4))
    assert found(net.proto(net.op("LSTM", net.input("series", (3, 1, 4)), *weights, hidden_size=4))) == []


@pytest.mark.parametrize("holder", ["Loop", "Scan"])
def test_a_loop_in_a_branch_is_built_and_a_scan_is_not(holder: str):
    """A recurrence inside of the Loop is built too: only what stands right in the branch counts."""
    net = Network()
    series, chosen = net.input("series", (3, 4)), net.input("chosen", (), TensorProto.BOOL)
    turns, going = net.constant(3), net.constant(True)
    shape = helper.make_tensor_value_info
    row = {"Loop": (3, 4), "Scan": (4,)}[holder]
    double = helper.make_node("Add", ["state", "state"], ["twice"], name="double")
    if holder == "Loop":
        keep = helper.make_node("Identity", ["on"], ["still"], name="keep")
        taken = [shape("turn", TensorProto.INT64, ()), shape("on", TensorProto.BOOL, ())]
        made = [shape("still", TensorProto.BOOL, ()), shape("twice", TensorProto.FLOAT, row)]
        body = helper.make_graph([double, keep], "body", [*taken, shape("state", TensorProto.FLOAT, row)], made)
        node = helper.make_node("Loop", [turns, going, series], ["result"], name="holder", body=body)
    else:
        body = helper.make_graph(
            [double], "body", [shape("state", TensorProto.FLOAT, row)], [shape("twice", TensorProto.FLOAT, row)]
        )
        node = helper.make_node("Scan", [series], ["result"], name="holder", body=body, num_scan_inputs=1)
    other = helper.make_node("Relu", [series], ["other"], name="other")
    branches = {
        "then_branch": helper.make_graph([node], "then", [], [shape("result", TensorProto.FLOAT, (3, 4))]),
        "else_branch": helper.make_graph([other], "else", [], [shape("other", TensorProto.FLOAT, (3, 4))]),
    }
    model = net.proto(net.op("If", chosen, name="if", **branches))
    onnx.checker.check_model(model)
    assert found(model) == ([] if holder == "Loop" else [("holder", "Scan in a branch of If")])
