"""The one writer of Q and DQ: every stored type, every granularity, and nobody else makes such a node."""

from __future__ import annotations

import ast

import numpy as np
import onnx
import onnx.checker
import onnx_ir as ir
import onnxruntime as ort
import pytest

from calibrators import (
    FP4_E2M1,
    QTYPES,
    Block,
    PerChannel,
    PerTensor,
    Scheme,
    dequantize,
    qparams_of,
    quantize,
    weight_ranges,
)
from qdq_cli.model.emit import Emitter, stored_dtype
from tests.test_promises import FILES, place

SCHEMES = [
    Scheme(qtype, symmetric, granularity)
    for qtype in QTYPES.values()
    if qtype is not FP4_E2M1  # for which ONNX Runtime's CPU has neither Q nor DQ
    for symmetric in (True, False)
    for granularity in (PerTensor(), PerChannel(1), Block(1, 4))
    if symmetric or qtype.grid is None
]


def run(graph: ir.Graph, array: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(ir.Model(graph, ir_version=10))
    onnx.checker.check_model(proto, full_check=True)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": array})[0])


def graph_of(shape: tuple[int, ...]) -> tuple[ir.Graph, ir.Value]:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
    return ir.Graph([x], [], nodes=(), opset_imports={"": 21}, name="g"), x


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_pair_computes_what_the_parameters_say(scheme: Scheme):
    array = np.random.default_rng(0).normal(0.7, 1, (3, 8)).astype(np.float32)
    qparams = qparams_of(weight_ranges(array, scheme.granularity), scheme)
    graph, x = graph_of(array.shape)
    graph.outputs.append(Emitter(graph).pair(x, qparams, "x"))
    quantizing, dequantizing = list(graph)
    assert quantizing.outputs[0].dtype == quantizing.inputs[2].dtype == stored_dtype(scheme.qtype)
    assert quantizing.inputs[1:] == dequantizing.inputs[1:]
    np.testing.assert_array_equal(run(graph, array), dequantize(quantize(array, qparams), qparams))


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_stored_codes_come_back_as_the_parameters_say(scheme: Scheme):
    array = np.random.default_rng(1).normal(0, 1, (3, 8)).astype(np.float32)
    qparams = qparams_of(weight_ranges(array, scheme.granularity), scheme)
    codes = quantize(array, qparams)
    graph, x = graph_of(array.shape)
    emitter = Emitter(graph)
    floats = emitter.dequantize(
        emitter.codes("w_quantized", codes, scheme.qtype), emitter.parameters(qparams, "w"), "w", x
    )
    total = ir.Node("", "Sub", [x, floats], outputs=[ir.Value(name="y", type=x.type, shape=x.shape)], name="total")
    graph.append(total)
    graph.outputs.append(total.outputs[0])
    np.testing.assert_array_equal(run(graph, array), array - dequantize(codes, qparams))


def test_names_that_are_taken_are_left_alone():
    graph, x = graph_of((2, 4))
    emitter = Emitter(graph)
    qparams = qparams_of(weight_ranges(np.ones((2, 4), np.float32), PerTensor()), Scheme())
    first, second = (emitter.pair(x, qparams, "x") for _ in range(2))
    assert [node.name for node in graph] == [
        "x_QuantizeLinear_1", "x_DequantizeLinear_1", "x_QuantizeLinear", "x_DequantizeLinear",
    ]  # fmt: skip
    assert first.name != second.name
    assert list(graph.initializers) == ["x_scale", "x_zero_point", "x_scale_1", "x_zero_point_1"]


WRITER = "qdq_cli/model/emit.py"


def test_nobody_else_makes_such_a_node():
    """Whoever makes a node names its operator: nowhere but in the writer is it one of these."""
    found = []
    for path in FILES:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            made = isinstance(call, ast.Call) and ast.unparse(call.func).lower()
            if made and made.endswith(("ir.node", ".op", ".add", "_node")) and not made.endswith("_new_node"):
                named = [part.value for part in call.args if isinstance(part, ast.Constant)]
                found += [place(path) for name in named if name in ("QuantizeLinear", "DequantizeLinear")]
    assert set(found) == {WRITER}
