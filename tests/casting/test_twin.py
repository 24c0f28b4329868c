"""The twin of an FP16 or BF16 model: FP32 tensors that hold what NumPy rounds to the type, run by ONNX Runtime."""

from __future__ import annotations

from functools import partial

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from calibrators import Extremes
from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import make_float_plan
from qdq_cli.casting.twin import twin
from qdq_cli.config.forms import FloatType
from qdq_cli.preparing.prepare import prepare
from tests.networks import Network, proto_of, run, serialized

F = np.float32


def bf16(array: np.ndarray) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16).astype(F)


def rounded(array: np.ndarray, kind: FloatType) -> np.ndarray:
    return array.astype(np.float16).astype(F) if kind is FloatType.FP16 else bf16(array)


def twin_of(model: ir.Model, kind: FloatType = FloatType.BF16, *, keep_io: bool = True) -> ir.Model:
    plan = make_float_plan(model, kind, {}, keep_io=keep_io)
    return twin(converted(model, plan, keep_io=keep_io).model)


def alone(op_type: str, *arrays: np.ndarray, **attributes: object) -> np.ndarray:
    """What ONNX Runtime computes in FP32 for one operator."""
    net = Network(opset=20)
    names = [net.input(f"x{number}", array.shape) for number, array in enumerate(arrays)]
    model = net.model(net.op(op_type, *names, **attributes))
    return run(model, dict(zip(names, arrays, strict=True)))[0]


@pytest.mark.parametrize("kind", [FloatType.FP16, FloatType.BF16])
def test_every_operator_is_rounded_as_numpy_rounds(kind: FloatType):
    low = partial(rounded, kind=kind)
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((16, 16)).astype(F) for _ in range(2))
    net = Network()
    x = net.input("x", (4, 16))
    hidden = net.op("Sigmoid", net.op("MatMul", x, net.constant(first)), name="hidden")
    moved = net.op("Transpose", net.op("Add", hidden, net.constant(F(0.3))), perm=[0, 1])
    model = prepare(net.model(net.op("MatMul", moved, net.constant(second)))).model
    data = rng.standard_normal((4, 16)).astype(F)
    wanted = low(alone("MatMul", low(data), low(first)))
    wanted = low(low(alone("Sigmoid", wanted)) + low(F(0.3)))
    wanted = low(alone("MatMul", wanted, low(second)))
    result = twin_of(model, kind)
    np.testing.assert_array_equal(run(result, {"x": data})[0], wanted)
    options = onnxruntime.SessionOptions()  # with every optimization: none may take the rounding out
    session = onnxruntime.InferenceSession(serialized(result), options, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": data})[0], low(session.run(None, {"x": data})[0]))


def test_what_overflows_in_fp16_overflows_in_its_twin():
    """In ONNX Runtime's CPU it does not: that computes the square and its root in FP32."""
    net = Network()
    x = net.input("x", (1, 4))
    model = prepare(net.model(net.op("Sqrt", net.op("Mul", x, x)))).model
    plan = make_float_plan(model, FloatType.FP16, {"x": Extremes(0.0, 10.0)}, keep_io=False)
    result = twin(converted(model, plan, keep_io=False).model)
    assert run(result, {"x": F([[1.0, 255.0, 256.0, 1000.0]])})[0].tolist() == [[1.0, 255.0, np.inf, np.inf]]


def test_rounding_there_and_back_is_to_nearest_ties_to_even():
    net = Network()
    x = net.input("x", (1, 70000))
    model = prepare(net.model(net.op("Div", x, net.constant(F(1))))).model
    rng = np.random.default_rng(1)
    ties = (rng.integers(0, 2**16, 35000, dtype=np.uint32) << 16 | 0x8000).view(F)
    others = rng.integers(0, 2**32, 35000, dtype=np.uint32).view(F)
    data = np.concatenate([ties, others])
    data = np.where(np.isfinite(data) & (np.abs(data) < 1e38), data, 0)[None]
    found = run(twin_of(model, keep_io=False), {"x": data})[0]
    np.testing.assert_array_equal(found.view(np.uint32), bf16(data).view(np.uint32))


def test_a_quantized_model_has_a_twin():
    net = Network(opset=19)
    x = net.input("x", (1, 4, 8, 8))
    out = net.conv(net.relu(net.conv(x, 4, scale=0.013)), 4, scale=0.017, name="out")
    model = prepare(net.model(out)).model
    result = twin_of(model, keep_io=False)
    proto = proto_of(result)
    assert proto.opset_import[0].version == 20
    assert all(value.dtype == ir.DataType.FLOAT for value in (*result.graph.inputs, *result.graph.outputs))
    found = run(result)[0]
    np.testing.assert_array_equal(found, bf16(found))
    np.testing.assert_allclose(found, run(model)[0], rtol=3e-2, atol=0.3)
