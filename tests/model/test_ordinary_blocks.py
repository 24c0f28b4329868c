"""The twin of NVFP4 and MXFP8 in ordinary operators gives the numbers of the reference, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto

from calibrators import FP4_E2M1, FP8_E4M3, ScaleForm, dynamic_blocks, from_blocks
from qdq_cli.model.ordinary import OTHERS, ordinary
from qdq_cli.running.outputs import without_weights
from qdq_cli.running.session import SessionOptions, Source, make_session
from tests.targets.tensorrt.forms import FP32, VALID, Form

TENSOR = 0.125
SMALL = np.float32(2.0**-140)


def blocks_alone(name: str) -> onnx.ModelProto:
    """x in blocks, and what is left of it as the output."""
    net = Form(23)
    x = net.data(3, 64)
    if name == "nvfp4":
        scale = net.typed(TENSOR, FP32, "tensor")
        net.op("TRT_FP4DynamicQuantize", x, scale, name="codes", domain="trt", axis=-1, block_size=16, scale_type=17)
        net._nodes[-1].output.append("blocks")
        scales = net.op("DequantizeLinear", "blocks", scale)
        return net.finished(net.op("DequantizeLinear", "codes", scales, name="y", axis=-1, block_size=16))
    net.op("TRT_MXFP8DynamicQuantize", x, name="codes", domain="trt", axis=-1, block_size=32, output_dtype=17)
    net._nodes[-1].output.append("blocks")
    return net.finished(
        net.op("TRT_MXFP8DequantizeLinear", "codes", "blocks", name="y", domain="trt", axis=-1, block_size=32)
    )


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    proto, weights = without_weights(ir.from_proto(model))
    assert not any(node.op_type in OTHERS for node in proto.graph.node)
    return make_session(Source(proto.SerializeToString(), weights), SessionOptions(threads=1, optimize=False))


def given_by(made: ort.InferenceSession, x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(made.run(None, {"x": x})[0])


TWINS = {name: session(blocks_alone(name)) for name in ("nvfp4", "mxfp8")}
numbers = st.floats(-(2.0**100), 2.0**100, width=32)


@given(arrays(np.float32, (3, 64), elements=numbers))
@example(np.zeros((3, 64), np.float32))
@example(np.full((3, 64), SMALL))
@example(np.tile(np.float32([448, -448.00003, 224, 1e-30]), (3, 16)))
def test_mxfp8_is_what_the_reference_gives(x: NDArray[np.float32]) -> None:
    codes, scales = dynamic_blocks(x, FP8_E4M3, 32, ScaleForm.E8M0)
    np.testing.assert_array_equal(given_by(TWINS["mxfp8"], x), from_blocks(codes, scales, FP8_E4M3, 32))


@given(arrays(np.float32, (3, 64), elements=st.floats(-1000, 1000, width=32)))
@example(np.zeros((3, 64), np.float32))
@example(np.full((3, 64), SMALL))
@example(np.tile(np.float32([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0]), (3, 8)))
def test_nvfp4_is_what_the_reference_gives(x: NDArray[np.float32]) -> None:
    codes, scales = dynamic_blocks(x, FP4_E2M1, 16, ScaleForm.E4M3, np.float32(TENSOR))
    np.testing.assert_array_equal(given_by(TWINS["nvfp4"], x), from_blocks(codes, scales, FP4_E2M1, 16))


@pytest.mark.parametrize("name", ["NVFP4 in FP16", "NVFP4 in FP32", "MXFP8 in FP16"])
def test_what_exporters_write_runs(name: str) -> None:
    model = VALID[name]
    single = model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    x = np.ones((16, 256), np.float32 if single else np.float16)
    assert np.isfinite(given_by(session(model), x)).all()


def test_another_model_is_left_as_it_is() -> None:
    model = ir.from_proto(VALID["INT8 in FP32"])
    assert ordinary(model) is model
