"""Preparation: one spelling for every export, the same function, and an interface that never changes."""

import contextlib

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from qdq_cli.model import files
from qdq_cli.model.opset import HALF_OPSET
from qdq_cli.preparing.prepare import infer_shapes, lift_constants, name_everything, prepare
from qdq_cli.process.errors import ModelError
from tests.networks import Network, run, serialized

F = np.float32
X = np.random.default_rng(2).standard_normal((2, 3)).astype(F)


def text_model(
    body: str, output: str = "float[2,3] y", x: str = "float[2,3] x", head: str = "", **constants
) -> ir.Model:
    """A model of opset 17 from x to y; `constants` become initializers, `head` stands behind the opset imports."""
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17, "local" : 1]{head}>\nnetwork ({x}) => ({output}) {{ {body} }}'
    )
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items())
    return ir.serde.deserialize_model(proto)


def prepared(model: ir.Model) -> ir.Model:
    """Prepare a model; it has to be valid and to compute what it did."""
    feeds = {value.name: X for value in model.graph.inputs if value.name == "x"}
    expected = run(model, feeds) if feeds else None
    proto = ir.to_proto(model)
    result = prepare(model).model
    assert ir.to_proto(prepare(ir.from_proto(proto), proto).model) == ir.to_proto(result), "as from the file"
    if expected is not None:
        for one, other in zip(expected, run(result, {"x": X}), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6)
    return result


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


# Constants


CONSTANTS = [
    ("value_int = 3", 3),
    ("value_ints = [1, 2, 3]", [1, 2, 3]),
    ("value_float = 0.5", F(0.5)),
    ("value_floats = [0.5, 1.0, 2.0]", F([0.5, 1, 2])),
    ("value = float[3] {1.0, 2.0, 3.0}", F([1, 2, 3])),
    ("value = float {4.0}", F(4)),
]


@pytest.mark.parametrize(("attribute", "value"), CONSTANTS)
def test_constants_of_every_kind_become_initializers(attribute, value):
    model = text_model(f"c = Constant <{attribute}> ()\nd = Cast <to = 1> (c)\ny = Add(x, d)")
    lift_constants(model)
    np.testing.assert_array_equal(model.graph.initializers["c"].const_value.numpy(), value)
    assert op_types(model) == ["Cast", "Add"]
    prepared(model)


@pytest.mark.parametrize(
    ("attribute", "shape", "strings"),
    [('value_string = "größe"', (), ["größe"]), ('value_strings = ["a", "", "模型"]', (3,), ["a", "", "模型"])],
)
def test_constant_strings_keep_every_character(attribute, shape, strings):
    model = text_model(f"c = Constant <{attribute}> ()\nn = Size(c)\nm = Cast <to = 1> (n)\ny = Add(x, m)")
    lift_constants(model)
    tensor = model.graph.initializers["c"].const_value
    assert tuple(tensor.shape) == shape
    assert [text.decode() for text in tensor.string_data()] == strings
    prepared(model)


def test_constants_of_bodies_are_lifted_where_they_are():
    body = "<then_branch = a () => (float[2,3] t) {{ c = Constant <value_float = 2.0> ()\nt = Mul(x, c) }}, {}>"
    model = text_model(
        f"y = If (k) {body.format('else_branch = b () => (float[2,3] e) { e = Neg(x) }')}", k=np.array(True)
    )
    lift_constants(model)
    then = model.graph[0].attributes["then_branch"].as_graph()
    assert [node.op_type for node in then] == ["Mul"]
    assert list(then.initializers) == ["c"]
    prepared(model)


def test_a_constant_that_is_a_graph_output_stays_a_node():
    model = prepared(text_model("c = Constant <value_floats = [1.0, 2.0]> ()\ny = Neg(x)", "float[2,3] y, float[2] c"))
    assert op_types(model) == ["Constant", "Neg"]


