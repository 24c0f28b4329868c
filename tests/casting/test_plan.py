"""Which operators stay FP32, and why: each reason on a small network, and beside it one that does not need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from calibrators import Extremes
from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import FloatPlan, make_float_plan
from qdq_cli.casting.reasons import REASONS
from qdq_cli.casting.twin import twin
from qdq_cli.config.forms import FloatType, ScaleType
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import ModelError
from tests.networks import Network, proto_of, run
from tests.targets.tensorrt.forms import FP32, mxfp8, nvfp4
from tests.workspace import REPOSITORY

F = np.float32
Known = Mapping[str, Extremes]
SMALL = {"x": Extremes(-4.0, 4.0)}


def network(build: Callable[[Network, str], str], shape: tuple[int, ...] = (1, 8, 16), opset: int = 17) -> ir.Model:
    """A network between two products, which are FP16 whatever stands between."""
    net = Network(opset=opset)
    x = net.input("x", shape)
    first = net.op("MatMul", x, net.constant(np.eye(shape[-1], dtype=F)), name="first")
    out = build(net, first)
    last = net.op("MatMul", out, net.constant(np.eye(shape[-1], dtype=F)), name="last")
    return prepare(net.model(last)).model


def plan_of(model: ir.Model, known: Known, float_type: FloatType = FloatType.FP16) -> FloatPlan:
    return make_float_plan(model, float_type, known)


def codes(model: ir.Model, known: Known = SMALL, float_type: FloatType = FloatType.FP16) -> dict[str, str]:
    return {kept.node: kept.code for kept in plan_of(model, known, float_type).kept}


def ran(model: ir.Model, known: Known, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first output in FP32, and with an FP16 rest: ONNX Runtime takes the file, and its twin is rounded."""
    result = converted(model, plan_of(model, known)).model
    run(result, {"x": x})
    return run(model, {"x": x})[0], run(twin(result), {"x": x})[0]


