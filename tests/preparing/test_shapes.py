"""What follows from fixed sizes is a constant before anything is planned."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, parser

from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network, run

I64 = np.int64


def shuffle_net(*, from_shape: bool, batch: int | str = 1) -> onnx.ModelProto:
    """Two units of a ShuffleNet: chunk() with the bounds of its Slices as constants, or computed from Shape."""
    net = Network()
    x = net.relu(net.conv(net.input("x", (batch, 32, 8, 8)), 32, "entry", scale=None), "start")
    for unit in range(2):
        axis = net.constant(np.array([1], I64))
        first, half, end = (net.constant(np.array([number], I64)) for number in (0, 16, 32))
        if from_shape:
            size = net.op("Gather", net.op("Shape", x), axis, axis=0)
            part = net.op("Div", net.op("Add", size, axis), net.constant(np.array([2], I64)))
            half, end = net.op("Mul", part, axis), net.op("Mul", part, net.constant(np.array([2], I64)))
        kept = net.op("Slice", x, first, half, axis, name=f"kept{unit}")
        worked = net.op("Slice", x, half, end, axis, name=f"worked{unit}")
        net._channels[worked] = net._channels[kept] = 16
        worked = net.relu(net.conv(worked, 16, f"conv{unit}", scale=None), f"relu{unit}")
        x = net.concat(kept, worked, name=f"joined{unit}")
    net.conv(x, 16, "y", scale=None)
    return net.proto("y")


@pytest.mark.parametrize("batch", [1, "N"])
def test_slices_whose_bounds_come_from_shape_get_the_plan_of_constants(batch: int | str):
    plans = []
    for from_shape in (False, True):
        proto = shuffle_net(from_shape=from_shape, batch=batch)
        prepared = prepare(ir.serde.deserialize_model(proto), proto).model
        assert not [node for node in prepared.graph if node.op_type in ("Shape", "Gather", "Div")]
        plan = make_plan(prepared, TENSORRT)
        plans.append((plan.targets, plan.weights, plan.groups, plan.quantized, plan.skips))
    assert plans[0] == plans[1]


def prepared(text: str, x: str = "float[N,6,4] x", y: str = "float[A,B,C] y", opset: int = 17) -> ir.Model:
    """A model of one input prepared; it has to compute what it did before."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>\nnetwork ({x}) => ({y}) '
    proto = parser.parse_model(f"{header}{{\n{text}\n}}")
    model = prepare(ir.serde.deserialize_model(proto), proto).model
    data = np.random.default_rng(3).normal(size=(2, 6, 4)).astype(np.float32)
    expected = run(ir.serde.deserialize_model(proto), {"x": data})
    for before, after in zip(expected, run(model, {"x": data}), strict=True):
        np.testing.assert_array_equal(before, after)
    return model


