"""The last look at a written model: what it says, and what is not held against it."""

from pathlib import Path

import onnx
import pytest

from qdq_cli.model.check import check_written
from qdq_cli.process.errors import ModelError
from tests.networks import Network

DEFECT = "This is a defect of qdq; please report it with the model's --dry-run -v."


def good() -> onnx.ModelProto:
    net = Network()
    return net.proto(net.gemm(net.input("x", (1, 4)), 4, 3, scale=None))


def undeclared() -> onnx.ModelProto:
    """An output without a shape: every runtime reads it, the structural check does not."""
    proto = good()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return proto


def misdeclared() -> onnx.ModelProto:
    """Passes the structural check; strict shape inference finds another shape."""
    proto = good()
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    return proto


def malformed() -> onnx.ModelProto:
    proto = good()
    proto.graph.node[0].input[0] = "nothing"
    return proto


def paths(folder: Path, written: onnx.ModelProto, original: onnx.ModelProto) -> tuple[Path, Path]:
    for name, proto in (("written.onnx", written), ("the original, größer #1.onnx", original)):
        (folder / name).write_bytes(proto.SerializeToString())
    return folder / "written.onnx", folder / "the original, größer #1.onnx"


def test_a_valid_model_needs_no_word(tmp_path):
    assert check_written(*paths(tmp_path, good(), malformed())) == ()


@pytest.mark.parametrize(
    ("written", "original"),
    [(misdeclared, good), (malformed, good), (undeclared, good), (malformed, misdeclared), (undeclared, misdeclared)],
)
def test_what_was_valid_before_has_to_be_valid_still(tmp_path, written, original):
    with pytest.raises(ModelError, match="The quantized model does not pass ONNX's checker: ") as caught:
        check_written(*paths(tmp_path, written(), original()))
    assert caught.value.hint == DEFECT
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("written", "original"),
    [(misdeclared, misdeclared), (undeclared, undeclared), (misdeclared, undeclared), (misdeclared, malformed)],
)
def test_faults_of_the_original_are_told_and_not_held_against_the_result(tmp_path, written, original):
    (note,) = check_written(*paths(tmp_path, written(), original()))
    assert note.startswith("The input model itself does not pass ONNX's full check, nor does the result: ")


def test_external_data_is_part_of_a_written_model(tmp_path):
    net = Network()
    proto = net.proto(net.gemm(net.input("x", (1, 64)), 64, 64, scale=None))
    onnx.save(proto, tmp_path / "w.onnx", save_as_external_data=True, location="w.onnx.data", size_threshold=100)
    (tmp_path / "o.onnx").write_bytes(good().SerializeToString())
    assert check_written(tmp_path / "w.onnx", tmp_path / "o.onnx") == ()
    (tmp_path / "w.onnx.data").unlink()
    with pytest.raises(ModelError, match="does not pass ONNX's checker"):
        check_written(tmp_path / "w.onnx", tmp_path / "o.onnx")


def test_operators_of_other_domains_are_let_through(tmp_path):
    net = Network()
    proto = net.proto(net.op("MyOp", net.input("x", (1,)), domain="my"))
    proto.graph.output[0].type.tensor_type.shape.SetInParent()
    assert check_written(*paths(tmp_path, proto, good())) == ()