def rows(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(3).uniform(low, high, (1, 8, 16)).astype(F)


# What operators are


def test_an_operator_without_the_type_stays():
    model = network(lambda net, x: net.op("Where", net.op("IsInf", x, name="inf"), x, x))
    assert codes(model) == {"inf": "NO_TYPE"}
    proto_of(converted(model, plan_of(model, SMALL)).model)


def test_an_operator_of_another_domain_stays():
    net = Network()
    x = net.op("Relu", net.input("x", (1, 8)), name="relu")
    model = prepare(net.model(net.op("Plugin", x, name="plugin", domain="custom"))).model
    plan = plan_of(model, {})
    assert {kept.node: kept.code for kept in plan.kept} == {"relu": "ISLAND", "plugin": "CUSTOM_DOMAIN"}


INSIDE = ("inside", "outside")


@pytest.mark.parametrize("taken", [True, False])
def test_a_body_has_its_own_types_and_what_it_captures_is_cast(taken: bool):
    inner = helper.make_graph(
        [helper.make_node("Add", ["first", "shared"], ["inside"], name="inside")],
        "then",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Mul", ["first", "shared"], ["outside"], name="outside")],
        "else",
        [],
        [helper.make_tensor_value_info("outside", TensorProto.FLOAT, None)],
    )

    def build(net: Network, x: str) -> str:
        shared = net.constant(np.full((1, 1, 16), 2, F), "shared")
        net.input("yes", (), TensorProto.BOOL)
        chosen = net.op("If", "yes", name="if", then_branch=inner, else_branch=other)
        return net.op("Add", chosen, net.op("Mul", x, shared, name="mul"), name="add")

    model = network(build)
    plan = plan_of(model, {**SMALL, "first": Extremes(-9, 9)} if taken else SMALL)
    inside = dict.fromkeys(INSIDE, "ISLAND" if taken else "NEVER_TAKEN")
    assert {kept.node: kept.code for kept in plan.kept} == {"if": "BODY", **inside}
    result = converted(model, plan).model
    for yes in (False, True):
        feeds = {"x": rows(-2, 2), "yes": np.array(yes)}
        np.testing.assert_allclose(run(result, dict(feeds))[0], run(model, dict(feeds))[0], rtol=1e-2, atol=0.02)


def test_sequences_stay():
    def build(net: Network, x: str) -> str:
        parts = net.op("SplitToSequence", x, net.constant(np.array(4)), name="parts", axis=1)
        return net.op("ConcatFromSequence", parts, name="joined", axis=1)

    model = network(build)
    assert codes(model) == {"parts": "UNTYPED", "joined": "UNTYPED"}
    proto_of(converted(model, plan_of(model, SMALL)).model)


def test_what_is_computed_from_shapes_stays():
    def build(net: Network, x: str) -> str:
        size = net.op("Cast", net.op("Shape", x), name="size", to=TensorProto.FLOAT)
        half = net.op("Mul", size, net.constant(F([1, 1, 1])), name="half")
        return net.op("Reshape", x, net.op("Cast", half, name="back", to=TensorProto.INT64))

    net = Network()
    x = net.op("Relu", net.input("x", ("N", 8, 16)))
    model = prepare(net.model(build(net, x))).model
    assert [node for node, code in codes(model).items() if code == "FROM_SHAPES"] == ["size", "half", "back"]


def test_operators_that_state_their_type_stay():
    def build(net: Network, x: str) -> str:
        noise = net.op("RandomNormal", name="noise", shape=[1, 8, 16], seed=1.0)
        return net.op("Add", x, noise)

    model = network(build)
    assert codes(model) == {"noise": "FIXED_TYPE"}
    proto_of(converted(model, plan_of(model, SMALL)).model)


def test_casts_and_filled_tensors_are_retyped():
    def build(net: Network, x: str) -> str:
        positive = net.op("Cast", net.op("Greater", x, net.constant(F(0))), name="cast", to=TensorProto.FLOAT)
        return net.op("Mul", x, positive)

    model = network(build)
    result = converted(model, plan_of(model, SMALL)).model
    assert codes(model) == {}
    assert sum(node.op_type == "Cast" for node in result.graph) == 3
    np.testing.assert_allclose(run(twin(result), {"x": rows(-2, 2)})[0], run(model, {"x": rows(-2, 2)})[0], atol=2e-3)


def test_coordinates_and_transforms_stay():
    net = Network(opset=20)
    x = net.op("Relu", net.input("x", (1, 1, 8, 8)))
    grid = net.op("Tanh", net.input("g", (1, 4, 4, 2)))
    sampled = net.op("GridSample", x, grid, name="sample")
    model = prepare(net.model(net.op("Det", sampled, name="det"))).model
    assert {"sample": "COORDINATES", "det": "SPECTRUM"}.items() <= codes(model).items()


def centers(cells: int) -> np.ndarray:
    """The centers of the cells of a picture, row by row, each as x and y."""
    middles = (np.arange(cells, dtype=F) + F(0.5)) / cells
    return np.stack(np.meshgrid(middles, middles), axis=2).reshape(1, -1, 2)


def detector(table: np.ndarray, *, again: bool = False) -> ir.Model:
    """Boxes around centers: `x * 0.1 + table`, minus and plus the half of a size."""
    net = Network()
    count = table.shape[1]
    x = net.input("x", (1, count, 2))
    found = net.op("MatMul", x, net.constant(np.eye(2, dtype=F)), name="found")
    middle = net.op("Add", net.op("Mul", found, net.constant(F(0.1)), name="near"), net.constant(table), name="middle")
    size = net.op("Exp", found, name="size")
    boxes = net.concat(net.op("Sub", middle, size, name="low"), net.op("Add", middle, size, name="high"), name="boxes")
    if again:
        boxes = net.op("MatMul", boxes, net.constant(np.eye(2, dtype=F)), name="embedded")
    return prepare(net.model(boxes)).model


def test_a_grid_stays_with_all_behind_it_where_the_type_moves_its_cells():
    boxes = dict.fromkeys(("middle", "low", "high", "boxes"), "COORDINATES") | dict.fromkeys(("near", "size"), "ISLAND")
    assert codes(detector(centers(20)), float_type=FloatType.BF16) == boxes
    reason = plan_of(detector(centers(20)), SMALL, FloatType.BF16).kept[1].reason
    assert "'middle' adds a grid of cells of 0.05, and BF16 is off by up to 0.0038" in reason
    assert codes(detector(centers(20))) == {}
    assert codes(detector(centers(200))) == boxes
    assert codes(detector(centers(20) * 20 - F(0.5)), float_type=FloatType.BF16)["middle"] == "COORDINATES"


@pytest.mark.parametrize("kind", [FloatType.FP16, FloatType.BF16])
def test_other_tables_are_no_grids(kind: FloatType):
    values = np.random.default_rng(0).normal(size=(1, 400, 2)).astype(F)
    assert codes(detector(values), float_type=kind) == {}  # every number of its own, as embeddings and biases have
    assert codes(detector(centers(4)), float_type=kind) == {}
    assert codes(detector(centers(200), again=True), float_type=kind) == {}  # no positions behind another product


def test_boxes_of_a_grid_are_those_of_fp32():
    model = detector(centers(20))
    data = {"x": np.random.default_rng(1).uniform(-1, 1, (1, 400, 2)).astype(F)}
    result = converted(model, plan_of(model, SMALL, FloatType.BF16)).model
    free = converted(model, FloatPlan(FloatType.BF16, result.opset_imports[""])).model
    wanted = run(model, data)[0]
    off, off_free = (np.abs(run(twin(made), data)[0] - wanted) for made in (result, free))
    assert off[:, :, 0].max() < 2.0**-6
    assert off.mean() < 0.7 * off_free.mean()


def test_sizes_of_a_resize_are_left_alone():
    net = Network()
    x = net.conv(net.input("x", (1, 4, 8, 8)), 4, scale=None)
    net.constant(F([1, 1, 2, 2]), "scales")
    up = net.op("Resize", x, "", "scales", name="up", mode="linear")
    net._channels[up] = 4
    model = prepare(net.model(net.conv(up, 4, scale=None))).model
    result = converted(model, plan_of(model, {})).model
    proto_of(result)
    assert codes(model) == {}
    assert result.graph.initializers["scales"].dtype == ir.DataType.FLOAT


# What tensors hold


def test_a_tensor_near_the_end_of_the_type_keeps_maker_and_readers():
    model = network(lambda net, x: net.op("Tanh", net.op("Mul", x, net.constant(F(5000)), name="big"), name="tanh"))
    assert codes(model, {**SMALL, "big": Extremes(-2e4, 2e4)}) == {"big": "OVERFLOW", "tanh": "OVERFLOW"}
    assert codes(model, {**SMALL, "big": Extremes(-1e4, 1e4)}) == {}
    assert codes(model, {**SMALL, "big": Extremes(-2e4, 2e4)}, FloatType.BF16) == {}


def test_squares_that_leave_the_type_are_found_without_being_observed():
    model = network(lambda net, x: net.op("Tanh", net.op("Pow", x, net.constant(F(2)), name="squares"), name="tanh"))
    assert codes(model, {"first": Extremes(-200, 3)}) == {"squares": "OVERFLOW", "tanh": "OVERFLOW"}
    assert codes(model, {"first": Extremes(-90, 3)}) == {}
    assert codes(model, {}) == {"squares": "OVERFLOW"}
    assert plan_of(model, {}).unobserved == ("x", "first", "squares")


def test_tensors_that_are_small_and_large_again_stay():
    def build(net: Network, x: str) -> str:
        down = net.op("Transpose", net.op("Mul", x, x, name="down"), name="moved", perm=[0, 1, 2])
        return net.op("Mul", down, net.constant(F(1e4)), name="up")

    model = network(build)
    for size, kept in ((1e-3, {"down", "moved", "up"}), (1e-2, set())):
        assert set(codes(model, {"first": Extremes(-size, size)})) == kept
    known = {"first": Extremes(-1e-3, 1e-3)}
    assert set(codes(model, known).values()) == {"VANISHES"}
    one, other = ran(model, known, rows(-1e-3, 1e-3))
    np.testing.assert_allclose(other, one, rtol=1e-2, atol=1e-5)


def test_tensors_that_nobody_misses_may_vanish():
    """A head of attention that training has pruned: 1e-40, where subnormal numbers end."""

    def build(net: Network, x: str) -> str:
        scores = net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1]), name="scores")
        return net.op("MatMul", net.op("Softmax", scores, name="softmax", axis=-1), x, name="out")

    assert codes(network(build), {"first": Extremes(-1e-40, 1e-40)}) == {}


