"""Folding: constants are computed once, batch norms move into convolutions, and the model computes the same."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from calibrators.qparams import quantize, symmetric_qparams, weight_amax
from qdq_cli.preparing import fold
from qdq_cli.preparing.batch_norm import fold_batch_norms
from qdq_cli.preparing.fold import fold_constants
from qdq_cli.preparing.prepare import infer_shapes, name_everything, prepare
from qdq_cli.process.errors import ModelError
from tests.networks import Network, run

F = np.float32
RNG = np.random.default_rng(3)


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def constant(model: ir.Model, name: str) -> np.ndarray:
    return model.graph.initializers[name].const_value.numpy()


# Constants


def constants_model(body: str, output: str = "float[A,B] y", opset: int = 17, **constants: object) -> ir.Model:
    proto = parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\nn (float[2,3] x) => ({output}) {{ {body} }}'
    )
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items())
    model = ir.serde.deserialize_model(proto)
    name_everything(model)
    infer_shapes(model)
    return model


W = RNG.standard_normal((4, 3)).astype(F)


@pytest.mark.parametrize(
    ("body", "weight"),
    [
        ("t = Transpose <perm = [1, 0]> (w)\ny = MatMul(x, t)", W.T),
        ("t = Reshape(w, s)\ny = MatMul(x, t)", W.reshape(3, 4)),
        ("u = Neg(w)\nv = Mul(u, k)\nt = Transpose <perm = [1, 0]> (v)\ny = MatMul(x, t)", -2 * W.T),
        (
            "q = ReduceL2 <axes = [1]> (w)\nr = Div(k, q)\nv = Mul(w, r)\nt = Transpose(v)\ny = MatMul(x, t)",
            (W * 2 / np.linalg.norm(W, axis=1, keepdims=True)).T,  # weight_norm
        ),
    ],
)
def test_weights_that_are_computed_become_initializers(body, weight):
    """A22."""
    model = constants_model(body, w=W, s=np.array([3, 4]), k=F(2))
    nodes = len(op_types(model))
    expected = run(model, {"x": np.ones((2, 3), F)})[0]
    assert fold_constants(model) == nodes - 1
    assert op_types(model) == ["MatMul"]
    assert list(model.graph.initializers) == ["t"]
    np.testing.assert_allclose(constant(model, "t"), weight, rtol=1e-6)
    np.testing.assert_allclose(run(model, {"x": np.ones((2, 3), F)})[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("q = QuantizeLinear(w, s, z)\nd = DequantizeLinear(q, s, z)\ny = Add(x, d)", 3),
        ("d = DequantizeLinear(i, s, z)\nt = Identity(d)\ny = Add(x, t)", 3),
        ("r = RandomNormalLike(w)\ny = Add(x, r)", 2),
        ("r = RandomUniform <shape = [1]> ()\ny = Add(x, r)", 2),
        ("b = Bernoulli(h)\ny = Add(x, b)", 2),
        ("e = Expand(o, n)\nr = ReduceMax <keepdims = 0> (e)\ny = Add(x, r)", 3),
        ("e = ConstantOfShape(n)\nr = ReduceMax <keepdims = 0> (e)\ny = Add(x, r)", 3),
        ("e = Tile(o, m)\nr = ReduceMax <keepdims = 0> (e)\ny = Add(x, r)", 3),
        ("r = Range(p, l, p)\na = Cast <to = 1> (r)\nb = ReduceMax <keepdims = 0> (a)\ny = Add(x, b)", 4),
        ("b = If (c) <then_branch = g () => (float[1] s1) { s1 = Neg(o) }, else_branch = e () => (float[1] s2)"
         " { s2 = Abs(o) }>\ny = Add(x, b)", 2),
    ],
)  # fmt: skip
def test_quantized_weights_random_numbers_bodies_and_what_would_grow_stay(body, left):
    large = 1 << 17
    model = constants_model(
        body, w=np.ones(3, F), s=F(0.5), z=np.int8(0), i=np.int8([1, 2, 3]), h=np.full(3, 0.5, F), o=np.ones(1, F),
        n=np.array([large]), m=np.array([large]), p=np.array(1), l=np.array(large), c=np.array(True),
    )  # fmt: skip
    assert fold_constants(model) == 0
    assert len(op_types(model)) == left


@pytest.mark.parametrize(
    "body",
    [
        "e = Expand(o, n)\ny = Add(x, e)",
        "e = Tile(o, n)\nf = Expand(e, n)\ny = Add(x, f)",
        "e = Pad(w, p)\nf = Slice(e, a, n)\ny = Add(x, f)",
    ],
)
def test_small_expansions_are_folded(body):
    model = constants_model(
        body, o=np.ones(1, F), n=np.array([3]), w=np.ones(3, F), p=np.array([0, 1]), a=np.array([0])
    )
    expected = run(model, {"x": np.ones((2, 3), F)})[0]
    assert fold_constants(model) == len(body.split("\n")) - 1
    assert op_types(model) == ["Add"]
    np.testing.assert_array_equal(run(model, {"x": np.ones((2, 3), F)})[0], expected)


@pytest.mark.parametrize(
    "body",
    [
        "e = Expand(o, n)\ny = MatMul(x, e)",
        "e = ConstantOfShape(n)\nt = Transpose(e)\ny = MatMul(x, t)",
        "e = Expand(o, n)\nt = Mul(e, o)\nb = Expand(o, c)\ny = Gemm(x, t, b)",
    ],
)
def test_weights_are_folded_whatever_they_grow_from(body):
    """65,536 elements are the limit of all others."""
    sizes = np.array([3, 1 << 15])
    sizes = sizes[::-1] if "Transpose" in body else sizes
    model = constants_model(body, o=np.ones(1, F), n=np.ascontiguousarray(sizes), c=np.array([1 << 15]))
    fold_constants(model)
    assert len(op_types(model)) == 1


def test_what_is_no_larger_than_its_operands_is_folded_at_any_size(monkeypatch):
    monkeypatch.setattr(fold, "MAX_FOLDED_ELEMENTS", 100)
    large = np.ones((20, 3), F)
    model = constants_model("t = Transpose <perm = [1, 0]> (w)\ny = MatMul(x, t)", w=large)
    assert fold_constants(model) == 1
    grown = constants_model("t = MatMul(a, b)\ny = MatMul(x, t)", a=np.ones((3, 1), F), b=np.ones((1, 40), F))
    assert fold_constants(grown) == 0


def test_an_expansion_no_larger_than_what_it_reads_is_folded_at_any_size():
    large = np.ones((1, 1 << 17), F)
    model = constants_model(
        "e = Pad(w, p)\nt = ReduceMax <keepdims = 0> (e)\ny = Add(x, t)", w=large, p=np.zeros(4, int)
    )
    assert fold_constants(model) == 2


def test_a_graph_output_keeps_its_node_and_the_rest_is_folded():
    model = constants_model("a = Neg(w)\nb = Abs(a)\ny = Add(x, a)", "float[2,3] y, float[3] b", w=F([1, 2, 3]))
    assert fold_constants(model) == 1
    assert op_types(model) == ["Abs", "Add"]
    assert [value.name for value in model.graph.outputs] == ["y", "b"]
    np.testing.assert_array_equal(run(model, {"x": np.zeros((2, 3), F)})[1], [1, 2, 3])


def test_an_input_with_an_initializer_is_no_constant():
    model = constants_model("a = Neg(w)\ny = Add(x, a)", w=F([1, 2, 3]))
    model.graph.inputs.append(model.graph.initializers["w"])
    assert fold_constants(model) == 0


def test_constants_that_only_a_body_reads_are_folded_for_it():
    model = constants_model(
        "a = Neg(w)\ny = If (c) <then_branch = t () => (float[3] o) { o = Abs(a) }, else_branch = e () => (float[3] p)"
        " { p = Exp(a) }>", "float[3] y", w=F([1, 2, 3]), c=np.array(True),
    )  # fmt: skip
    assert fold_constants(model) == 1
    np.testing.assert_array_equal(run(model)[0], [1, 2, 3])


@pytest.mark.parametrize("dtype", ["FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT64", "BOOL"])
def test_element_types_survive_folding(dtype):
    kind = ir.DataType[dtype]
    array = np.array([[0, 1, 1], [1, 0, 0]]).astype(kind.numpy())
    net = Network(19)
    net.input("x", (2, 3))
    net._initializers["w"] = ir.to_proto(ir.Tensor(array, dtype=kind, name="w"))
    net.op("Cast", net.op("Transpose", "w", perm=[1, 0], name="t"), to=TensorProto.FLOAT, name="c")
    model = net.model("c", net.relu("x"))  # the Cast is a graph output, so it stays and reads the folded value
    assert fold_constants(model) == 1
    found = model.graph.initializers["t"].const_value
    assert found.dtype == kind
    np.testing.assert_array_equal(found.numpy(), array.T)


def test_what_onnx_runtime_does_not_hand_out_stays_and_the_rest_is_folded():
    """INT4 and strings cannot be taken out, an unknown operator cannot be run."""
    net = Network(21)
    x = net.input("x", (2, 3))
    for number in range(5):
        x = net.add(x, net.op("Neg", net.constant(np.full(3, number, F))))
    four = helper.make_tensor("four", TensorProto.INT4, (1, 3), [1, 2, 3])
    net._initializers["four"] = four
    int4 = net.op("Cast", net.op("Transpose", "four", perm=[1, 0], name="int4"), to=TensorProto.FLOAT)
    eight = net.op("Cast", net.constant(F([1, 2, 3])), to=TensorProto.FLOAT8E4M3FN, name="eight")
    model = net.model(net.add(x, net.op("Transpose", int4)), eight, output_types={"eight": TensorProto.FLOAT8E4M3FN})
    expected = run(model, {"x": np.ones((2, 3), F)})[0]
    assert fold_constants(model) == 8
    assert "Neg" not in op_types(model)
    np.testing.assert_array_equal(run(model, {"x": np.ones((2, 3), F)})[0], expected)


def test_one_constant_that_cannot_be_computed_does_not_keep_the_others(monkeypatch):
    nodes = "\n".join(f"n{number} = Neg(w)" for number in range(6))
    model = constants_model(f"{nodes}\na = Sum(x, n0, n1, n2, n3, n4, n5)\ny = Identity(a)", w=F([1, 2, 3]))
    real, asked = fold._run, []

    def run_part(part, names):
        asked.append(tuple(names))
        if "n3" in names:
            raise ModelError("no")
        return real(part, names)

    monkeypatch.setattr(fold, "_run", run_part)
    assert fold_constants(model) == 5
    assert op_types(model) == ["Neg", "Sum", "Identity"]
    assert len(asked) < 8


def test_onnx_runtime_failing_altogether_folds_nothing(monkeypatch):
    def fail(*_):
        raise ModelError("no")

    monkeypatch.setattr("qdq_cli.running.session.make_session", fail)
    model = constants_model("a = Neg(w)\nb = Abs(w)\nc = Mul(a, b)\nd = Add(x, c)\ny = Add(d, b)", w=F([1, 2, 3]))
    before = op_types(model)
    assert fold_constants(model) == 0
    assert op_types(model) == before


def test_external_weights_are_folded_too(tmp_path):
    net = Network()
    weight = net.weight(48, 64)
    x = net.input("x", (2, 64))
    proto = net.proto(net.op("MatMul", x, net.op("Transpose", net.constant(weight, "w"), name="t")))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.data")
    model = ir.load(tmp_path / "m.onnx")
    assert fold_constants(model) == 1
    np.testing.assert_array_equal(constant(model, "t"), weight.T)


# Batch normalization


def convolution(
    rank: int = 2,
    *,
    group: int = 1,
    transposed: bool = False,
    bias: bool = True,
    opset: int = 17,
    dtype: type = F,
    **norm,
) -> Network:
    """x -> conv -> bn; 6 input and, for each group, as many output channels as make 12."""
    net = Network(opset)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = net.input("x", (2, 6, *[5] * rank), kind)
    outs = 12 // group if transposed else 12
    shape = (6, outs, *[3] * rank) if transposed else (12, 6 // group, *[3] * rank)
    operands = [x, net.constant(net.weight(*shape).astype(dtype), "w")]
    operands += [net.constant(net.weight(12).astype(dtype), "b")] if bias else []
    net.op("ConvTranspose" if transposed else "Conv", *operands, name="conv", group=group)
    add_norm(net, "conv", dtype=dtype, **norm)
    return net


def add_norm(net: Network, x: str, name: str = "bn", channels: int = 12, dtype: type = F, **attributes: object) -> str:
    gamma, beta, mean = (net.weight(channels).astype(dtype) for _ in range(3))
    variance = np.linspace(0.25, 3, channels).astype(dtype)
    operands = [net.constant(array, f"{name}_{role}") for role, array in
                (("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance))]  # fmt: skip
    return net.op("BatchNormalization", x, *operands, name=name, **attributes)


def assert_folds(model: ir.Model, count: int = 1, *, rtol: float = 1e-4) -> None:
    name_everything(model)
    expected = run(model)
    assert fold_batch_norms(model) == count
    for one, other in zip(expected, run(model), strict=True):
        np.testing.assert_allclose(other, one, rtol=rtol, atol=rtol * np.abs(one).max())


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_convolutions_of_every_rank_take_the_norm_in(rank, transposed, bias):
    """T03, P3, P4."""
    model = convolution(rank, transposed=transposed, bias=bias, epsilon=0.01).model("bn")
    assert_folds(model)
    assert op_types(model) == ["ConvTranspose" if transposed else "Conv"]
    assert [value.name for value in model.graph.outputs] == ["bn"]
    assert set(model.graph.initializers) == {"w", "b" if bias else "conv_bias"}


@pytest.mark.parametrize("group", [1, 2, 3, 6])
@pytest.mark.parametrize("transposed", [False, True])
def test_grouped_and_depthwise_convolutions_too(group, transposed):
    assert_folds(convolution(group=group, transposed=transposed).model("bn"))


def test_norms_in_a_row_all_go():
    net = convolution()
    add_norm(net, add_norm(net, "bn", "second"), "third")
    model = net.model("third")
    assert_folds(model, 3)
    assert op_types(model) == ["Conv"]


def test_shared_weights_are_folded_into_copies():
    net = Network()
    x = net.input("x", (1, 12, 4, 4))
    net.constant(net.weight(12, 12, 1, 1), "w")
    net.constant(net.weight(12), "b")
    for name in ("one", "two"):
        add_norm(net, net.op("Conv", x, "w", "b", name=name), f"{name}_bn")
    third = net.op("Conv", x, "w", "b", name="three")
    model = net.model(net.add(net.add("one_bn", "two_bn"), third))
    shared = constant(model, "w").copy()
    assert_folds(model, 2)
    assert set(model.graph.initializers) == {"w", "b", "one_weight", "one_bias", "two_weight", "two_bias"}
    np.testing.assert_array_equal(constant(model, "w"), shared)


def test_new_names_are_free():
    net = convolution(bias=False)
    net.op("Add", "bn", net.constant(np.ones(1, F), "conv_bias"), name="conv_bias_1")
    model = net.model("conv_bias_1")
    assert_folds(model)
    assert set(model.graph.initializers) == {"w", "conv_bias", "conv_bias_2"}


@pytest.mark.parametrize("case", ["read elsewhere", "graph output", "weight computed", "norm computed", "not followed"])
def test_what_is_not_a_plain_pair_stays(case):
    net = convolution()
    outputs = ["bn"]
    if case == "read elsewhere":
        outputs.append(net.relu("conv"))
    if case == "graph output":
        outputs.append("conv")
    proto = net.proto(*outputs)
    conv, norm = (next(n for n in proto.graph.node if n.op_type == t) for t in ("Conv", "BatchNormalization"))
    if case in ("weight computed", "norm computed"):
        tensor = next(t for t in proto.graph.initializer if t.name == ("w" if case == "weight computed" else "bn_mean"))
        proto.graph.initializer.remove(tensor)
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    if case == "not followed":
        norm.input[0] = "relu"
        proto.graph.node.insert(1, helper.make_node("Relu", [conv.output[0]], ["relu"]))
    model = ir.serde.deserialize_model(proto)
    assert fold_batch_norms(model) == 0
    assert op_types(model)[-1] in ("BatchNormalization", "Relu")


@pytest.mark.parametrize(
    ("opset", "outputs", "attributes"),
    [(17, 1, {"training_mode": 1}), (17, 3, {"training_mode": 1}), (13, 5, {}), (9, 5, {}), (13, 2, {})],
)
def test_norms_in_training_mode_stay(opset, outputs, attributes):
    proto = convolution(opset=opset, **attributes).proto("bn")
    proto.graph.node[1].output.extend(f"more_{number}" for number in range(1, outputs))
    model = ir.serde.deserialize_model(proto)
    assert fold_batch_norms(model) == 0


def test_a_norm_in_a_body_stays_there():
    """The body may not run; its norm belongs to another graph."""
    net = Network()
    net.input("x", (1, 2, 4, 4))
    net.op("Conv", "x", net.constant(net.weight(2, 2, 1, 1)), name="conv")
    parameters = [net.constant(np.ones(2, F)) for _ in range(4)]

    def body(*nodes: onnx.NodeProto) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, (1, 2, 4, 4))
        return helper.make_graph(nodes, "body", [], [output])

    then = body(helper.make_node("BatchNormalization", ["conv", *parameters], ["t"]))
    other = body(helper.make_node("Neg", ["x"], ["e"]))
    net.op("If", net.constant(np.array(True)), name="y", then_branch=then, else_branch=other)
    assert_folds(net.model("y"), 0)


def test_a_pair_in_a_body_is_folded_there():
    """Both branches have one, with a weight in common: each gets its own."""
    rng = np.random.default_rng(0)
    net = Network()
    x, flag = net.input("x", (1, 12, 6, 6)), net.input("flag", (), TensorProto.BOOL)
    net.constant(rng.normal(size=(12, 12, 3, 3)).astype(F), "w")
    branches = {}
    for name in ("then_branch", "else_branch"):
        parameters = [net.constant(rng.uniform(0.5, 1.5, 12).astype(F)) for _ in range(4)]
        nodes = [
            helper.make_node("Conv", [x, "w"], [f"{name}_c"], name=f"{name}_c"),
            helper.make_node("BatchNormalization", [f"{name}_c", *parameters], [f"{name}_n"], name=f"{name}_n"),
        ]
        out = helper.make_tensor_value_info(f"{name}_n", TensorProto.FLOAT, (1, 12, 4, 4))
        branches[name] = helper.make_graph(nodes, name, [], [out])
    net.op("If", flag, name="y", **branches)
    before, model = net.model("y"), prepare(net.model("y")).model
    (holder,) = model.graph
    assert [[node.op_type for node in holder.attributes[name].as_graph()] for name in branches] == [["Conv"], ["Conv"]]
    for choice in (True, False):
        feed = {"x": rng.normal(size=(1, 12, 6, 6)).astype(F), "flag": np.array(choice)}
        np.testing.assert_allclose(run(model, feed)[0], run(before, feed)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parameter", ["gamma", "variance"])
def test_a_fold_that_is_not_finite_is_left_out(parameter):
    """FP16 ends at 65,504; a negative variance has no root."""
    model = convolution(dtype=np.float16).model("bn", output_types={"bn": TensorProto.FLOAT16})
    value = model.graph.initializers[f"bn_{parameter}"]
    array = value.const_value.numpy().copy()
    array[0] = 60_000 if parameter == "gamma" else -1
    value.const_value = ir.Tensor(array, name=value.name)
    assert fold_batch_norms(model) == 0
    assert op_types(model) == ["Conv", "BatchNormalization"]


def test_parameters_that_do_not_fit_the_channels_are_left_to_the_runtime():
    model = convolution().model("bn")
    value = model.graph.initializers["bn_mean"]
    value.const_value = ir.Tensor(np.ones(5, F), name="bn_mean")
    assert fold_batch_norms(model) == 0


def test_half_weights_stay_half():
    model = convolution(dtype=np.float16).model("bn", output_types={"bn": TensorProto.FLOAT16})
    expected = convolution(dtype=F).model("bn")
    assert fold_batch_norms(model) == fold_batch_norms(expected) == 1
    for name in ("w", "b"):
        assert constant(model, name).dtype == np.float16
        np.testing.assert_allclose(constant(model, name), constant(expected, name), rtol=2e-3, atol=1e-3)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 6]))
def test_per_channel_integers_are_the_same_before_and_after_folding(seed, group):
    """P3: the channel's factor moves into its scale, and a negative one flips the signs."""
    rng = np.random.default_rng(seed)
    net = Network(seed=seed)
    x = net.input("x", (1, 6, 3, 3))
    weight = rng.standard_normal((6, 6 // group, 1, 1)).astype(F)
    net.op("Conv", x, net.constant(weight, "w"), name="conv", group=group)
    gamma = (rng.choice([-1, 1], 6) * rng.uniform(0.1, 10, 6)).astype(F)
    rest = [net.constant(a.astype(F)) for a in (rng.standard_normal(6), rng.standard_normal(6), rng.uniform(0.1, 4, 6))]
    model = net.model(net.op("BatchNormalization", "conv", net.constant(gamma), *rest))
    assert fold_batch_norms(model) == 1

    def integers(array: np.ndarray) -> np.ndarray:
        return quantize(array, symmetric_qparams(weight_amax(array, 0), axis=0)).astype(int)

    before = integers(weight) * np.sign(gamma).astype(int).reshape(-1, 1, 1, 1)
    # Rounding of the folded FP32 weights may move a value across the middle between two integers, never further.
    assert np.abs(integers(constant(model, "w")) - before).max() <= 1
    scaled = weight / np.abs(weight).max(axis=(1, 2, 3), keepdims=True) * 127
    middles = np.abs(np.abs(scaled - np.trunc(scaled)) - 0.5) < 1e-3
    np.testing.assert_array_equal(integers(constant(model, "w"))[~middles], before[~middles])


def test_a_network_of_many_norms_is_prepared_whole():
    net = Network()
    x = net.input("x", ("batch", 12, 2, 2))
    for number in range(60):
        x = add_norm(net, net.op("Conv", x, net.constant(net.weight(12, 12, 1, 1) / 8)), f"bn{number}")
    done = prepare(net.model(x))
    assert done.folded_norms == 60
    assert op_types(done.model) == ["Conv"] * 60
