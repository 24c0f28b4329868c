"""External data: found where it may be, refused where it may not, and never more than the tensor's own bytes."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.model import files
from qdq_cli.process.errors import ModelError
from tests.networks import serialized

VALUES = np.arange(6, dtype=np.float32)
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX file system")


def external(name: str, location: str | None, data_type: int = TensorProto.FLOAT, dims=(6,), **entries) -> TensorProto:
    """A tensor that declares its data at a location; `entries` are `offset` and `length`."""
    tensor = TensorProto(name=name, data_type=data_type, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def write(path: Path, *tensors: TensorProto) -> Path:
    """A model that hands out each tensor: the first as an initializer, the others from Constant nodes."""
    inits, constants = tensors[:1], tensors[1:]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    nodes += [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in constants]
    infos = [helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in tensors]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (2,)) for name in "xy")
    graph = helper.make_graph(nodes, "network", [x], [y, *infos], list(inits))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder for the model, with its data, beside a file that is nobody's business."""
    (tmp_path / "secret").write_bytes(b"s" * 24)
    place = tmp_path / "model"
    place.mkdir()
    (place / "w.data").write_bytes(VALUES.tobytes() + VALUES[::-1].tobytes())
    return place


@pytest.mark.parametrize("where", ["initializer", "constant"])
@pytest.mark.parametrize("location", ["../secret", "{outside}/secret", "sub/../../secret", "C:\\secret", "", None, "."])
def test_locations_outside_the_folder_are_refused(folder, where, location):
    location = location and location.format(outside=folder.parent)
    others = [] if where == "initializer" else [external("a", "w.data")]
    path = write(folder / "m.onnx", *others, external("w", location))
    with pytest.raises(ModelError, match=r"points outside the model's folder|does not exist") as caught:
        files.load(path)
    assert "beside" in caught.value.hint


@posix
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_that_lead_outside_are_refused(folder, kind):
    (folder / "link").symlink_to(folder.parent / "secret" if kind == "file" else folder.parent)
    path = write(folder / "m.onnx", external("w", "link" if kind == "file" else "link/secret"))
    with pytest.raises(ModelError, match=r"is a link that leads outside the model's folder \(to .*secret\)"):
        files.load(path)


@posix
def test_hard_links_are_refused_with_what_to_do(folder):
    (folder / "hard.data").hardlink_to(folder.parent / "secret")
    path = write(folder / "m.onnx", external("w", "hard.data"))
    with pytest.raises(ModelError, match=r"hard\.data has 2 hard links, which is refused") as caught:
        files.load(path)
    assert caught.value.hint == "Make it a file of its own: cp 'hard.data' tmp && mv tmp 'hard.data'."


def test_a_hard_link_of_the_model_itself_is_fine(folder):
    path = write(folder / "m.onnx", external("w", "w.data"))
    os.link(path, folder / "twin.onnx")
    assert files.load(path).external


@posix
def test_what_is_no_file_is_said_to_be_missing(folder):
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "pipe")
    for location in ("no.data", "circle", "pipe", "x" * 5000, "nul\0character"):
        with pytest.raises(ModelError, match=r"of .*m\.onnx does not exist"):
            files.load(write(folder / "m.onnx", external("w", location)))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 28}, r"w\.data is cut off: the tensor 'w' ends at byte 52, the file has 48"),
        ({"offset": 10**18}, "is cut off"),
        ({"offset": -4}, "the external data of the tensor 'w' has the offset '-4'"),
        ({"length": 20}, r"'w' of shape \[6\] takes 24 bytes, but its entry says 20 bytes of w\.data"),
        ({"length": 48}, "takes 24 bytes, but its entry says 48 bytes"),
        ({"length": 0}, "takes 24 bytes, but its entry says 0 bytes"),
        ({"offset": "ten"}, "is not a usable ONNX model: the external data of the tensor 'w' has the offset 'ten'"),
        ({"dims": (3, -2)}, r"the tensor 'w' has the element type 1 and the shape \[3, -2\]"),
        ({"dims": (2**40, 2**40)}, "is cut off"),
        ({"data_type": TensorProto.STRING}, "the tensor 'w' of strings is declared as external data"),
        ({"data_type": TensorProto.UNDEFINED}, "the tensor 'w' has the element type 0"),
        ({"data_type": 99}, "the tensor 'w' has the element type 99"),
    ],
)
@pytest.mark.parametrize("where", ["initializer", "constant"])
def test_entries_that_do_not_fit_the_file_or_the_shape_are_refused(folder, entries, message, where):
    tensor = external("w", "w.data", **entries)
    others = [] if where == "initializer" else [external("a", "w.data")]
    with pytest.raises(ModelError, match=message):
        files.load(write(folder / "m.onnx", *others, tensor))


