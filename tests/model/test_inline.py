"""Local functions: inlined, whatever their shape, and the model computes the same."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from qdq_cli.model.inline import inline_functions
from qdq_cli.process.errors import ModelError

X = np.array([[-2.0, -0.5, 0.0], [0.25, 1.0, 3.0]], np.float32)
SIGMOID = 1 / (1 + np.exp(-X))


def inlined(graph: str, *functions: str, opset: int = 17) -> onnx.ModelProto:
    """Inline the functions of a model written as text; `graph` is what stands behind its name."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}, "local" : 1]>\nnetwork {graph}\n' + "\n".join(functions)
    model = ir.serde.deserialize_model(parser.parse_model(text))
    inline_functions(model)
    assert not model.functions
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert not [node for node in proto.graph.node if node.domain == "local"]
    return proto


def outputs(proto: onnx.ModelProto, **feeds: object) -> list[np.ndarray]:
    """What ONNX's reference computes; ONNX Runtime refuses some of these models before they are inlined."""
    assert [value.name for value in proto.graph.input] == ["x", *feeds]
    return ReferenceEvaluator(proto).run(None, {"x": X, **{name: np.array(value) for name, value in feeds.items()}})


def function(body: str, head: str = "f (a) => (b)", opset: int = 17) -> str:
    return f'<domain: "local", opset_import: ["" : {opset}, "local" : 1]> {head} {{ {body} }}'


def test_calls_in_calls_with_attributes_and_their_defaults():
    proto = inlined(
        "(float[2,3] x) => (float[2,3] y) { y = local.g <k = 0.5> (x) }",
        function("t = local.f <alpha: float = @k> (a)\nb = local.f (t)", "g <k> (a) => (b)"),
        function("b = LeakyRelu <alpha: float = @alpha> (a)", "f <alpha: float = 0.25> (a) => (b)"),
    )
    np.testing.assert_allclose(outputs(proto)[0], np.where(X < 0, X / 8, X))


def test_an_attribute_may_become_a_constant():
    proto = inlined(
        "(float[2,3] x) => (float[2,3] y) { y = local.f <v = 3.0> (x) }",
        function("c = Constant <value_float: float = @v> ()\nb = Mul(a, c)", "f <v> (a) => (b)"),
    )
    np.testing.assert_array_equal(outputs(proto)[0], 3 * X)


@pytest.mark.parametrize("source", ["x", "t"])
def test_a_function_that_hands_its_input_through_renames_nothing_of_the_caller(source):
    proto = inlined(
        f"(float[2,3] x) => (float[2,3] y, float[2,3] z) {{ t = Neg(x)\ny, z = local.f({source}) }}",
        function("b = Relu(a)", "f (a) => (a, b)"),
    )
    expected = X if source == "x" else -X
    found = outputs(proto)
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], np.maximum(expected, 0))


@pytest.mark.parametrize(
    ("call", "expected"),
    [("y = local.f(x)", SIGMOID), (", y = local.f(x)", X * SIGMOID), ("y, , = local.f(x)", SIGMOID)],
)
def test_a_call_may_leave_out_outputs_that_the_function_needs_itself(call, expected):
    proto = inlined(
        f"(float[2,3] x) => (float[2,3] y) {{ {call} }}",
        function("s = Sigmoid(a)\nb = Mul(a, s)\nc = Neg(b)", "f (a) => (s, b, c)"),
    )
    np.testing.assert_allclose(outputs(proto)[0], expected, rtol=1e-6)


def test_a_call_may_leave_out_inputs():
    proto = inlined(
        "(float[2,3] x) => (float[2,3] y) { y = local.f(x) }", function("b = Clip(a, lo, hi)", "f (a, lo, hi) => (b)")
    )
    np.testing.assert_array_equal(outputs(proto)[0], X)


def test_bodies_call_functions_and_functions_hold_bodies():
    proto = inlined(
        "(float[2,3] x, bool c) => (float[2,3] y) { y = If (c) <then_branch = t () => (float[2,3] p)"
        " { p = local.f(c, x) }, else_branch = e () => (float[2,3] q) { q = Neg(x) }> }",
        function(
            "b = If (c) <then_branch = t () => (float[2,3] p) { r = Relu(a)\np = Add(r, a) },"
            " else_branch = e () => (float[2,3] q) { q = Identity(a) }>",
            "f (c, a) => (b)",
        ),
    )
    np.testing.assert_array_equal(outputs(proto, c=True)[0], np.maximum(X, 0) + X)
    np.testing.assert_array_equal(outputs(proto, c=False)[0], -X)


