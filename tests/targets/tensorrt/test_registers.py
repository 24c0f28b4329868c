"""What a kernel on codes hands on inside is not stored; what leaves it is, and all that kernels in float make."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import make_float_plan
from qdq_cli.casting.twin import twin
from qdq_cli.config.forms import FloatType
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.registers import never_stored
from tests.networks import Network, run


def half(model: ir.Model) -> ir.Model:
    prepared = prepare(model).model
    return converted(prepared, make_float_plan(prepared, FloatType.FP16, {}, keep_io=False), keep_io=False).model


def residual() -> ir.Model:
    """Two convolutions on INT8, the second with a residual Add and a Relu, then one in float."""
    net = Network(opset=19)
    x = net.pair(net.input("x", (1, 16, 8, 8)), 0.02)
    first = net.relu(net.conv(x, 16, "first"), "first_relu")
    second = net.relu(net.add(net.conv(net.pair(first, 0.03), 16, "second"), x, "sum"), "second_relu")
    last = net.conv(net.pair(second, 0.05), 16, "last")
    return half(net.model(net.relu(net.conv(net.op("Sigmoid", last, name="sigmoid"), 16, "float", scale=None), "end")))


def outputs(model: ir.Model, *names: str) -> set[str]:
    return {node.outputs[0].name or "" for node in model.graph if node.name in names}


def test_sums_and_activations_of_a_kernel_are_never_stored():
    model = residual()
    inner = never_stored(model)
    assert outputs(model, "first", "first_relu", "second", "sum", "second_relu", "last") <= inner
    assert inner.isdisjoint(outputs(model, "sigmoid", "float", "end"))


def test_the_twin_rounds_what_is_stored_alone():
    model = residual()
    inner = never_stored(model)
    rounded = {node.name for node in twin(model, inner).graph if node.op_type == "Cast"}
    assert rounded.isdisjoint(f"{tensor}_to_fp16" for tensor in inner)
    assert "sigmoid_to_fp16" in rounded or any("sigmoid" in name for name in rounded)
    assert len(rounded) < sum(node.op_type == "Cast" for node in twin(model).graph)


def test_codes_are_those_of_an_fp32_rest_where_all_floats_stay_in_kernels():
    """A twin that rounds every sum moves codes; one that knows the kernels does not."""
    net = Network(opset=19)
    x = net.input("x", (1, 16, 8, 8))
    for number in range(4):
        x = net.relu(net.conv(x, 16, f"conv{number}", scale=0.0321))
    model = prepare(net.model(net.op("Flatten", net.pair(x, 0.0321), name="flat"))).model
    made = converted(model, make_float_plan(model, FloatType.FP16, {})).model
    data = {"x": np.random.default_rng(9).uniform(-1.5, 1.5, (1, 16, 8, 8)).astype(np.float32)}
    every = {value.name or "" for node in made.graph for value in node.outputs}
    step = np.float32(np.float16(0.0321))
    exact, known, all_rounded = (
        np.rint(run(twin(made, names), data)[0] / step) for names in (every, never_stored(made), ())
    )
    assert np.unique(exact).size > 50
    assert (known == exact).all()
    assert (all_rounded != exact).mean() > 1e-2