def test_a_model_built_to_overflow_stays_finite():
    """Squares, norms and exponentials far beyond 65504, each undone later."""

    def build(net: Network, x: str) -> str:
        big = net.op("Mul", x, net.constant(F(1e4)), name="big")
        norm = net.op("ReduceL2", big, name="norm", axes=[-1])
        unit = net.op("Div", big, norm, name="unit")
        grown = net.op("Exp", net.op("Mul", x, net.constant(F(9)), name="steep"), name="grown")
        logs = net.op("Log", net.op("Add", grown, net.constant(F(1))), name="logs")
        return net.op("Add", unit, net.op("Mul", logs, net.constant(F(0.1))))

    model = network(build)
    x = rows(-4, 4)
    outputs = {
        "big": Extremes(-4e4, 4e4),
        "norm": Extremes(2e4, 1e5),
        "unit": Extremes(-1, 1),
        "steep": Extremes(-36, 36),
    }
    one, other = ran(model, {**SMALL, "first": SMALL["x"], **outputs}, x)
    assert np.isfinite(other).all()
    np.testing.assert_allclose(other, one, atol=2e-2)


# Constants


def test_a_constant_beyond_the_type_stays():
    model = network(lambda net, x: net.op("Div", x, net.constant(F(1e5)), name="div"))
    assert codes(model, {}) == {"div": "CONSTANT_OVERFLOW"}
    assert codes(model, {}, FloatType.BF16) == {}