def test_names_of_a_function_never_capture_those_of_its_caller():
    """The caller's `a` and `s` are other values than the `a` and `s` inside the function's loop."""
    proto = inlined(
        "(float[2,3] x, bool k) => (float[2,3] s){ a = Neg(x)\nn = Constant <value_int = 2> ()\ns = local.f(n, k, a) }",
        function(
            "o = Loop (n, k, x) <body = l (int64 i, bool c, float[2,3] a) => (bool co, float[2,3] s)"
            " { co = Identity(c)\ns = Add(a, x) }>",
            "f (n, k, x) => (o)",
        ),
    )
    np.testing.assert_array_equal(outputs(proto, k=True)[0], -3 * X)


@pytest.mark.parametrize(("model_opset", "function_opset"), [(18, 17), (17, 18), (18, 13)])
def test_functions_of_another_opset_are_converted(model_opset, function_opset):
    weights = np.arange(1000, dtype=np.float32)
    text = (
        f'<ir_version: 8, opset_import: ["" : {model_opset}, "local" : 1]>\n'
        "network (float[2,3] x) => (float[2,1] y) { s = ReduceSum(w)\nt = Mul(x, s)\ny = local.f(t) }\n"
        + function("b = ReduceMean <axes = [1]> (a)", opset=function_opset)
    )
    proto = parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model = ir.serde.deserialize_model(proto)
    inline_functions(model)
    found = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": X})[0]
    np.testing.assert_allclose(found, X.mean(axis=1, keepdims=True) * weights.sum(), rtol=1e-6)


def test_unused_functions_are_dropped():
    inlined("(float[2,3] x) => (float[2,3] y) { y = Relu(x) }", function("b = Neg(a)"))


@pytest.mark.parametrize(
    ("graph", "functions", "message"),
    [
        ("y = local.f(x, x)", [function("b = Neg(a)")], "2 inputs but function defines at most 1"),
        ("y, z = local.f(x)", [function("b = Neg(a)")], "must match"),
        (
            "y = local.f(x)",
            [function("c = Constant <value_ints = [1]> ()\nb = ReduceMean <keepdims = 1> (a, c)", opset=18)],
            "another opset than the model, and cannot be converted",
        ),
    ],
)
def test_what_cannot_be_inlined_is_a_sentence(graph, functions, message):
    with pytest.raises(ModelError, match="The model's local functions .*" + message) as caught:
        inlined(f"(float[2,3] x) => (float[2,3] y) {{ {graph} }}", *functions)
    assert caught.value.hint


def nested(depth: int, calls: int) -> str:
    """Functions f0, f1..., each of which calls the one before `calls` times, as text."""
    texts = [function("t = Relu (a) b = Relu (t)", "f0 (a) => (b)")]
    for number in range(1, depth):
        steps = [f"t{step + 1} = local.f{number - 1} (t{step})" for step in range(calls - 1)]
        body = "\n".join([f"t0 = local.f{number - 1} (a)", *steps, f"b = Identity (t{calls - 1})"])
        texts.append(function(body, f"f{number} (a) => (b)"))
    return "\n".join(texts)


def test_functions_that_multiply_are_refused_before_they_are_inlined():
    with pytest.raises(ModelError, match=r"calls of the model's 16 local functions become 163,837 nodes with 0 bytes"):
        inlined("(float[2,3] x) => (float[2,3] y) { y = local.f15 (x) }", nested(16, 2))


def test_constants_that_multiply_are_refused_too(monkeypatch):
    monkeypatch.setattr("qdq_cli.model.inline.MAX_INLINED_BYTES", 100)
    body = "c = Constant <value = float[3] {1, 2, 3}> () b = Add (a, c)"
    graph = "(float[2,3] x) => (float[2,3] y) {\n" + "\n".join(
        f"{'y' if step == 9 else f't{step + 1}'} = local.f ({f't{step}' if step else 'x'})" for step in range(10)
    )
    with pytest.raises(ModelError, match="become 20 nodes with 120 bytes of constants; at most 50,000 and 100 are"):
        inlined(f"{graph}\n}}", function(body))


def test_a_function_that_is_called_very_often_is_inlined_in_linear_time():
    """onnx-ir tries as many names for a value as there are calls before it; ONNX's own inliner serves then."""
    proto = inlined("(float[2,3] x) => (float[2,3] y) { y = local.f9 (x) }", nested(10, 2))
    assert sum(node.op_type == "Relu" for node in proto.graph.node) == 1024
    np.testing.assert_array_equal(outputs(proto)[0], np.maximum(X, 0))


@pytest.mark.parametrize("opset", [17, 18])
def test_recursion_is_refused(opset):
    texts = [function("b = local.g (a)", "f (a) => (b)"), function("b = local.f (a)", "g (a) => (b)")]
    with pytest.raises(ModelError, match=r"local function '[fg]' calls itself"):
        inlined("(float[2,3] x) => (float[2,3] y) { y = local.f (x) }", *texts, opset=opset)
    with pytest.raises(ModelError, match="local function 'f' calls itself"):
        inlined("(float[2,3] x) => (float[2,3] y) { y = local.f (x) }", function("b = local.f (a)"), opset=opset)
