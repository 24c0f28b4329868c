"""An If whose condition is known: its branch is taken into the graph."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network, proto_of, run

WEIGHT = np.random.default_rng(0).standard_normal((12, 8, 3, 3)).astype(np.float32)
SHAPES = {"v": (1, 12, 6, 6), "w": WEIGHT.shape}


def branch(factor: float, *nodes: onnx.NodeProto, results: tuple[str, ...] = ("v",), name: str = "conv"):
    """A convolution of the outer x; its tensors are named like those of other branches."""
    conv = helper.make_node("Conv", ["x", "w"], ["v"], name=name, pads=[1] * 4)
    infos = [helper.make_tensor_value_info(result, TensorProto.FLOAT, SHAPES[result]) for result in results]
    return helper.make_graph([conv, *nodes], "b", [], infos, [numpy_helper.from_array(WEIGHT * factor, "w")])


def choosing(condition: object, then: onnx.GraphProto, other: onnx.GraphProto, outputs: tuple[str, ...] = ("y",)):
    net = Network()
    net.input("x", (1, 8, 6, 6))
    known = condition if isinstance(condition, str) else net.constant(np.asarray(condition))
    node = helper.make_node("If", [known], list(outputs), name="if", then_branch=then, else_branch=other)
    net._nodes.append(node)
    return net


@pytest.mark.parametrize("condition", [True, [False]])
def test_the_branch_is_quantized_and_keeps_its_names(condition: object):
    model = choosing(condition, branch(1, name="yes"), branch(3, name="no")).model("y")
    found = prepare(model).model
    assert [node.op_type for node in found.graph] == ["Conv"]
    assert [(node.name, node.outputs[0].name) for node in found.graph] == [("yes" if condition is True else "no", "y")]
    assert [target.tensor for target in make_plan(found, TENSORRT).targets] == ["x"]
    np.testing.assert_array_equal(run(found)[0], run(model)[0])
    proto_of(found)
    assert [node.op_type for node in model.graph] == ["If"], "the model itself is left as it is"


def test_a_result_that_is_a_weight():
    model = choosing(True, branch(1, results=("w",)), branch(2, results=("w",))).model("y")
    found = prepare(model).model
    assert [node.op_type for node in found.graph] == ["Identity"]
    found.graph.outputs[0].shape = ir.Shape(WEIGHT.shape)
    np.testing.assert_array_equal(run(found)[0], WEIGHT)


def test_an_if_in_an_if_and_a_condition_that_is_computed_from_constants():
    inner = helper.make_node("If", ["no"], ["v2"], name="inner", then_branch=branch(5), else_branch=branch(7))
    outer = helper.make_graph([inner], "o", [], [helper.make_tensor_value_info("v2", TensorProto.FLOAT, None)])
    net = choosing("yes", outer, branch(3))
    net._nodes.insert(0, helper.make_node("Not", [net.constant(np.asarray(False), "no")], ["yes"], name="not"))
    model = net.model("y")
    found = prepare(model).model
    assert [node.op_type for node in found.graph] == ["Conv"]
    np.testing.assert_array_equal(run(found)[0], run(model)[0])


def test_two_of_them_with_the_same_names():
    net = choosing(True, branch(1), branch(2))
    no = net.constant(np.asarray(False))
    second = helper.make_node("If", [no], ["z"], name="second", then_branch=branch(3), else_branch=branch(4))
    net._nodes.append(second)
    model = net.model("y", "z")
    found = prepare(model).model
    assert len({node.name for node in found.graph}) == len(found.graph) == 2
    for one, other in zip(run(found), run(model), strict=True):
        np.testing.assert_array_equal(one, other)
    proto_of(found)


def test_a_condition_that_is_an_input_stays():
    net = choosing("flag", branch(1), branch(2))
    net._inputs.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, ()))
    assert [node.op_type for node in prepare(net.model("y")).model.graph] == ["If"]