@pytest.mark.parametrize(("number", "stays"), [(1e-7, True), (1e-6, True), (2.0**-15, False), (1e-3, False)])
def test_a_factor_that_the_type_holds_coarsely_stays(number: float, stays: bool):
    def build(net: Network, x: str) -> str:
        return net.op("Mul", net.op("Mul", x, net.constant(F(number)), name="down"), net.constant(F(2)), name="up")

    model = network(build, opset=17)
    found = codes(model, {})
    assert (found.get("down") == "CONSTANT_VANISHES") is stays
    assert codes(model, {}, FloatType.BF16) == {}


def test_weights_that_are_lost_beside_others_do_not_matter():
    def layer(weight: np.ndarray) -> dict[str, str]:
        return codes(network(lambda net, x: net.op("MatMul", x, net.constant(weight), name="layer")), {})

    weight = np.random.default_rng(0).standard_normal((16, 16)).astype(F)
    dead = weight * F(1)
    dead[:, 3] = 1e-9
    assert layer(weight) == layer(dead) == {}
    assert layer(weight * F(1e-7)) == {"layer": "CONSTANT_VANISHES"}


def test_the_end_of_a_clip_is_clamped():
    lowest = np.finfo(F).min
    model = network(lambda net, x: net.op("Clip", x, net.constant(F(0)), net.constant(F(-lowest), "end"), name="clip"))
    plan = plan_of(model, SMALL)
    assert (plan.kept, plan.clamped) == ((), ("end",))
    one, other = ran(model, SMALL, rows(-4, 4))
    np.testing.assert_allclose(other, one, rtol=2e-3)


def attention(lowest: float, op_type: str, causal: bool = True) -> ir.Model:
    """Scores, a mask as exporters write it, and a Softmax."""
    hidden = np.triu(np.ones((8, 8), bool), 1) if causal else np.ones((8, 8), bool)

    def build(net: Network, x: str) -> str:
        scores = net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1]), name="scores")
        if op_type == "Where":
            number = net.constant(F(lowest), "number")
            masked = net.op("Where", net.constant(hidden), number, scores, name="masked")
        else:
            masked = net.op("Add", scores, net.constant(np.where(hidden, F(lowest), F(0)), "number"), name="masked")
        return net.op("MatMul", net.op("Softmax", masked, name="softmax", axis=-1), x)

    return network(build)


@pytest.mark.parametrize("op_type", ["Where", "Add"])
@pytest.mark.parametrize("lowest", [np.finfo(F).min, -1e9, -65504.0])
def test_a_mask_is_clamped_and_the_softmax_does_not_notice(op_type: str, lowest: float):
    model = attention(lowest, op_type)
    known = {**SMALL, "first": SMALL["x"], "scores": Extremes(-60, 60), "masked": Extremes(float(lowest), 60)}
    plan = plan_of(model, known)
    assert (plan.kept, plan.clamped) == ((), ("number",))
    one, other = ran(model, known, rows(-4, 4))
    np.testing.assert_allclose(other, one, rtol=1e-2, atol=1e-2)


