"""Bounds are proven: ONNX Runtime finds no tensor outside of them, and what has none is named."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrators import Extremes
from qdq_cli.casting.bounds import bounds_of, unbounded
from qdq_cli.preparing.prepare import infer_shapes
from tests.networks import Network, run

F = np.float32
CHANNELS, SIZE = 4, 6
UINT8 = 2


def _deconv(net: Network, a: str, b: str) -> str:
    weight = net.constant(net.weight(CHANNELS, CHANNELS // 2, 3, 3))
    return net.op("ConvTranspose", a, weight, net.constant(net.weight(CHANNELS)), group=2, pads=[1, 1, 1, 1])


def _norm(net: Network, a: str, b: str) -> str:
    scale, bias = net.constant(net.weight(SIZE)), net.constant(net.weight(SIZE))
    return net.op("LayerNormalization", a, scale, bias, epsilon=1e-12)


def _instance_norm(net: Network, a: str, b: str) -> str:
    return net.op("InstanceNormalization", a, net.constant(net.weight(CHANNELS)), net.constant(net.weight(CHANNELS)))


def _batch_norm(net: Network, a: str, b: str) -> str:
    parts = [net.weight(CHANNELS) for _ in range(3)] + [np.abs(net.weight(CHANNELS))]
    return net.op("BatchNormalization", a, *map(net.constant, parts))


def _reduce(op_type: str, **attributes: object):
    def step(net: Network, a: str, b: str) -> str:
        axes = net.constant(np.array([-1]))
        return net.op("Add", net.op(op_type, a, axes, **attributes), net.op("Mul", b, net.constant(F(0))))

    return step


def _pad(net: Network, a: str, b: str) -> str:
    padded = net.op("Pad", a, net.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1])), net.constant(F(2.5)))
    return net.op("Slice", padded, *(net.constant(np.array(part)) for part in ([0, 0], [SIZE, SIZE], [2, 3])))


def _resize(mode: str):
    def step(net: Network, a: str, b: str) -> str:
        net.constant(np.zeros(0, F), "empty")
        up = net.op("Resize", a, "", net.constant(F([1, 1, 2, 2])), mode=mode)
        return net.op("Slice", up, *(net.constant(np.array(part)) for part in ([0, 0], [SIZE, SIZE], [2, 3])))

    return step


def _concat(net: Network, a: str, b: str) -> str:
    return net.op("Slice", net.op("Concat", a, b, axis=0), *map(net.constant, map(np.array, ([1], [2], [0]))))


def _divided(net: Network, a: str, b: str) -> str:
    return net.op("Div", a, net.op("Add", net.op("Abs", b), net.constant(F(0.5))))


def _pair(net: Network, a: str, b: str) -> str:
    return net.pair(a, 0.05, shared=False)


def _unary(op_type: str, **attributes: object):
    return lambda net, a, b: net.op(op_type, a, **attributes)


def _binary(op_type: str):
    return lambda net, a, b: net.op(op_type, a, b)


def _with(op_type: str, *constants: object):
    return lambda net, a, b: net.op(op_type, a, *(net.constant(np.asarray(part)) for part in constants))


STEPS = {
    "conv": lambda net, a, b: net.conv(a, CHANNELS, scale=None),
    "depthwise": lambda net, a, b: net.conv(a, CHANNELS, group=CHANNELS, scale=None),
    "quantized": lambda net, a, b: net.conv(a, CHANNELS, scale=0.05),
    "deconv": _deconv,
    "matmul": lambda net, a, b: net.op("MatMul", a, net.constant(net.weight(SIZE, SIZE))),
    "left": lambda net, a, b: net.op("MatMul", net.constant(net.weight(SIZE, SIZE)), a),
    "attention": lambda net, a, b: net.op("MatMul", a, b),
    **{name: _binary(name) for name in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")},
    "square": lambda net, a, b: net.op("Mul", a, a),
    "divided": _divided,
    "where": lambda net, a, b: net.op("Where", net.op("Greater", a, b), a, b),
    "concat": _concat,
    "pair": _pair,
    "norm": _norm,
    "instance": _instance_norm,
    "batch": _batch_norm,
    "pad": _pad,
    "linear": _resize("linear"),
    "nearest": _resize("nearest"),
    "reciprocal": lambda net, a, b: net.op("Reciprocal", net.op("Exp", net.op("Tanh", a))),
    "log": lambda net, a, b: net.op("Log", net.op("Add", net.op("Abs", a), net.constant(F(0.01)))),
    "sqrt": lambda net, a, b: net.op("Sqrt", net.op("Abs", a)),
    "power": _with("Pow", F(2)),
    "cube": _with("Pow", F(3)),
    "exp": lambda net, a, b: net.op("Exp", net.op("Clip", a, net.constant(F(-9)), net.constant(F(9)))),
    "prelu": lambda net, a, b: net.op("PRelu", a, net.constant(net.weight(CHANNELS, 1, 1))),
    "clip": _with("Clip", F(-1), F(2)),
    "leaky": _unary("LeakyRelu", alpha=0.3),
    "elu": _unary("Elu", alpha=2.0),
    "softmax": _unary("Softmax", axis=-1),
    "log softmax": _unary("LogSoftmax", axis=1),
    "average": _unary("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    "maxpool": _unary("MaxPool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "lrn": _unary("LRN", size=3),
    "transpose": _unary("Transpose", perm=[0, 1, 3, 2]),
    "cumsum": _with("CumSum", np.array(3)),
    "cast": lambda net, a, b: net.op("Cast", net.op("Cast", net.op("Sigmoid", a), to=UINT8), to=1),
    **{name: _unary(name) for name in ("Relu", "Sigmoid", "Tanh", "Erf", "Softplus", "Softsign", "HardSwish", "Mish")},
    **{name: _unary(name) for name in ("HardSigmoid", "Selu", "Gelu", "Abs", "Neg", "Floor", "Round", "Sin", "Celu")},
    **{name: _reduce(name) for name in ("ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")},
    **{name: _reduce(name) for name in ("ReduceMax", "ReduceMin", "ReduceLogSumExp")},
}  # fmt: skip
RECIPES = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9
)


def build(recipe: list[tuple[str, int, int]]) -> ir.Model:
    """A random network all of whose tensors are outputs."""
    net = Network(opset=21)
    tensors = [net.input("x", (1, CHANNELS, SIZE, SIZE))]
    for name, first, second in recipe:
        a, b = (tensors[-1 - min(back, len(tensors) - 1)] for back in (first, second))
        tensors.append(STEPS[name](net, a, b))
        net._channels[tensors[-1]] = CHANNELS
    codes = {name for node in net._nodes for name in node.output if node.op_type in ("QuantizeLinear", "Greater")}
    codes |= {node.output[0] for node in net._nodes if node.op_type == "Cast" and node.attribute[0].i == UINT8}
    floats = [name for node in net._nodes for name in node.output if name not in codes]
    model = net.model(*floats)
    infer_shapes(model)
    return model


def outside(model: ir.Model, known: dict[str, Extremes], found: dict[str, np.ndarray]) -> list[str]:
    """The tensors of a run that leave their bounds."""
    wrong = []
    for value, bounds in bounds_of(model, known).items():
        array = found.get(value.name or "")
        if (
            array is not None
            and np.isfinite(array).all()
            and not (bounds.low <= float(array.min()) and float(array.max()) <= bounds.high)
        ):
            wrong.append(f"{value.name}: {array.min()}..{array.max()} outside {bounds}")
    return wrong


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECIPES, st.integers(0, 2**16), st.sampled_from([1e-3, 1.0, 40.0]))
def test_no_tensor_leaves_its_bounds(recipe, seed, size):
    model = build(recipe)
    x = (np.random.default_rng(seed).standard_normal((1, CHANNELS, SIZE, SIZE)) * size).astype(F)
    names = [value.name for value in model.graph.outputs]
    found = dict(zip(names, run(model, {"x": x}), strict=True))
    known = {"x": Extremes(float(x.min()), float(x.max()))}
    assert outside(model, known, found) == []
    for name in names[::2]:  # some of them observed
        if np.isfinite(found[name]).all():
            known[name] = Extremes(float(found[name].min()), float(found[name].max()))
    assert outside(model, known, found) == []


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_rule_bounds_its_operator(name: str):
    """No step is without a rule, so none passes by bounding nothing; and each bound is of use."""
    model = build([(name, 0, 0)])
    x = np.linspace(-3, 3, CHANNELS * SIZE * SIZE, dtype=F).reshape(1, CHANNELS, SIZE, SIZE)
    found = dict(zip([value.name for value in model.graph.outputs], run(model, {"x": x}), strict=True))
    known = {"x": Extremes(-3.0, 3.0)}
    bounds = bounds_of(model, known)
    last = list(model.graph)[-1].outputs[0]
    assert outside(model, known, found) == []
    assert np.abs(found[last.name]).max() <= bounds[last].amax <= 300 * max(np.abs(found[last.name]).max(), 1)


def test_what_nothing_bounds_is_named():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    first = net.conv(x, 4, scale=None, name="first")
    out = net.op("Sigmoid", net.conv(net.op("Tanh", first, name="tanh"), 4, scale=None, name="second"), name="out")
    model = net.model(out)
    assert unbounded(model, {}, 1e4) == ("x", "first")
    assert unbounded(model, {"x": Extremes(-1, 1)}, 1e4) == ()
    assert unbounded(model, {"x": Extremes(-1, 1)}, 4.0) == ("first", "second")
    assert unbounded(model, {"x": Extremes(-1, 1), "first": Extremes(-9, 9)}, 4.0) == ("second",)


def test_a_group_norm_is_bounded():
    net = Network(opset=21)
    operands = [net.input("x", (1, 4, 8, 8)), net.constant(net.weight(4)), net.constant(net.weight(4))]
    proto = net.proto(net.op("GroupNormalization", *operands, name="y", num_groups=2, epsilon=1e-9))
    for size in (1, 4, 8, 8):  # ONNX does not infer it
        proto.graph.output[0].type.tensor_type.shape.dim.add(dim_value=size)
    model = ir.serde.deserialize_model(proto)
    x = np.zeros((1, 4, 8, 8), F)
    x[0, :, 3, 3] = 100
    found = run(model, {"x": x})[0]
    assert np.abs(found).max() <= bounds_of(model, {})[model.graph.outputs[0]].amax < 40


def test_lstm_and_gru_states_are_bounded():
    net = Network()
    x = net.input("x", (5, 1, 4))
    weights = [net.constant(net.weight(1, 4 * 3, size)) for size in (4, 3)]
    y = net.op("LSTM", x, *weights, hidden_size=3)
    model = net.model(y)
    infer_shapes(model)
    state = run(model, {"x": np.full((5, 1, 4), 100, F)})[0]
    bounds = bounds_of(model, {})[model.graph.outputs[0]]
    assert np.abs(state).max() <= bounds.amax < 1.001
