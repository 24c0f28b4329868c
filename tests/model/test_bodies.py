"""Bodies as models of their own: what they read from outside, and that they come back as they went."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from qdq_cli.model.bodies import lifted, places_of_bodies, put_back
from qdq_cli.model.wire import to_proto
from qdq_cli.preparing.prepare import prepare
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, samples


def prepared(text: str) -> ir.Model:
    return prepare(ir.from_proto(bodies(text))).model


def test_what_a_body_takes_from_outside_becomes_inputs_and_initializers():
    model = prepared(BRANCHES)
    then, _ = (lifted(model, place) for place in places_of_bodies(model.graph))
    graph = then.model.graph
    assert [value.name for value in graph.inputs] == ["z"]
    assert list(graph.initializers) == ["w1", "shared"]
    assert graph.initializers["shared"].const_value is model.graph.initializers["shared"].const_value
    assert [node.op_type for node in graph] == ["MatMul", "Relu", "MatMul"]
    onnx.checker.check_model(to_proto(then.model))


def test_inner_bodies_come_first_and_know_what_is_around_them():
    model = prepared(NESTED)
    places = list(places_of_bodies(model.graph))
    assert [[holder.op_type for holder in place.holders] for place in places] == [
        ["Loop", "If"],
        ["Loop", "If"],
        ["Loop"],
    ]
    assert [value.name for value in lifted(model, places[0]).model.graph.inputs] == ["q"]
    outer = lifted(model, places[2]).model.graph
    assert [value.name for value in outer.inputs] == ["i", "go", "s", "c"]
    assert list(outer.initializers) == ["w0", "w1"]


@pytest.mark.parametrize("text", [BRANCHES, ROUNDS, NESTED, SCANNED])
def test_a_body_that_is_put_back_unchanged_changes_nothing(text: str):
    model = prepared(text)
    before = to_proto(model).SerializeToString(deterministic=True)
    for place in list(places_of_bodies(model.graph)):
        put_back(model, lifted(model, place))
    assert to_proto(model).SerializeToString(deterministic=True) == before


def test_what_is_added_to_two_bodies_gets_two_names_and_unread_weights_go():
    model = prepared(BRANCHES)
    for place in list(places_of_bodies(model.graph)):
        copy = lifted(model, place)
        graph = copy.model.graph
        product = next(node for node in graph if node.op_type == "MatMul" and node.inputs[0].name == "z")
        weight = ir.Value(name="doubled", const_value=ir.tensor(2 * product.inputs[1].const_value.numpy()))
        graph.register_initializer(weight)
        product.replace_input_with(1, weight)
        put_back(model, copy)
    proto = to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    inner = [attribute.g for attribute in proto.graph.node[-1].attribute]
    assert sorted(tensor.name for body in inner for tensor in body.initializer) == ["doubled", "doubled_1"]
    assert [tensor.name for tensor in proto.graph.initializer] == ["w0", "shared"]
    feed = {"x": samples(1)[0], "c": np.array(False)}
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feed)
    (before,) = onnxruntime.InferenceSession(bodies(BRANCHES).SerializeToString()).run(None, feed)
    np.testing.assert_allclose(np.arctanh(found), 2 * np.arctanh(before), rtol=1e-3, atol=1e-4)