def test_the_softmax_of_a_clamped_mask_is_the_softmax_of_the_mask():
    scores = np.random.default_rng(1).uniform(-60, 60, (8, 8))
    hidden = np.triu(np.ones((8, 8), bool), 1)

    def softmax(lowest: float) -> np.ndarray:
        masked = (scores + np.where(hidden, lowest, 0)).astype(F)
        powers = np.exp(masked - masked.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    np.testing.assert_array_equal(softmax(-65504 / 4), softmax(float(np.finfo(F).min)))


def test_a_row_that_is_hidden_whole_makes_no_nan():
    model = attention(float(np.finfo(F).min), "Add", causal=False)
    _, other = ran(model, {**SMALL, "first": SMALL["x"], "scores": Extremes(-60, 60)}, rows(-4, 4))
    assert np.isfinite(other).all()


def test_minus_infinity_stays_what_it_is():
    model = attention(-np.inf, "Where")
    plan = plan_of(model, {**SMALL, "first": SMALL["x"], "scores": Extremes(-60, 60)})
    assert plan.kept == ()
    result = converted(model, plan).model
    assert result.graph.initializers["number"].const_value.numpy().item() == -np.inf


def test_a_large_negative_number_that_something_else_reads_stays():
    def build(net: Network, x: str) -> str:
        return net.op("Tanh", net.op("Add", x, net.constant(F(-1e9), "number"), name="add"), name="tanh")

    plan = plan_of(network(build), SMALL)
    assert plan.clamped == ()
    assert {kept.node: kept.code for kept in plan.kept}["add"] == "CONSTANT_OVERFLOW"


# Guards


def layer_norm(epsilon: float, square: str = "Pow") -> ir.Model:
    def build(net: Network, x: str) -> str:
        centred = net.op("Sub", x, net.op("ReduceMean", x, name="mean", axes=[-1]), name="centred")
        both = (centred, net.constant(F(2))) if square == "Pow" else (centred, centred)
        variance = net.op("ReduceMean", net.op(square, *both, name="squares"), name="variance", axes=[-1])
        guarded = net.op("Add", variance, net.constant(F(epsilon)), name="guarded")
        return net.op("Div", centred, net.op("Sqrt", guarded, name="root"), name="divided")

    return network(build)


ISLAND = {"squares", "variance", "guarded", "root", "divided"}


@pytest.mark.parametrize("square", ["Pow", "Mul"])
def test_a_layer_norm_whose_epsilon_vanishes_is_an_island(square: str):
    found = codes(layer_norm(1e-12, square), {"first": Extremes(-4, 4)})
    assert set(found) == ISLAND
    assert set(found.values()) == {"GUARD"}


def test_a_layer_norm_whose_epsilon_survives_is_fp16():
    assert codes(layer_norm(1e-5), {"first": Extremes(-4, 4)}) == {}
    assert codes(layer_norm(1e-12), {"first": Extremes(-4, 4)}, FloatType.BF16) == {}
    seen = {"first": Extremes(-4, 4), "variance": Extremes(0.3, 4.0)}
    assert codes(layer_norm(1e-6), seen) == {}, "the type holds it coarsely, and it is nothing beside the variance"


@pytest.mark.parametrize("epsilon", [1e-12, 1e-7, 1e-5])
@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0])
def test_layer_norms_of_small_rows_are_right(epsilon: float, size: float):
    x = rows(-4, 4)
    x[0, :3] *= F(size)
    x = x.astype(np.float16).astype(F)  # what rows lose before they are normalized is not meant
    one, other = ran(layer_norm(epsilon), {"first": Extremes(-4, 4)}, x)
    np.testing.assert_allclose(other, one, atol=3e-2)


def test_a_layer_norm_whose_squares_overflow_is_an_island():
    known = {"first": Extremes(-300, 300), "centred": Extremes(-400, 400), "variance": Extremes(1e3, 5e4)}
    found = codes(layer_norm(1e-5), known)
    assert {"squares", "variance", "guarded", "root"} <= set(found)
    x = rows(-300, 300)
    one, other = ran(layer_norm(1e-5), known, x)
    np.testing.assert_allclose(other, one, atol=1e-2)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5])
