"""Declared sizes and types are read as runtimes read them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qdq_cli.model.declared import read_declarations
from tests.networks import Network
from tests.workspace import Workspace, small_convnet

F = TensorProto.FLOAT


def with_batch(size: int) -> onnx.ModelProto:
    """The small network, its batch written as a number, in the inputs, outputs and everything between them."""
    model = small_convnet(batch=1).proto("scores")
    model.graph.output[0].type.tensor_type.shape.dim.add()
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 10
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        info.type.tensor_type.shape.dim[0].dim_value = size
    return model


@pytest.mark.parametrize("size", [-1, -2, -(2**63)])
def test_a_negative_batch_is_dynamic(space: Workspace, size: int):
    onnx.save(with_batch(size), space.model)
    done = space.quantize("--batch-size", 4, "--json")
    assert done.code == 0, done.err
    assert done.document["calibration"]["batch_size"] == 4
    written = onnx.load(space.output)
    for info in (*written.graph.input, *written.graph.output):
        assert not info.type.tensor_type.shape.dim[0].HasField("dim_value")


def test_a_batch_of_none_is_a_sentence(space: Workspace):
    onnx.save(with_batch(0), space.model)
    done = space.quantize()
    assert done.code == 4
    assert "Graph input 'images' takes exactly 0 samples: its first dimension has the size 0." in done.err


@pytest.mark.parametrize("names", [("N", 3, "N", "N"), ("", 3, "", "")])
def test_dimensions_of_one_name_or_of_none_are_dynamic(space: Workspace, names: tuple[int | str, ...]):
    net = Network()
    net.conv(net.input("images", (1, 3, 16, 16)), 16, "scores", scale=None)
    model = net.proto("scores")
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim, names, strict=True):
        if isinstance(name, str):
            dim.dim_param = name
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, space.model)
    done = space.quantize("--json")
    assert done.code == 0, done.err
    assert done.document["verification"]["outputs"]["scores"]["sqnr_db"] > 20


def test_sizes_below_zero_go_everywhere_and_types_of_none_too():
    kinds = [
        helper.make_tensor_type_proto(F, [-1, 3]),
        helper.make_sequence_type_proto(helper.make_tensor_type_proto(F, [3, -1])),
        helper.make_optional_type_proto(helper.make_tensor_type_proto(F, [-7])),
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(F, [-1])),
        helper.make_tensor_type_proto(TensorProto.UNDEFINED, [2]),
    ]
    inner = [helper.make_value_info(f"v{number}", kind) for number, kind in enumerate(kinds)]
    body = helper.make_graph([], "body", [], inner[:1], value_info=inner)
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    model = helper.make_model(helper.make_graph([node], "g", [], inner, value_info=inner))
    read_declarations(model)
    text = str(model)
    assert "dim_value: -" not in text
    assert text.count("dim_value: 3") == 2 + 2 + 2 * (1 + 2)  # others stay: in the main graph, and in two equal bodies
    branch = model.graph.node[0].attribute[0].g
    assert all(not values[-1].HasField("type") for values in (model.graph.value_info, branch.value_info))


def test_a_value_of_no_declared_type_is_inferred(space: Workspace):
    model = small_convnet().proto("scores")
    for info in model.graph.value_info:
        info.type.tensor_type.elem_type = TensorProto.UNDEFINED
    onnx.save(model, space.model)
    assert space.quantize("--json", "--dry-run").document["plan"]["weighted_ops"] == {"total": 4, "quantized": 4}


def test_an_input_of_no_type_is_a_sentence(space: Workspace):
    model = small_convnet().proto("scores")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UNDEFINED
    onnx.save(model, space.model)
    done = space.quantize()
    assert done.code == 3
    assert "the graph input 'images' has the element type 0, which is none." in done.err


@pytest.mark.parametrize(("name", "kind"), [("first_w", np.nan), ("scores_w", np.inf), ("scores_b", -np.inf)])
def test_a_weight_that_is_not_finite_is_named(space: Workspace, name: str, kind: float):
    model = small_convnet().proto("scores")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.flat[3] = kind
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, space.model)
    done = space.quantize()
    assert done.code == 3
    assert f"The weight '{name}' of " in done.err
    assert f"holds NaN or Inf: 1 of {array.size:,} values, the first at [" in done.err