def test_an_initializer_that_is_a_graph_output_stays_one():
    model = prepared(text_model("y = Mul(x, w)", "float[2,3] y, float[3] w", w=F([1, 2, 3])))
    assert [value.name for value in model.graph.outputs] == ["y", "w"]


@pytest.mark.parametrize("ir_version", [3, 8])
def test_inputs_with_an_initializer_become_constants(ir_version):
    """IR version 3 had to list them, so there is nothing to tell; later versions let the user feed another value."""
    model = text_model("y = Mul(x, w)", x="float[2,3] x, float[3] w", w=F([1, 2, 3]))
    model.ir_version = ir_version
    done = prepare(model)
    assert [value.name for value in done.model.graph.inputs] == ["x"]
    told = "Graph inputs that have an initializer are constants in the result: w."
    assert done.notes == (() if ir_version == 3 else (told,))
    np.testing.assert_allclose(run(done.model, {"x": X})[0], X * F([1, 2, 3]))


def test_unused_initializers_and_nodes_go_shared_ones_stay():
    model = prepared(text_model("a = Mul(x, w)\nb = Sigmoid(x)\ny = Add(a, w)", w=F([1, 2, 3]), unused=F([4])))
    assert list(model.graph.initializers) == ["w"]
    assert op_types(model) == ["Mul", "Add"]


@pytest.mark.parametrize("attribute", ["valu = 2.0", "value_int = 2.5"])
def test_a_malformed_constant_is_a_sentence(attribute):
    with pytest.raises(ModelError, match="A Constant node of the model is malformed: "):
        prepare(text_model(f"c = Constant <{attribute}> ()\ny = Add(x, c)"))


# The interface


@pytest.mark.parametrize(
    ("x", "output"),
    [
        ("float[2,3] x", "float[2,3] y"),
        ("float[batch,3] x", "float[batch,3] y"),
        ("float[batch,3] x", "float[n,m] y"),
        ("float[batch,3] x", "float[?,?] y"),
        ("float[2,3] x", "float[n,3] y"),
        ("float[2,3] x", "float y"),
    ],
)
def test_names_types_and_shapes_of_graph_inputs_and_outputs_never_change(x, output):
    model = text_model("t = Dropout(x)\nu = Reshape(t, s)\ny = Identity(u)", output, x, s=np.array([0, 3]))
    if output == "float y":
        model.graph.outputs[0].shape = None
    before = ir.to_proto(model).graph
    after = ir.to_proto(prepare(model).model).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)


def test_a_model_without_nodes_is_left_as_it_is():
    assert op_types(prepared(text_model("", "float[2,3] x"))) == []


# No-ops


@pytest.mark.parametrize(
    ("body", "output", "left"),
    [
        ("a = Identity(x)\ny = Neg(a)", "float[2,3] y", ["Neg"]),
        ("a = Neg(x)\ny = Identity(a)", "float[2,3] y", ["Neg"]),
        ("a = Identity(x)\nb = Identity(a)\ny = Identity(b)", "float[2,3] y", ["Identity"]),
        ("y = Identity(w)", "float[3] y", ["Identity"]),
        ("a = Identity(w)\ny = Mul(x, a)", "float[2,3] y", ["Mul"]),
        ("a = Neg(x)\ny = Identity(a)\nz = Identity(a)", "float[2,3] y, float[2,3] z", ["Neg", "Identity"]),
        ("a = Neg(x)\nz = Identity(a)", "float[2,3] a, float[2,3] z", ["Neg", "Identity"]),
        ("a = Neg(x)\nb, m = Dropout(a)\ny = Abs(b)", "float[2,3] y", ["Neg", "Abs"]),
        ("a = Neg(x)\nb = Dropout(a, r, f)\ny = Abs(b)", "float[2,3] y", ["Neg", "Abs"]),
        ("a = Neg(x)\ny, m = Dropout(a)", "float[2,3] y, bool[2,3] m", ["Neg", "Dropout"]),
        ("a = Neg(x)\ny, m = Dropout(a)\nn = Not(m)", "float[2,3] y, bool[2,3] n", ["Neg", "Dropout", "Not"]),
    ],
)
def test_identity_and_dropout_go_where_nothing_needs_them(body, output, left):
    """S1."""
    assert op_types(prepared(text_model(body, output, r=F(0.5), f=np.array(False), w=F([1, 2, 3])))) == left