def test_a_layer_norm_in_one_operator_is_fp16_and_right(epsilon: float):
    def build(net: Network, x: str) -> str:
        scale, bias = net.constant(np.ones(16, F)), net.constant(np.zeros(16, F))
        return net.op("LayerNormalization", x, scale, bias, name="norm", epsilon=epsilon)

    model = network(build)
    assert codes(model) == {}
    x = rows(-4, 4)
    x[0, :3] = 0.5
    one, other = ran(model, SMALL, x.astype(np.float16).astype(F))
    np.testing.assert_allclose(other, one, atol=1e-2)


def test_a_vector_divided_by_its_norm_keeps_its_guard():
    def build(net: Network, x: str) -> str:
        norm = net.op("ReduceL2", x, name="norm", axes=[-1])
        least = net.op("Clip", norm, net.constant(F(1e-12)), name="least")
        wide = net.op("Expand", least, net.constant(np.array([1, 8, 16])), name="wide")
        return net.op("Div", x, wide, name="divided")

    model = network(build)
    assert set(codes(model, {"first": Extremes(-4, 4)})) == {"norm", "least", "wide", "divided"}
    x = rows(-4, 4)
    x[0, :2] = 0
    one, other = ran(model, {"first": Extremes(-4, 4)}, x)
    np.testing.assert_allclose(other, one, atol=1e-2)


def test_a_small_number_that_nothing_divides_by_is_no_guard():
    assert codes(network(lambda net, x: net.op("Add", x, net.constant(F(1e-12))))) == {}


def test_small_divisors_stay():
    model = network(lambda net, x: net.op("Div", x, net.op("Sigmoid", x, name="gate"), name="div"))
    assert codes(model, {**SMALL, "gate": Extremes(1e-6, 1)}) == {"gate": "SMALL_DIVISOR", "div": "SMALL_DIVISOR"}
    assert codes(model, {**SMALL, "gate": Extremes(1e-3, 1)}) == {}


# Sums


@pytest.mark.parametrize(("float_type", "most"), [(FloatType.FP16, 2048), (FloatType.BF16, 256)])
@pytest.mark.parametrize("more", [0, 1])
def test_long_sums_stay(float_type: FloatType, most: int, more: int):
    net = Network()
    x = net.op("Relu", net.input("x", (1, 8, most + more)))
    model = prepare(net.model(net.op("ReduceMean", x, name="mean", axes=[-1]))).model
    found = codes(model, {"x": Extremes(-1, 1)}, float_type)
    assert (found.get("mean") == "LONG_SUM") is bool(more)


def test_sums_on_the_way_to_a_mean_may_overflow():
    net = Network()
    first = net.conv(net.input("x", (1, 4, 40, 40)), 4, scale=None, name="first")
    mean = net.op("GlobalAveragePool", net.op("Relu", first, name="relu"), name="mean")
    model = prepare(net.model(net.conv(mean, 4, kernel=1, scale=None))).model
    assert codes(model, {"first": Extremes(-90, 90)})["mean"] == "INNER_OVERFLOW"
    assert codes(model, {"first": Extremes(-30, 30)}) == {}
    assert codes(model, {"first": Extremes(-90, 90), "mean": Extremes(0, 9)}) == {}


@pytest.mark.parametrize(("amax", "code"), [(300, "INNER_OVERFLOW"), (1e-4, "VANISHES"), (10, None)])
def test_norms_are_judged_by_their_squares(amax: float, code: str | None):
    model = network(lambda net, x: net.op("Div", x, net.op("ReduceL2", x, name="norm", axes=[-1]), name="div"))
    assert codes(model, {"first": Extremes(-amax, amax)}).get("norm") == code


@pytest.mark.parametrize(("span", "stays"), [(4.0, False), (20.0, True)])
def test_the_logarithm_of_a_softmax_stays_where_shares_vanish(span: float, stays: bool):
    model = network(lambda net, x: net.op("LogSoftmax", x, name="log", axis=-1))
    found = codes(model, {"first": Extremes(-span / 2, span / 2)})
    assert (found.get("log") == "INNER_OVERFLOW") is stays
    assert codes(model, {}).get("log") == "INNER_OVERFLOW"