def test_tensors_of_several_files_are_read_from_their_offsets(folder):
    (folder / "parts").mkdir()
    (folder / "parts" / "b.data").write_bytes(b"#" * 7 + VALUES.tobytes())
    path = write(
        folder / "m.onnx",
        external("a", "w.data", offset=24, length=24),
        external("b", "parts/b.data", offset=7),
        external("c", "./parts/../w.data"),
        external("d", "parts/b.data", dims=(2, 0)),
    )
    found = files.load(path)
    assert found.data_files == (folder / "w.data", folder / "parts" / "b.data")
    assert found.size_bytes == path.stat().st_size + 48 + 31
    a = found.model.graph.initializers["a"].const_value
    b, c, d = (node.attributes["value"].as_tensor() for node in found.model.graph if node.op_type == "Constant")
    for tensor, expected in ((a, VALUES[::-1]), (b, VALUES), (c, VALUES), (d, np.empty((2, 0)))):
        np.testing.assert_array_equal(tensor.numpy(), expected)
    model = onnx.load_from_string(serialized(found.model))
    assert not any(onnx.external_data_helper.uses_external_data(tensor) for tensor in model.graph.initializer)
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("dtype", ["INT4", "UINT4", "BFLOAT16", "FLOAT16", "INT8", "BOOL", "DOUBLE", "FLOAT8E4M3FN"])
def test_every_element_type_comes_back(folder, dtype):
    kind = ir.DataType[dtype]
    array = np.array([0, 1, 1, 0, 1]).astype(kind.numpy())
    tensor = ir.Tensor(array, dtype=kind, name="w")
    (folder / "w.data").write_bytes(tensor.tobytes())
    found = files.load(write(folder / "m.onnx", external("w", "w.data", kind.value, (5,)))).model
    np.testing.assert_array_equal(found.graph.initializers["w"].const_value.numpy(), array)
    inside = onnx.load_from_string(serialized(found)).graph.initializer[0]
    assert inside.raw_data == tensor.tobytes()
    assert (inside.data_type, list(inside.dims)) == (kind.value, [5])


def test_tensors_of_functions_and_of_bodies_in_them_are_checked_too(folder):
    tensor = external("w", "../secret")
    constant = helper.make_node("Constant", [], ["o"], value=tensor)
    body = helper.make_graph([constant], "body", [], [helper.make_tensor_value_info("o", TensorProto.FLOAT, (6,))])
    held = helper.make_graph([], "body", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, (6,))], [tensor])
    for then in (body, held):
        choice = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=then)
        opset = [helper.make_opsetid("", 17)]
        function = helper.make_function("local", "f", ["c"], ["y"], [choice], opset)
        call = helper.make_node("f", ["c"], ["y"], domain="local")
        graph = helper.make_graph(
            [call],
            "network",
            [helper.make_tensor_value_info("c", TensorProto.BOOL, ())],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (6,))],
        )
        model = helper.make_model(
            graph, functions=[function], opset_imports=[*opset, helper.make_opsetid("local", 1)], ir_version=8
        )
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ModelError, match="points outside the model's folder"):
            files.load(folder / "m.onnx")
