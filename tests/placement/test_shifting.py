"""Tensors without zero points that are shifted instead: what may be, what is written, and that the numbers agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from calibrators import INT8, Range, Scheme
from qdq_cli.calibrating.shifted import CENTRED
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.model.nodes import constant_at, name_of
from qdq_cli.placement.plan import Plan, make_plan, restricted
from qdq_cli.placement.rewrite import Rewritten, rewrite
from qdq_cli.placement.shifting import region_of
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import SCALE, Network, proto_of, run

FROM_ZERO = Range(0.0, 255 * SCALE)
"""A step of 2**-5 and 0.0 at the smallest code."""
BOTH_SIDES = Range(-28 * SCALE, 227 * SCALE)
"""The same step, and 0.0 at the code -100."""
WIDTH = 16


def pointwise(net: Network, x: str, name: str, **options: object) -> str:
    return net.conv(x, WIDTH, name, kernel=1, scale=None, **options)


def begun(dtype: int = TensorProto.FLOAT) -> tuple[Network, str]:
    """A network up to a 3x3 convolution `made`."""
    net = Network()
    return net, net.conv(net.input("x", (1, WIDTH, 8, 8), dtype), WIDTH, "made", scale=None)


def relu() -> Network:
    net, x = begun()
    pointwise(net, net.relu(x, "t"), "y")
    return net


def relu6() -> Network:
    net, x = begun()
    pointwise(net, net.relu6(x, "t"), "y")
    return net


def bare() -> Network:
    net = Network()
    pointwise(net, net.conv(net.input("x", (1, WIDTH, 8, 8)), WIDTH, "t", scale=None), "y")
    return net


def without_biases() -> Network:
    net = Network()
    x = net.conv(net.input("x", (1, WIDTH, 8, 8)), WIDTH, "made", scale=None, bias=False)
    pointwise(net, net.relu(x, "t"), "y", bias=False)
    return net


def two_readers() -> Network:
    net, x = begun()
    t = net.relu(x, "t")
    net.op("Concat", pointwise(net, t, "one"), pointwise(net, t, "two", group=4), name="y", axis=1)
    return net


def pooled() -> Network:
    net, x = begun()
    pointwise(net, net.maxpool(net.relu(x, "t"), "pool", pad=1), "y")
    return net


def joined() -> Network:
    net, x = begun()
    t = net.concat(net.relu(x, "t"), net.relu(net.conv("x", WIDTH, "other", scale=None), "u"), name="both")
    pointwise(net, t, "y")
    return net


def residual() -> Network:
    net, x = begun()
    t = net.relu(x, "t")
    second = pointwise(net, net.relu(pointwise(net, t, "inner"), "inner_relu"), "second")
    pointwise(net, net.relu(net.add(second, t, "sum"), "end"), "y")
    return net


def flat() -> Network:
    net, x = begun()
    t = net.op("Flatten", net.relu(x, "t"), name="flat", axis=1)
    net.gemm(t, WIDTH * 64, 8, "y", scale=None)
    return net


def product() -> Network:
    net = Network()
    net.input("x", (4, 32))
    first = net.op("MatMul", "x", net.constant(net.weight(32, 32), "v"), name="first")
    t = net.relu(net.op("Add", first, net.constant(net.weight(32), "b"), name="biased"), "t")
    second = net.op("MatMul", t, net.constant(net.weight(32, 32), "w"), name="second")
    net.op("Add", second, net.constant(net.weight(32), "c"), name="y")
    return net


SHIFTED = (relu, relu6, bare, without_biases, two_readers, pooled, joined, residual, flat, product)


def padded() -> Network:
    net, x = begun()
    net.conv(net.relu(x, "t"), WIDTH, "y", scale=None)
    return net


def seen_in_float() -> Network:
    net, x = begun()
    t = net.relu(x, "t")
    net.op("Mul", pointwise(net, t, "z"), net.op("Sigmoid", t), name="y")
    return net


def transposed() -> Network:
    net, x = begun()
    t = net.relu(x, "t")
    net.op("ConvTranspose", t, net.constant(net.weight(WIDTH, WIDTH, 2, 2)), name="y", strides=[2, 2])
    return net


def filled() -> Network:
    net, x = begun()
    t = net.op("Pad", net.relu(x, "t"), net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), name="wide")
    pointwise(net, t, "y")
    return net


def averaged_with_padding() -> Network:
    net, x = begun()
    t = net.relu(x, "t")
    mean = net.op(
        "AveragePool", t, name="mean", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1], count_include_pad=1
    )
    pointwise(net, mean, "y")
    return net


def without_a_bias_behind() -> Network:
    net = Network()
    net.input("x", (4, 32))
    first = net.op("MatMul", "x", net.constant(net.weight(32, 32), "v"), name="first")
    t = net.relu(net.op("Add", first, net.constant(net.weight(32), "b")), "t")
    net.op("MatMul", t, net.constant(net.weight(32, 32), "w"), name="y")
    return net


def behind_an_ordinary_convolution() -> Network:
    net, x = begun()
    pointwise(net, net.op("Mul", x, net.op("Sigmoid", x), name="t"), "y")
    return net


LEFT_ALONE = (
    padded, seen_in_float, transposed, filled, averaged_with_padding, without_a_bias_behind,
    behind_an_ordinary_convolution,
)  # fmt: skip


def planned(net: Network, kept: Range = FROM_ZERO, output: str = "y") -> tuple[ir.Model, Plan, list[Range]]:
    """Plan, with every group shifted whose tensors can be; all weights have a step of 2**-5 as well."""
    model = prepare(net.model(output)).model
    plan = make_plan(model, TENSORRT)
    values = {name_of(value): value for node in model.graph for value in node.outputs}
    schemes = [
        CENTRED
        if all(name in values and region_of(values[name]) is not None for name in group.tensors)
        else Scheme(INT8)
        for group in plan.groups
    ]
    ranges = [kept if scheme is CENTRED else Range.symmetric(127 * SCALE) for scheme in schemes]
    return model, replace(plan, schemes=tuple(schemes)), ranges


def written(model: ir.Model, plan: Plan, ranges: list[Range], form: Form = Form.PAIRS) -> Rewritten:
    steps = {target.tensor: np.array([127 * SCALE], np.float32) for target in plan.weights}
    result = rewrite(model, plan, ranges, weights=WeightForm.FP32, form=form, weight_ranges=steps)
    proto_of(result.model)
    return result


def with_zero_points(plan: Plan) -> Plan:
    """The same for a target that has them."""
    return replace(plan, target=replace(plan.target, shifts=False))


def zero_points(model: ir.Model) -> set[int]:
    return {int(constant_at(node, 2).max()) for node in model.graph if node.op_type == "QuantizeLinear"}


def tensors_shifted(plan: Plan) -> set[str]:
    return {target.tensor for target in plan.targets if plan.is_shifted(target.group)}


@pytest.mark.parametrize("form", [Form.PAIRS, Form.INT8_REGIONS])
@pytest.mark.parametrize("kept", [FROM_ZERO, BOTH_SIDES], ids=["from zero", "both sides"])
@pytest.mark.parametrize("network", SHIFTED, ids=lambda network: network.__name__)
def test_a_shifted_model_computes_what_zero_points_do_bit_by_bit(
    network: Callable[[], Network], kept: Range, form: Form
):
    model, plan, ranges = planned(network(), kept)
    assert "t" in tensors_shifted(plan)
    shifted, affine = written(model, plan, ranges, form), written(model, with_zero_points(plan), ranges)
    assert zero_points(shifted.model) == {0}
    assert zero_points(affine.model) == {0, -128 if kept is FROM_ZERO else -100}
    for one, two in zip(run(shifted.model), run(affine.model), strict=True):
        np.testing.assert_array_equal(one, two)


@settings(max_examples=40)
@given(
    st.sampled_from(SHIFTED),
    st.integers(0, 127).map(lambda half: Range(-2 * half * SCALE, (255 - 2 * half) * SCALE)),
    st.integers(0, 1000),
)
def test_whatever_the_zero_point_is_a_shift_does_the_same(network: Callable[[], Network], kept: Range, seed: int):
    """Where a value lies in the middle of two codes, an odd zero point changes which of them is the even one."""
    model, plan, ranges = planned(network(), kept)
    shifted, affine = written(model, plan, ranges), written(model, with_zero_points(plan), ranges)
    for one, two in zip(run(shifted.model, seed=seed), run(affine.model, seed=seed), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("network", LEFT_ALONE, ids=lambda network: network.__name__)
def test_what_would_see_the_shift_keeps_a_tensor_where_it_is(network: Callable[[], Network]):
    _, plan, _ = planned(network())
    assert "t" not in tensors_shifted(plan)


def test_a_relu_whose_zero_is_the_smallest_code_goes():
    model, plan, ranges = planned(relu())
    assert {"Relu", "Clip"}.isdisjoint(node.op_type for node in written(model, plan, ranges).model.graph)
    model, plan, ranges = planned(relu(), BOTH_SIDES)
    assert "Clip" in {node.op_type for node in written(model, plan, ranges).model.graph}


def test_a_clip_that_cuts_off_more_than_the_codes_do_stays():
    model, plan, ranges = planned(relu6())
    (clip,) = (node for node in written(model, plan, ranges).model.graph if node.op_type == "Clip")
    assert constant_at(clip, 1) == -128 * SCALE and constant_at(clip, 2) == 6 - 128 * SCALE
    narrow = [replace(kept, maximum=255 * SCALE / 2) if kept == FROM_ZERO else kept for kept in ranges]
    assert "Clip" not in {node.op_type for node in written(model, plan, narrow).model.graph}


def depthwise(kind: str = "silu") -> Network:
    net, x = begun()
    x = net.conv(net.relu(x), WIDTH, "deep", group=WIDTH, scale=None)
    t = net.op("Mul", x, net.op("Sigmoid", x), name="t") if kind == "silu" else net.op("HardSwish", x, name="t")
    pointwise(net, t, "y")
    return net


def scaled() -> Network:
    net, x = begun()
    gate = net.op("Sigmoid", net.op("GlobalAveragePool", x))
    pointwise(net, net.op("Mul", net.relu(x), gate, name="t"), "y")
    return net


@pytest.mark.parametrize("network", [depthwise, lambda: depthwise("hardswish"), scaled], ids=["silu", "other", "gate"])
def test_a_function_with_a_kernel_of_its_own_gets_an_add(network: Callable[[], Network]):
    model, plan, ranges = planned(network(), BOTH_SIDES)
    assert "t" in tensors_shifted(plan)
    result = written(model, plan, ranges)
    adds = [node for node in result.model.graph if node.op_type == "Add"]
    assert [(node.inputs[0].name, float(constant_at(node, 1))) for node in adds] == [("t", -100 * SCALE)]
    assert "t" not in result.shifted  # it is what it was
    for one, two in zip(run(result.model), run(written(model, with_zero_points(plan), ranges).model), strict=True):
        np.testing.assert_allclose(one, two, atol=SCALE * 2)


def test_part_of_a_plan_is_shifted_as_the_whole_is():
    model, plan, ranges = planned(two_readers())
    part = restricted(plan, {"one"})
    shifted, affine = written(model, part, ranges), written(model, with_zero_points(part), ranges)
    for one, two in zip(run(shifted.model), run(affine.model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_shifted_tensors_get_names_of_their_own():
    model, plan, ranges = planned(residual())
    result = written(model, plan, ranges)
    names = {value.name for node in result.model.graph for value in node.outputs}
    assert result.shifted["t"] == -128 * SCALE and result.shifted["second"] == 128 * SCALE
    assert names.isdisjoint(result.shifted)


def test_a_shifted_model_is_one_that_the_lint_accepts():
    for network in SHIFTED:
        model, plan, ranges = planned(network())
        assert not [found for found in lint(written(model, plan, ranges).model) if found.severity == "error"]