def test_powers_of_e_are_summed_in_range():
    model = network(lambda net, x: net.op("Sub", x, net.op("ReduceLogSumExp", x, name="sum", axes=[-1]), name="sub"))
    assert codes(model, {"first": Extremes(-9, 5)}) == {}
    assert codes(model, {"first": Extremes(-9, 12)}).get("sum") == "INNER_OVERFLOW"


# Integers and scales


def test_positions_beyond_what_the_type_counts_stay():
    def build(net: Network, x: str) -> str:
        place = net.op("Floor", net.op("Mul", x, net.constant(F(1000)), name="scaled"), name="place")
        index = net.op("Cast", place, name="index", to=TensorProto.INT64)
        return net.op("Cast", index, name="back", to=TensorProto.FLOAT)

    found = codes(network(build), {**SMALL, "first": SMALL["x"]})
    assert {"scaled": "TO_INTEGER", "place": "TO_INTEGER", "index": "TO_INTEGER"}.items() <= found.items()
    assert (
        codes(network(build), {"first": Extremes(-1, 1), "scaled": Extremes(-1e3, 1e3), "back": Extremes(-1e3, 1e3)})
        == {}
    )


def pair_of(scale: float) -> ir.Model:
    net = Network(opset=19)
    x = net.op("MatMul", net.input("x", (1, 4, 8, 8)), net.constant(np.eye(8, dtype=F)), name="first")
    return prepare(net.model(net.op("MatMul", net.pair(x, scale), net.constant(np.eye(8, dtype=F)), name="last"))).model


def test_pairs_whose_scale_the_type_loses_stay():
    assert codes(pair_of(1e-3), {}) == {}
    assert set(codes(pair_of(1e-6), {}).values()) == {"SCALE"}
    plan = make_float_plan(pair_of(1e-6), FloatType.FP16, {}, ScaleType.FP32)
    assert plan.kept == ()
    for scale in (1e-3, 1e-6):
        one, other = ran(pair_of(scale), {}, np.linspace(0, 100 * scale, 256, dtype=F).reshape(1, 4, 8, 8))
        np.testing.assert_allclose(other, one, atol=1.01 * scale)


def test_computed_scales_stay():
    net = Network(opset=19)
    x = net.op("Relu", net.input("x", (1, 8)), name="relu")
    net._nodes.append(helper.make_node("DynamicQuantizeLinear", [x], ["q", "s", "z"], name="dynamic"))
    model = prepare(net.model(net.op("DequantizeLinear", "q", "s", "z", name="back"))).model
    assert codes(model)["dynamic"] == "NO_TYPE"
    assert codes(model)["back"] == "COMPUTED_SCALE"
    proto_of(converted(model, plan_of(model, {})).model)


def test_the_steps_of_nvfp4_stay_and_what_quantizes_takes_the_type():
    found = codes(prepare(ir.from_proto(nvfp4(FP32))).model)
    halves = ("x_codes", "x_blocks", "w", "w_blocks")
    assert found == {f"{name}_DequantizeLinear": "BLOCK_SCALES" for name in halves}
    assert codes(prepare(ir.from_proto(mxfp8(FP32))).model) == {}


# The plan


def test_a_model_of_another_type_is_refused():
    net = Network()
    x = net.input("x", (1, 4), TensorProto.FLOAT16)
    model = net.model(net.op("Relu", x), output_types={})
    with pytest.raises(ModelError, match="'x' is FP16 already"):
        plan_of(model, {})


def test_every_reason_is_tested_here():
    text = Path(__file__).read_text(encoding="utf-8")
    assert [code for code in REASONS if f'"{code}"' not in text] == []


def test_the_page_names_every_reason():
    page = (REPOSITORY / "docs" / "float-types.md").read_text(encoding="utf-8")
    assert [code for code in REASONS if f"`{code}`" not in page] == []


def test_reasons_are_sentences():
    for kept in plan_of(layer_norm(1e-12), {"first": Extremes(-4, 4)}).kept:
        assert kept.reason.startswith(REASONS[kept.code])
        assert kept.reason.endswith("the guard of 'guarded' adds 1e-12")
