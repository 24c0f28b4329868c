"""Which tensors two models share, for models of several tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto

from qdq_cli.comparing.match import Match, match_tensors
from tests.comparing.models import chain, comparable
from tests.foreign import make_ort_models
from tests.networks import Network
from tests.workspace import make_workspace

FOREIGN = Path(make_ort_models.__file__).parent


def matches(reference: onnx.ModelProto, quantized: onnx.ModelProto) -> dict[str, Match]:
    return {match.tensor: match for match in match_tensors(*comparable(reference, quantized))}


def test_a_pair_of_our_own_shares_every_float_tensor():
    found = matches(chain(quantized=False), chain())
    assert list(found) == ["images", "a", "a_relu", "b", "b_relu", "c", "pool", "flat", "scores"]
    assert all(match.fed == match.measured == match.tensor for match in found.values())


def test_onnx_runtime_for_tensorrt():
    found = matches(make_ort_models.float_model(), onnx.load(FOREIGN / "ort_tensorrt.onnx"))
    assert {"stem", "stem_relu", "add", "pool", "fc", "scores"} <= set(found)
    assert found["stem_relu"].measured == "stem_relu"
    assert found["scores"] == Match("scores", "scores", "scores_QuantizeLinear_Input"), "the name is the image's"


def test_a_q_that_does_the_work_of_a_relu_is_gone_through():
    """With its defaults, onnxruntime drops the Relu: `stem_relu` is the convolution's result until behind the Q."""
    found = matches(make_ort_models.float_model(), onnx.load(FOREIGN / "ort_defaults.onnx"))
    assert found["stem_relu"] == Match("stem_relu", "stem_relu_DequantizeLinear_Output", "stem_relu")
    assert "stem" not in found


def test_a_model_of_quantization_aware_training_and_itself():
    proto = onnx.load(FOREIGN / "qat_resnet.onnx")
    found = matches(proto, proto)
    assert "/stem/relu/Relu_output_0" in found
    assert found["scores"].fed == "scores"


def test_codes_that_operators_move_are_compared_behind_their_dq():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    plain = net.proto(net.relu(net.maxpool(x, "pool"), "out"))
    net = Network()
    codes = net.maxpool(net.quantize(net.input("x", (1, 4, 8, 8))), "pool")
    quantized = net.proto(net.relu(net.dequantize(codes, name="back"), "out"))
    assert matches(plain, quantized)["pool"] == Match("pool", "back", None)


def test_the_image_of_a_tensor_that_lost_its_name():
    net = Network()
    plain = net.proto(net.relu(net.relu(net.input("x", (1, 4)), "y"), "out"))
    net = Network()
    q = net.quantize(net.relu(net.input("x", (1, 4)), "renamed"))
    quantized = net.proto(net.relu(net.dequantize(q, name="y_DequantizeLinear_Output"), "out"))
    assert matches(plain, quantized)["y"] == Match("y", "renamed", "renamed")


def test_what_has_another_shape_or_type_or_is_constant_has_no_partner():
    net = Network()
    x = net.input("x", (1, 4))
    plain = net.proto(net.relu(net.add(net.relu(x, "y"), net.op("Sigmoid", x, name="z")), "out"))
    net = Network()
    x = net.input("x", (1, 4))
    net.op("Unsqueeze", x, net.constant(np.asarray([0])), name="y")
    z = net.constant(np.zeros((1, 4), np.float32), "z")
    quantized = net.proto(net.relu(net.add(x, z), "out"), "y")
    assert set(matches(plain, quantized)) == {"x", "out"}


def test_batch_norms_folded_into_weights_leave_tensors_without_partner(tmp_path: Path):
    net = Network()
    y = net.conv(net.input("images", ("N", 3, 16, 16)), 16, "conv", scale=None)
    operands = [net.constant(np.full(16, value, np.float32)) for value in (1.5, 0.5, 0.25, 4.0)]
    plain = net.proto(net.relu(net.op("BatchNormalization", y, *operands, name="norm"), "out"))
    space = make_workspace(tmp_path, plain)
    assert space.quantize().code == 0
    found = matches(plain, onnx.load(space.output))
    assert "conv" not in found and {"norm", "out"} <= set(found)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_float_types_are_matched(dtype: int):
    net = Network(opset=19)
    proto = net.proto(net.relu(net.input("x", (1, 4), dtype), "out"), output_types={"out": dtype})
    assert [match.tensor for match in match_tensors(*comparable(proto, proto))] == ["x", "out"]


def test_models_are_left_as_they_are():
    models = comparable(chain(quantized=False), chain())
    before = [ir.to_proto(model).SerializeToString(deterministic=True) for model in models]
    match_tensors(*models)
    assert before == [ir.to_proto(model).SerializeToString(deterministic=True) for model in models]