@pytest.mark.parametrize("mode", ["t", "k"])
def test_dropout_that_may_train_stays(mode):
    model = text_model(f"a = Neg(x)\ny = Dropout(a, r, {mode})", x="float[2,3] x, bool k", r=F(0.5), t=np.array(True))
    assert op_types(prepare(model).model) == ["Neg", "Dropout"]


def test_identity_read_by_a_body_goes():
    model = text_model(
        "s = ReduceSum <keepdims = 0> (x)\nk = Greater(s, zero)\n"  # a known condition would take the branch out
        "a = Neg(x)\ni = Identity(a)\ny = If (k) <then_branch = t () => (float[2,3] o) { o = Abs(i) },"
        " else_branch = e () => (float[2,3] p) { p = Exp(i) }>",
        zero=np.array(0, F),
    )
    assert op_types(prepared(model)) == ["ReduceSum", "Greater", "Neg", "If"]


# Names


def test_every_node_gets_a_name_of_its_own_whatever_the_order():
    body = ["a = Neg(x)", "b = Neg(x)", "c = Add(a, b)", "d = Abs(c)"]

    def names(order: list[int], given: dict[str, str]) -> dict[str, str]:
        model = text_model("\n".join(body[number] for number in order), "float[2,3] d")
        for node in model.graph:
            node.name = given.get(node.outputs[0].name, "")
        name_everything(model)
        return {node.outputs[0].name: node.name for node in model.graph}

    given = {"a": "neg", "b": "neg", "c": "neg_b", "d": ""}
    expected = {"a": "neg_a", "b": "neg_b_1", "c": "neg_b", "d": "Abs_d"}
    assert names([0, 1, 2, 3], given) == expected
    assert names([1, 0, 2, 3], given) == expected
    same = dict.fromkeys("ac", "n") | dict.fromkeys("bd", "n_a")
    assert len(set(names([0, 1, 2, 3], same).values())) == 4


# Types and shapes


def test_shapes_are_inferred_scalars_and_symbolic_dimensions_included():
    model = text_model("a = Neg(x)\nb = ReduceSum <keepdims = 0> (a)\ny = Mul(a, b)", "float[n,3] y", "float[n,3] x")
    infer_shapes(model)
    a, b = (model.graph[number].outputs[0] for number in (0, 1))
    assert [str(dim) for dim in a.shape] == ["n", "3"]
    assert (b.shape.rank(), b.dtype) == (0, ir.DataType.FLOAT)


UNCHANGED = [
    ("w = Abs(x)\ny = Neg(w)", "", True),
    ("w = Constant <value_float = 2.0> ()\nz = Mul(x, w)\ny = Neg(z)", "", False),
    ("w = local.f(x)\ny = Neg(w)", '<domain: "local", opset_import: ["" : 17]> f (a) => (b) { b = Abs(a) }', False),
    ("w = ai.onnx.Abs(x)\ny = Neg(w)", "", False),
]


