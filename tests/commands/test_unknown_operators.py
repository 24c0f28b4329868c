"""Operators that ONNX Runtime does not know: what lies in front of them is quantized, what lies behind stays float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.networks import Network
from tests.workspace import SIDE, Workspace, qdq

NMS = {"score_threshold": 0.25, "max_output_boxes": 100, "plugin_version": "1"}


def detector(domain: str = "TRT", *, op_type: str = "EfficientNMS_TRT", opset: int = 17) -> Network:
    """Two convolutions whose boxes and scores end in a plugin (output: detections)."""
    net = Network(opset=opset)
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None))
    head = net.op("Flatten", net.conv(x, 16, "head", scale=None), name="boxes")
    net.op(op_type, head, net.op("Sigmoid", head, name="confidence"), name="detections", domain=domain, **NMS)
    return net


def cut_in_the_middle() -> Network:
    """A plugin between two convolutions, and a branch around it (outputs: behind, beside)."""
    net = Network()
    x = net.relu(net.conv(net.input("images", (1, 3, SIDE, SIDE)), 16, "first", scale=None), "trunk")
    plugin = net.op("MMCVModulatedDeformConv2d", x, domain="mmdeploy", stride=[1, 1], name="plugin")
    net._channels[plugin] = 16
    net.conv(net.add(plugin, x, "sum"), 16, "behind", scale=None)
    net.conv(x, 16, "beside", scale=None)
    return net


def save(space: Workspace, net: Network, *outputs: str) -> onnx.ModelProto:
    model = net.proto(*outputs)
    onnx.save(model, space.model)
    return model


@pytest.mark.parametrize(
    ("domain", "op_type", "opset"),
    [
        ("TRT", "EfficientNMS_TRT", 17),
        ("", "EfficientNMS_TRT", 17),  # ONNX Runtime has its schema and no kernel
        ("", "BatchedNMS_TRT", 17),
        ("", "BatchedNMS_TRT", 11),  # the converter does not know it either
        ("mmdeploy", "TRTBatchedNMS", 11),
        ("com.microsoft", "NhwcConv", 17),  # for other processors only
    ],
)
def test_a_plugin_at_the_end_is_kept_and_all_before_it_is_quantized(
    space: Workspace, domain: str, op_type: str, opset: int
):
    save(space, detector(domain, op_type=op_type, opset=opset), "detections")
    done = space.quantize("--json", "--min-sqnr", 15)
    assert done.code == 0, done.err
    shown = f"{domain}.{op_type}".lstrip(".")
    assert f"ONNX Runtime does not know {shown} ('detections'): what lies behind is not observed" in done.err
    hidden = op_type == "NhwcConv"  # a convolution that an optimizer made, and counts
    assert done.document["weighted_ops"] == {"total": 2 + hidden, "quantized": 2}
    assert set(done.document["verification"]["outputs"]) == {"boxes", "confidence"}
    written = onnx.load(space.output)
    plugin = next(node for node in written.graph.node if node.op_type == op_type)
    assert (plugin.domain, list(plugin.output)) == (domain, ["detections"])
    assert {attribute.name for attribute in plugin.attribute} == set(NMS)
    assert [value.name for value in written.graph.output] == ["detections"]


def test_what_lies_behind_a_plugin_stays_float_and_a_branch_beside_it_is_quantized(space: Workspace):
    save(space, cut_in_the_middle(), "behind", "beside")
    done = space.quantize("--json")
    assert done.code == 0, done.err
    document = done.document
    assert document["weighted_ops"] == {"total": 3, "quantized": 2}
    assert {(skip["node"], skip["code"]) for skip in document["skips"] if skip["op_type"] == "Conv"} == {
        ("behind", "UNOBSERVED")
    }
    assert set(document["verification"]["outputs"]) == {"trunk", "beside"}


def test_every_command_takes_such_a_model(space: Workspace):
    save(space, detector(), "detections")
    cache = space.folder / "model.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache).code == 0
    assert qdq("inspect", space.model).code == 0
    assert qdq("sensitivity", space.model, "--calib", space.arrays).code == 0
    assert space.quantize("--cache", cache).code == 0
    compared = qdq("compare", space.model, space.output, "--data", space.arrays, "--json")
    assert compared.code == 0, compared.err
    assert set(compared.document["outputs"]) == {"boxes", "confidence"}
    assert "The outputs lie behind operators that ONNX Runtime does not know" in compared.err
    assert space.quantize("--recover", "-o", space.folder / "recovered.onnx").code == 0
    tuned = qdq("tune", space.model, "--calib", space.arrays, "--min-sqnr", 20, "-o", space.folder / "tuned.onnx")
    assert tuned.code == 0, tuned.err


def test_given_ranges_serve_what_cannot_be_observed(space: Workspace):
    save(space, cut_in_the_middle(), "behind", "beside")
    ranges = space.folder / "ranges.json"
    ranges.write_text('{"images": 4.0, "trunk": 4.0, "sum": 4.0}', encoding="utf-8")
    done = qdq("quantize", space.model, "--json", "--ranges", ranges)
    assert done.code == 0, done.err
    assert done.document["weighted_ops"] == {"total": 3, "quantized": 3}


def test_nothing_is_quantized_behind_an_operator_at_the_entrance_and_limits_say_so(space: Workspace):
    net = Network()
    x = net.op("Quant", net.input("images", (1, 3, SIDE, SIDE)), domain="onnx.brevitas", name="quant")
    net._channels[x] = 3
    net.conv(x, 16, "conv", scale=None)
    model = save(space, net, "conv")
    for opset in (11, 13):
        del model.opset_import[:]
        model.opset_import.append(helper.make_opsetid("", opset))  # and none of onnx.brevitas
        onnx.save(model, space.model)
        done = space.quantize("--json")
        assert done.code == 0, done.err
        assert done.document["weighted_ops"] == {"total": 1, "quantized": 0}
        assert done.document["verification"] is None
        limited = space.quantize("--min-sqnr", 10)
        assert limited.code in (2, 5), limited.err


@pytest.mark.parametrize("known", [True, False])
def test_a_plugin_in_a_body_counts_for_the_node_that_holds_it(space: Workspace, known: bool):
    net = Network()
    x = net.conv(net.input("images", (1, 3, SIDE, SIDE)), 16, "first", scale=None)
    info = helper.make_tensor_value_info("t", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Plugin", [x], ["t"], domain="my")], "body", [], [info])
    flag = net.constant(np.array(True))
    if not known:  # else the branch takes the place of the If
        flag = net.op("IsNaN", net.op("ReduceSum", "images", name="sum", keepdims=0), name="flag")
    net.op("If", flag, then_branch=body, else_branch=body, name="choice")
    model = net.proto("choice")
    model.opset_import.append(helper.make_opsetid("my", 1))
    onnx.save(model, space.model)
    done = space.quantize("--json")
    assert done.code == 0, done.err
    assert set(done.document["verification"]["outputs"]) == {"first", *(() if known else ("flag",))}
    assert f"does not know my.Plugin ('{'Plugin_t_1' if known else 'choice'}')" in done.err


def test_operators_of_onnx_runtime_itself_are_run(space: Workspace):
    net = Network()
    x = net.conv(net.input("images", (1, 3, SIDE, SIDE)), 16, "first", scale=None)
    net._channels["gelu"] = 16
    net.conv(net.op("QuickGelu", x, domain="com.microsoft", name="gelu", alpha=1.702), 16, "second", scale=None)
    save(space, net, "second")
    done = space.quantize("--json")
    assert "does not know" not in done.err
    assert done.document["weighted_ops"] == {"total": 2, "quantized": 2}
    assert set(done.document["verification"]["outputs"]) == {"second"}