def left(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


CONSTANTS = {"zero": [0], "one": [1], "two": [2], "three": [3], "open": [-1], "tail": [6, 4]}
SCALARS = {"scalar0": 0, "scalar1": 1, "scalar2": 2}

PICKED_PARTS = [
    "s = Shape <start = 1> (x)|t = Concat <axis = 0> (open, s)|y = Reshape(x, t)",
    "s = Shape(x)|k = Slice(s, one, two)|t = Concat <axis = 0> (open, k, open4)|y = Reshape(x, t)",
    "s = Shape(x)|g = Gather <axis = 0> (s, scalar2)|u = Unsqueeze(g, zero)|y = Slice(x, zero, u, two)",
    "s = Shape(x)|c = Cast <to = 6> (s)|g = Gather <axis = 0> (c, one)|d = Cast <to = 7> (g)|"
    "y = Slice(x, zero, d, one)",
    "s = Shape <start = 1, end = 2> (x)|i = Identity(s)|n = Size(i)|h = Sub(s, n)|f = Reshape(h, open)|"
    "y = Slice(x, zero, f, one)",
    "s = Shape(x)|f = Slice(s, zero, one)|t = Concat <axis = 0> (f, tail)|k = Slice(t, one, three)|"
    "v = Concat <axis = 0> (open, k)|y = Reshape(x, v)",
    "s = Shape <start = 1> (x)|z = ConstantOfShape <value = float[1] {2}> (s)|y = Mul(x, z)",
    "s = Shape <start = 1, end = 2> (x)|q = Squeeze(s)|r = Range(scalar0, q, scalar1)|y = Gather <axis = 1> (x, r)",
    "c = Cast <to = 11> (two)|k = CastLike(c, x)|y = Mul(x, k)",
    "s = Shape <start = 1> (x)|c = Cast <to = 1> (two)|e = Expand(c, s)|y = Mul(x, e)",
    "s = Shape <start = 1> (x)|b = Greater(s, scalar1)|w = Where(b, s, tail)|t = Concat <axis = 0> (open, w)|"
    "y = Reshape(x, t)",
]


def with_constants(text: str) -> str:
    lists = [f"{name} = Constant <value_ints = {numbers}> ()" for name, numbers in (CONSTANTS | {"open4": [4]}).items()]
    scalars = [f"{name} = Constant <value = int64 {{{number}}}> ()" for name, number in SCALARS.items()]
    return "\n".join([*lists, *scalars, *text.split("|")])


@pytest.mark.parametrize("text", PICKED_PARTS)
def test_what_depends_on_fixed_sizes_alone_becomes_constant(text: str):
    assert len(left(prepared(with_constants(text), opset=18 if "CastLike" in text else 17))) == 1


def test_what_is_made_of_constants_alone_keeps_its_name():
    """Beside a Shape too: a constant under another name is another file without a reason."""
    text = "s = Shape(x)|n = Slice(s, zero, one)|c = Cast <to = 7> (two)|t = Concat <axis = 0> (n, c, open)"
    text += "|y = Reshape(x, t)"
    names = prepared(with_constants(text)).graph.initializers
    assert "c" in names
    assert not any(name.startswith("c_") for name in names)


def test_what_depends_on_an_open_size_stays():
    text = "s = Shape(x)|g = Slice(s, zero, one)|t = Concat <axis = 0> (g, open, two)|y = Reshape(x, t)"
    assert left(prepared(with_constants(text))) == ["Shape", "Slice", "Concat", "Reshape"]


def test_sizes_that_a_file_declares_wrongly_do_not_count():
    """The sizes of inner tensors follow from the inputs; what the file says about them is not enforced by anyone."""
    text = "t = Relu(x)\ns = Shape(t)\ny = Cast <to = 1> (s)"
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]>\nnetwork (float[N,6] x) => (float[2] y) {{\n{text}\n}}'
    )
    proto.graph.value_info.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, [5, 6]))
    model = prepare(ir.serde.deserialize_model(proto), proto).model
    np.testing.assert_array_equal(run(model, {"x": np.zeros((3, 6), np.float32)})[0], [3, 6])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 7), min_size=3, max_size=3),
    st.sampled_from(["Add", "Sub", "Mul", "Div", "Min", "Max"]),
    st.integers(-3, 3).filter(bool),
    st.integers(-3, 2),
    st.booleans(),
)
def test_arithmetic_on_sizes_is_that_of_onnx_runtime(shape, op_type, number, index, swapped):
    net = Network()
    x = net.input("x", tuple(shape))
    size = net.op("Gather", net.op("Shape", x), net.constant(np.array([index], I64)), axis=0)
    operands = [size, net.constant(np.array([number], I64))]
    net.op(op_type, *(reversed(operands) if swapped else operands), name="made")
    net.op("Add", x, net.op("Cast", "made", to=TensorProto.FLOAT), name="y")
    before = run(net.model("y"))
    model = prepare(net.model("y")).model
    assert left(model) == ["Add"]
    np.testing.assert_array_equal(run(model)[0], before[0])