@pytest.mark.parametrize(("body", "function", "as_read"), UNCHANGED)
def test_shapes_are_inferred_on_the_file_where_nothing_was_changed(body, function, as_read, tmp_path, monkeypatch):
    """Whichever way, they are known afterwards, and large weights are not copied on the way."""
    imports = '["" : 17, "local" : 1]'
    proto = parser.parse_model(
        f"<ir_version: 8, opset_import: {imports}>\nnetwork (float[n,3] x) => (float[n,400] out) "
        f"{{ {body}\nout = MatMul(y, large) }}\n{function}"
    )
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((3, 400), F), "large"))
    onnx.save(proto, tmp_path / "model.onnx")
    source = files.load(tmp_path / "model.onnx")
    inferred, again = [], []
    take = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        "onnx.shape_inference.infer_shapes", lambda proto, **options: inferred.append(proto) or take(proto, **options)
    )
    monkeypatch.setattr(
        "qdq_cli.preparing.prepare.infer_shapes", lambda model: again.append(model) or infer_shapes(model)
    )
    model = prepare(source.model, source.proto).model
    assert (len(inferred), len(again)) == (1, 0 if as_read else 1)
    assert inferred[0].ByteSize() < 1000
    assert [[str(dim) for dim in node.outputs[0].shape] for node in model.graph][-2:] == [["n", "3"], ["n", "400"]]


def test_nodes_out_of_order_are_inferred_in_order(tmp_path):
    proto = ir.to_proto(text_model("a = Neg(x)\nb = Abs(a)\ny = Exp(b)"))
    proto.graph.node.reverse()
    onnx.save(proto, tmp_path / "model.onnx")
    source = files.load(tmp_path / "model.onnx")
    assert source.proto is None
    assert all(node.outputs[0].shape is not None for node in prepare(source.model, source.proto).model.graph)


def test_shape_inference_that_fails_leaves_shapes_unknown(monkeypatch):
    def fail(*_, **__):
        raise onnx.shape_inference.InferenceError("no")

    monkeypatch.setattr("onnx.shape_inference.infer_shapes", fail)
    model = prepare(text_model("a = Neg(x)\ny = Abs(a)")).model
    assert model.graph[0].outputs[0].shape is None


def test_wrongly_declared_shapes_do_not_stop_preparation():
    model = text_model("a = Neg(x)\ny = MatMul(a, w)", "float[7,7,7] y", w=np.ones((3, 2), F))
    assert op_types(prepare(model).model) == ["Neg", "MatMul"]


# Element types


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
@pytest.mark.parametrize("opset", [13, 17, 19, 21])
def test_half_models_are_raised_to_the_opset_whose_q_takes_them(dtype, opset):
    """T60, A10."""
    net = Network(opset)
    x = net.input("x", (1, 4), dtype)
    net._initializers["w"] = numpy_helper.from_array(
        np.ones((4, 2)).astype(helper.tensor_dtype_to_np_dtype(dtype)), "w"
    )
    model = net.model(net.relu(net.op("MatMul", x, "w")), output_types={"relu_2": dtype})
    done = prepare(model)
    assert done.half
    assert (done.opset_before, done.opset) == (opset, min(max(opset, HALF_OPSET), 20))
    assert done.model.graph.inputs[0].dtype == ir.DataType(dtype)
    onnx.checker.check_model(ir.to_proto(done.model), full_check=True)


def test_fp16_in_one_operator_is_enough_to_need_that_opset():
    net = Network()
    x = net.input("x", (2, 3))
    half = net.op("Cast", net.gemm(x, 3, 3, scale=None), to=TensorProto.FLOAT16)
    model = net.model(net.op("Cast", net.op("Add", half, half), to=TensorProto.FLOAT))
    done = prepare(model)
    assert (done.half, done.opset) == (True, HALF_OPSET)


def test_fp16_weights_that_are_widened_leave_an_fp32_model():
    net = Network()
    x = net.input("x", (2, 3))
    wide = net.op("Cast", net.constant(np.ones((3, 4), np.float16)), to=TensorProto.FLOAT, name="wide")
    done = prepare(net.model(net.op("MatMul", x, wide)))
    assert (done.half, done.opset, done.folded_constants) == (False, 17, 1)
    assert done.model.graph.initializers["wide"].dtype == ir.DataType.FLOAT


# Whole models


