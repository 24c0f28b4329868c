"""Models as bytes: the pieces are the model, and only references are copied."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from qdq_cli.model import wire
from tests.networks import Network, run


def model_with(*arrays: np.ndarray) -> ir.Model:
    """The input plus the sum of each array."""
    net = Network()
    x = net.input("x", (1,))
    for number, array in enumerate(arrays):
        x = net.add(x, net.op("ReduceSum", net.constant(array.astype(np.float32), f"w{number}"), keepdims=0))
    return net.model(x)


@given(st.lists(st.integers(0, 5000), max_size=4))
def test_the_pieces_are_the_model(sizes):
    model = model_with(*(np.arange(size) for size in sizes))
    encoded = wire.encode(model)
    data = b"".join(encoded.pieces())
    assert len(data) == encoded.size_bytes
    assert len(encoded.weights) == sum(size > 256 for size in sizes)
    read, whole = onnx.load_from_string(data), wire.to_proto(model)
    # Large initializers come last; nothing else may differ.
    for proto in (read, whole):
        tensors = sorted(proto.graph.initializer, key=lambda tensor: tensor.name)
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(tensors)
    assert read == whole


def test_onnx_runtime_and_the_checker_read_the_pieces(tmp_path):
    model = model_with(np.full((40, 50), 0.5), np.ones(3))
    path = tmp_path / "m.onnx"
    path.write_bytes(b"".join(wire.encode(model).pieces()))
    onnx.checker.check_model(str(path), full_check=True)
    assert run(ir.load(str(path)), {"x": np.zeros(1, np.float32)})[0] == 1003


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 2**21])
def test_lengths_are_written_as_protobuf_does(length):
    tensor = TensorProto(raw_data=bytes(length))
    assert wire._tag(9, length) + tensor.raw_data == tensor.SerializeToString()


def test_left_out_weights_come_back_also_after_a_failure():
    model = model_with(np.arange(1000), np.ones(3))
    held = {name: value.const_value for name, value in model.graph.initializers.items()}
    with pytest.raises(RuntimeError), wire.weights_left_out(model):
        proto = wire.to_proto(model)
        assert proto.ByteSize() < 1000
        assert wire.is_left_out(model.graph.initializers["w0"].const_value)
        assert not wire.is_left_out(model.graph.initializers["w1"].const_value)
        raise RuntimeError
    assert {name: value.const_value for name, value in model.graph.initializers.items()} == held


def test_documented_tensors_and_strings_go_the_ordinary_way():
    model = model_with(np.arange(1000))
    documented = ir.Tensor(np.arange(1000, dtype=np.float32), name="w0", doc_string="kept")
    model.graph.initializers["w0"].const_value = documented
    strings = ir.StringTensor(np.array([b"x" * 40] * 100), name="s")
    model.graph.register_initializer(ir.Value(name="s", const_value=strings, type=ir.TensorType(strings.dtype)))
    encoded = wire.encode(model)
    read = onnx.load_from_string(b"".join(encoded.pieces()))
    assert not encoded.weights
    assert [tensor.doc_string for tensor in read.graph.initializer] == ["kept", ""]
    assert list(read.graph.initializer[1].string_data) == [b"x" * 40] * 100
