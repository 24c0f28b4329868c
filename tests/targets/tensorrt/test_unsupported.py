"""Operators that TensorRT's importer refuses by their name: which domain they are of, and what to do."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.targets.tensorrt.findings import Finding
from qdq_cli.targets.tensorrt.importer.refusals import refusals
from qdq_cli.targets.tensorrt.lint import lint
from tests.networks import Network


def found(op_type: str, domain: str, **attributes: object) -> list[Finding]:
    net = Network()
    x = net.input("x", (1, 8, 8, 8))
    model = net.model(net.op(op_type, x, name="odd", domain=domain, **attributes))
    codes = ("E_UNSUPPORTED_OP", "E_UNSUPPORTED_FORM")
    return [entry for entry in lint(model) if entry.code in codes]


OTHER_DOMAINS = (
    ("Quant", "onnx.brevitas"),
    ("Quant", "qonnx.custom_op.general"),
    ("DecodeImage", "ai.onnx.contrib"),
    ("LinearRegressor", "ai.onnx.ml"),
    ("MMCVModulatedDeformConv2d", "mmdeploy"),
    ("Inverse", "com.microsoft"),
    ("FusedGelu", "com.microsoft"),
    ("ZipMap", "ai.onnx.ml"),
)

OPTIMIZER_MADE = (
    ("FusedConv", "com.microsoft"),
    ("FusedGemm", "com.microsoft"),
    ("BiasGelu", "com.microsoft"),
    ("Gelu", "com.microsoft"),
    ("Conv", "com.microsoft.nchwc"),
    ("ReorderInput", "com.microsoft.nchwc"),
    ("MaxPool", "com.microsoft.nchwc"),
)


@pytest.mark.parametrize(("op_type", "domain"), OTHER_DOMAINS)
def test_operators_of_other_domains_are_refused_with_their_domain(op_type, domain):
    (entry,) = found(op_type, domain)
    assert entry.node == "odd" and entry.found.startswith(f"{domain}.{op_type}, which is no operator of ONNX")
    assert "--staticPlugins" in entry.fix


@pytest.mark.parametrize("domain", ["", "TRT", "trt.plugins", "mmdeploy"])
@pytest.mark.parametrize("op_type", ["EfficientNMS_TRT", "BatchedNMS_TRT", "MultiscaleDeformableAttnPlugin_TRT"])
def test_plugins_that_ship_with_tensorrt_are_found_by_name_in_any_domain(op_type, domain):
    assert found(op_type, domain) == []


@pytest.mark.parametrize("op_type", ["MyPlugin", "TRT_FP4DynamicQuantize"])
def test_domains_of_plugins_are_the_users_own(op_type):
    assert found(op_type, "trt") == []


def test_an_operator_that_onnx_does_not_have_is_refused_without_a_domain_too():
    (entry,) = found("MyPlugin", "")
    assert entry.found == "MyPlugin, which is no operator of ONNX and no plugin that ships with TensorRT"


@pytest.mark.parametrize(("op_type", "domain"), OPTIMIZER_MADE)
def test_what_an_optimizer_made_is_called_that(op_type, domain):
    (entry,) = found(op_type, domain)
    assert entry.found == f"{domain}.{op_type}"
    assert "optimizer" in entry.fix and "ORT_ENABLE_BASIC" in entry.fix


@pytest.mark.parametrize("op_type", ["QLinearConv", "ConvInteger", "DynamicQuantizeLinear", "QLinearAdd", "QGemm"])
@pytest.mark.parametrize("domain", ["", "com.microsoft"])
def test_integer_operators_name_the_other_format(op_type, domain):
    (refused,) = refusals(ir.Node(domain, op_type, []))
    assert refused.found == (f"{domain}.{op_type}" if domain else op_type) and "QuantFormat.QDQ" in refused.way_out


@pytest.mark.parametrize("op_type", ["Det", "SequenceConstruct", "StringNormalizer", "OptionalHasElement"])
def test_onnx_operators_without_an_importer(op_type):
    (entry,) = found(op_type, "")
    assert entry.found == op_type


@pytest.mark.parametrize(
    ("attributes", "expected"), [({"dilations": [2, 2]}, ["MaxPool with dilations"]), ({"dilations": [1, 1]}, [])]
)
def test_max_pools_with_dilations(attributes, expected):
    assert [entry.found for entry in found("MaxPool", "", kernel_shape=[2, 2], **attributes)] == expected


def test_max_pools_with_indices():
    shape = [1, 8, 4, 4]
    nodes = [helper.make_node("MaxPool", ["x"], ["y", "i"], name="odd", kernel_shape=[2, 2], strides=[2, 2])]
    outputs = [helper.make_tensor_value_info(name, kind, shape) for name, kind in (("y", 1), ("i", TensorProto.INT64))]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 8, 8, 8])], outputs)
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert [entry.found for entry in lint(model)] == ["MaxPool with Indices"]


def test_an_operator_in_a_body_is_found():
    body = helper.make_graph(
        [helper.make_node("Quant", ["x"], ["b"], name="inner", domain="onnx.brevitas")],
        "body", [], [helper.make_tensor_value_info("b", 1, None)],
    )  # fmt: skip
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    inputs = [helper.make_tensor_value_info("x", 1, [1]), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", 1, [1])])
    model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    assert {entry.node for entry in lint(model)} == {"inner"}


def test_stored_constants_may_be_read_by_dq_alone():
    net = Network()
    x = net.input("x", (1, 8, 8, 8))
    stored = net.op("Transpose", net.constant(np.ones((8, 8), np.int8), "w"), name="move")
    model = net.model(net.op("MatMul", x, net.dequantize(stored)))
    (entry,) = [entry for entry in lint(model) if entry.code == "E_QDQ_TYPE"]
    assert (entry.node, entry.tensor) == (
        "move",
        "w",
    ) and entry.found == "an INT8 constant that Transpose reads, not DQ"