def test_functions_below_opset_13_are_inlined_and_converted():
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 11, "local" : 1]>\nnetwork (float[2,3] x) => (float[2] y)'
        ' { y = local.f(x) }\n<domain: "local", opset_import: ["" : 11]> f (a) => (b)'
        " { c = ReduceMean <axes = [1], keepdims = 1> (a)\nb = Squeeze <axes = [1]> (c) }"
    )
    done = prepare(ir.serde.deserialize_model(proto))
    assert (done.opset_before, done.opset) == (11, 13)
    assert done.model.opset_imports == {"": 13}
    np.testing.assert_allclose(run(done.model, {"x": X})[0], X.mean(axis=1), rtol=1e-5)


def test_sequences_optionals_and_loops_pass():
    prepared(text_model("s = SplitToSequence <axis = 1> (x)\ny = ConcatFromSequence <axis = 1> (s)"))
    prepared(text_model("o = Optional(x)\ny = OptionalGetElement(o)"))
    prepared(
        text_model(
            "y = Loop (n, k, x) <body = b (int64 i, bool c, float[2,3] s) => (bool d, float[2,3] t)"
            " { d = Identity(c)\ng = Identity(s)\nt = Add(g, w) }>",
            n=np.array(3),
            k=np.array(True),
            w=F([1, 2, 3]),
        )
    )


def test_metadata_documentation_and_producer_stay():
    for opset in (11, 17):
        net = Network(opset)
        proto = net.proto(net.relu(net.input("x", (2,)), name="y"))
        proto.producer_name, proto.model_version, proto.doc_string, proto.graph.doc_string = "p", 7, "m", "g"
        proto.metadata_props.add(key="names", value="{0: 'cat'}")
        after = ir.to_proto(prepare(ir.serde.deserialize_model(proto)).model)
        assert (after.producer_name, after.model_version, after.doc_string, after.graph.doc_string) == (
            "p",
            7,
            "m",
            "g",
        )
        assert [(entry.key, entry.value) for entry in after.metadata_props] == [("names", "{0: 'cat'}")]


def test_preparing_twice_changes_nothing_more():
    net = Network(11)
    x = net.input("x", ("batch", 2, 6, 6))
    conv = net.conv(x, 4, scale=None, bias=False)
    parameters = [net.constant(np.linspace(0.5, 2, 4).astype(F)) for _ in range(4)]
    y = net.op("Identity", net.relu(net.op("BatchNormalization", conv, *parameters)))
    done = prepare(net.model(y))
    assert (done.folded_norms, op_types(done.model)) == (1, ["Conv", "Relu"])
    once = ir.to_proto(done.model).SerializeToString(deterministic=True)
    again = prepare(done.model)
    assert (again.folded_norms, again.folded_constants, again.opset_before) == (0, 0, 13)
    assert ir.to_proto(again.model).SerializeToString(deterministic=True) == once


def test_onnx_runtime_loads_what_was_prepared_from_external_data(tmp_path):
    net = Network()
    x = net.input("x", (1, 64))
    proto = net.proto(net.gemm(x, 64, 32, scale=None))
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
    model = prepare(files.load(tmp_path / "m.onnx").model).model
    (tmp_path / "p.onnx").write_bytes(serialized(model))
    session = onnxruntime.InferenceSession(str(tmp_path / "p.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones((1, 64), F)})[0].shape == (1, 32)


def test_damaged_models_are_refused_or_prepared_never_a_traceback(tmp_path):
    net = Network(11)
    x = net.input("x", ("n", 2, 4, 4))
    norm = net.op("BatchNormalization", net.conv(x, 4, scale=None), *[net.constant(np.ones(4, F)) for _ in range(4)])
    shape = net.op("Concat", net.op("Shape", norm), net.constant(np.array([1])), axis=0)
    proto = net.proto(net.op("Softmax", net.op("Reshape", net.op("Dropout", norm), shape), axis=1))
    rng, data, path, done = np.random.default_rng(8), proto.SerializeToString(), tmp_path / "m.onnx", 0
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            serialized(prepare(files.load(path).model).model)
            done += 1
    assert 30 < done < 120  # both happened
