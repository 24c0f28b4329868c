"""Models on which ONNX's own inference would end the process: they end in a sentence or a plan."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from qdq_cli.model.inference import inferred_graph
from tests.networks import Network
from tests.workspace import SIDE, process


def classifier(turn: bool = True) -> onnx.ModelProto:
    """Labels made from the output of an operator that ONNX does not know, or of one that it does."""
    net = Network()
    x = net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "conv", scale=None)
    x = net.op("GlobalAveragePool", x, name="scores")
    proto = net.proto(x)  # which infers shapes: what is dangerous comes afterwards
    domain, op_type = ("my.domain", "Turn") if turn else ("", "ArgMax")
    proto.graph.node.append(helper.make_node(op_type, [x], ["best"], domain=domain))
    labels = {"keys_int64s": [0, 1], "values_strings": ["a", "b"]}
    proto.graph.node.append(helper.make_node("LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", **labels))
    proto.graph.output.append(helper.make_tensor_value_info("label", TensorProto.STRING, None))
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    proto.opset_import.append(helper.make_opsetid("my.domain", 1))
    return proto


@pytest.mark.parametrize("turn", [True, False])
def test_labels_of_what_nobody_knows(tmp_path: Path, turn: bool):
    onnx.save(classifier(turn), tmp_path / "model.onnx")
    done = process("quantize", "model.onnx", "--range", "images=3", cwd=tmp_path)
    assert done.code == 0, done.err
    assert process("inspect", "model.qdq.onnx", cwd=tmp_path).code == 0


def test_what_is_declared_is_inferred_on():
    proto = classifier(turn=False)
    proto.graph.value_info.append(helper.make_tensor_value_info("best", TensorProto.INT64, None))
    graph = inferred_graph(proto)
    assert graph is not None
    assert [node.op_type for node in graph.node][-1] == "LabelEncoder"


def test_an_opset_without_a_version_is_refused(tmp_path: Path):
    proto = classifier(turn=False)
    proto.opset_import[0].version = 0
    onnx.save(proto, tmp_path / "model.onnx")
    done = process("inspect", "model.onnx", cwd=tmp_path)
    assert done.code == 3
    assert "opset 0" in done.err
