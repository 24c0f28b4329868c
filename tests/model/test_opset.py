"""Raising the opset: models of every opset from 7 on compute the same afterwards, or are refused."""

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from qdq_cli.model.opset import MIN_OPSET, normalize_imports, opset_of, raise_opset
from qdq_cli.model.widened import only_widened
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import ModelError
from tests.networks import run

F = np.float32
X = np.random.default_rng(1).standard_normal((2, 3, 4, 4)).astype(F)
FOUR = "float[A,B,C,D] y"


def parsed(opset: int, body: str, output: str = FOUR, x: str = "float[2,3,4,4] x", **constants: object) -> ir.Model:
    """A model from x to y; `constants` become initializers."""
    proto = parser.parse_model(
        f'<ir_version: 4, opset_import: ["" : {opset}]>\nnetwork ({x}) => ({output}) {{ {body} }}'
    )
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items())
    return ir.serde.deserialize_model(proto)


def computed(model: ir.Model) -> list[np.ndarray]:
    return run(model, {"x": X})


CASES = [
    (7, 'y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 3.0]> (x)', {}),
    (7, 'y = Upsample <mode = "linear", scales = [1.0, 1.0, 2.0, 2.0]> (x)', {}),
    (9, 'y = Upsample <mode = "nearest"> (x, s)', {"s": F([1, 1, 2.5, 1.25])}),
    (9, 'y = Upsample <mode = "linear"> (x, s)', {"s": F([1, 1, 2, 1.5])}),
    (10, 'y = Resize <mode = "nearest"> (x, s)', {"s": F([1, 1, 2, 1.75])}),
    (10, 'y = Resize <mode = "linear"> (x, s)', {"s": F([1, 1, 2, 0.5])}),
    (11, 'y = Resize <mode = "linear"> (x, r, s)', {"r": np.zeros(0, F), "s": F([1, 1, 2, 1.5])}),
    (7, "y = Slice <axes = [1, 3], starts = [0, 1], ends = [2, 9223372036854775807]> (x)", {}),
    (7, "y = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 2], value = 1.5> (x)", {}),
    (7, 'y = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 2], mode = "reflect"> (x)', {}),
    (7, "t = Relu(x)\nd, m = Dropout <ratio = 0.5> (t)\ny = Neg(d)", {}),
    (7, "t = Unsqueeze <axes = [0, 3]> (x)\ny = Squeeze <axes = [0, 3]> (t)", {}),
    *[(opset, "y = Softmax <axis = 1> (x)", {}) for opset in (7, 11, 12)],
    *[(opset, "y = LogSoftmax (x)", {}) for opset in (7, 11, 12)],
    (12, "y = Softmax <axis = -1> (x)", {}),
    (11, "y = Hardmax <axis = 3> (x)", {}),
    (11, "y = Hardmax <axis = -1> (x)", {}),
    *[(opset, "y = BatchNormalization(x, a, a, a, a)", {"a": F([1, 2, 3])}) for opset in (7, 9)],
    (7, "y = BatchNormalization <spatial = 1> (x, a, a, a, a)", {"a": F([1, 2, 3])}),
    (7, "y = Clip <min = -0.5, max = 0.25> (x)", {}),
    (9, "y = Clip <max = 0.25> (x)", {}),
    (7, "y, i = TopK <k = 2, axis = 1> (x)", {}),
    (7, "y, z = Split <axis = 1, split = [1, 2]> (x)", {}),
    (11, "y = ReduceSum <axes = [1, -1]> (x)", {}),
    (7, "r = Reshape(x, s)\nq = Gemm <transB = 1> (r, w, b)\ny = Reshape(q, t)",
     {"s": [6, 16], "w": np.ones((40, 16), F), "b": np.arange(40, dtype=F), "t": [6, 40, 1, 1]}),
    (9, "y = Scatter <axis = 0> (x, i, u)", {"i": np.zeros((1, 1, 1, 2), int), "u": np.ones((1, 1, 1, 2), F)}),
    (10, "y = RoiAlign <output_height = 2, output_width = 2> (x, r, i)", {"r": F([[0, 0, 2, 2]]), "i": [0]}),
    (7, "y = Loop (n, c, x) <body = b (int64 i, bool d, float[2,3,4,4] s) => (bool e, float[2,3,4,4] t)"
     " { e = Identity(d)\nu = Unsqueeze <axes = [0]> (s)\nt = Squeeze <axes = [0]> (u) }>",
     {"n": np.array(2), "c": np.array(True)}),
    (9, 'y = Loop (n, c, x) <body = b (int64 i, bool d, float[2,3,4,4] s) => (bool e, float[2,3,4,4] t) {'
     'e = Identity(d)\nu = Upsample <mode = "linear"> (s, z)\nt = Slice <axes = [2], starts = [0], ends = [4]> (u) }>',
     {"n": np.array(2), "c": np.array(True), "z": F([1, 1, 2, 1])}),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "body", "constants"), CASES, ids=lambda value: str(value)[:40])
def test_a_model_of_an_old_opset_computes_the_same_in_a_newer_one(opset, body, constants):
    """T53: converted to opset 13 or above, or refused."""
    model = parsed(opset, body, **constants)
    expected = computed(model)
    prepared = prepare(model).model
    assert opset_of(prepared) == MIN_OPSET
    assert prepared.ir_version == 7
    for one, other in zip(expected, computed(prepared), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("x", ["float[N,3,4,4] x", "float[N,C,H,W] x"])
def test_softmax_over_several_axes_needs_no_fixed_shape(x):
    model = parsed(11, "y = Softmax <axis = 1> (x)", x=x)
    expected = computed(model)[0]
    np.testing.assert_allclose(computed(prepare(model).model)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("opset", "body", "constants"),
    [
        (13, "y, z = Split <axis = 2> (x)", {}),
        (13, "y = ReduceMax <axes = [1]> (x)", {}),
        (13, "y = ReduceMean(x)", {}),
        (13, "y = RoiAlign <output_height = 2, output_width = 2> (x, r, i)", {"r": F([[0, 0, 2, 2]]), "i": [0]}),
        (16, "y = RoiAlign <output_height = 2, output_width = 2> (x, r, i)", {"r": F([[0, 0, 2, 2]]), "i": [0]}),
        (13, 'y = Resize <mode = "cubic"> (x, , s)', {"s": F([1, 1, 2, 1.75])}),
        (13, "y = BatchNormalization(x, a, a, a, a)", {"a": F([1, 2, 3])}),
        (10, 'y = Resize <mode = "linear"> (x, s)', {"s": F([1, 1, 2, 1.5])}),
    ],
)
def test_half_models_go_to_opset_19_and_keep_their_meaning(opset, body, constants):
    """The conversion is tried on FP32, which ONNX Runtime computes exactly."""
    model = parsed(opset, body, **constants)
    expected = computed(model)
    for one, other in zip(expected, computed(raise_opset(model, 19)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


WIDENED = [
    "a = ReduceMean <axes = [-1]> (x)\nb = ReduceMax <axes = [2]> (a)\ny = Add(x, b)",
    "a = ReduceL2(x)\ny = Div(x, a)",
    "a, b, c = Split <axis = 1> (x)\ny = Mul(a, c)",
    "a, b = Split <axis = 1> (x, s)\ny = Pad(b, p)",
    "a = Shape(x)\nb = Reshape(x, a)\nc = Relu(b)\nd = Equal(a, a)\ny = Where(d, c, x)",
    'a = AveragePool <kernel_shape = [2, 2]> (x)\ny = Resize <mode = "linear"> (a, , r)',
    "a = ReduceSumSquare <axes = [0, 1]> (x)\ny = Cast <to = 1> (a)",
]


@pytest.mark.parametrize("opset", [13, 14, 15, 16, 17, 18])
@pytest.mark.parametrize("body", WIDENED)
def test_what_only_takes_more_in_a_newer_opset_needs_no_converter(opset, body, monkeypatch):
    """The result is what ONNX's converter gives, and computes the same."""
    if opset == 18:
        body = body.replace("Split <axis = 1> (x)\n", "Split <axis = 1, num_outputs = 3> (x)\n")
        if "axes" in body:
            pytest.skip("axes are an operand there")
    constants = {"s": np.array([1, 2]), "p": np.array([0, 0, 1, 0, 0, 0, 0, 1]), "r": F([1, 1, 2, 1.5])}
    model = parsed(opset, body, **{name: array for name, array in constants.items() if f" {name})" in body})
    expected = computed(model)
    reference = onnx.version_converter.convert_version(ir.serde.serialize_model(model), 19)
    monkeypatch.delattr("onnx.version_converter.convert_version")
    raised = raise_opset(model, 19)
    assert opset_of(raised) == 19
    proto = ir.serde.serialize_model(raised)
    onnx.checker.check_model(proto, full_check=True)
    kinds = [node.op_type for node in reference.graph.node if node.op_type != "Constant"]
    assert [node.op_type for node in proto.graph.node] == kinds
    for one, other in zip(expected, computed(raised), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_operators_that_changed_their_meaning_go_through_the_converter():
    """Those of opset 13 of which the schemas or a table tell that."""
    names = sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})
    known = [name for name in names if onnx.defs.has(name, 13, "")]
    changed = [name for name in known if not only_widened(_holding(name), 13, 19)]
    assert changed == ["BatchNormalization", "RoiAlign"]
    assert not only_widened(_holding("Relu"), 12, 19)
    assert not only_widened(_holding("Relu"), 13, 20)


def _holding(op_type: str) -> ir.Model:
    graph = ir.Graph([], [], nodes=[ir.node(op_type, [])], opset_imports={"": 13}, name="network")
    return ir.Model(graph, ir_version=8)


def test_large_weights_take_no_part_in_the_conversion_and_come_back():
    weights = np.arange(2000, dtype=F).reshape(2, 1000)
    model = parsed(11, "r = ReduceMean <axes = [0]> (w)\nm = ReduceMean <axes = [0]> (r)\ny = Mul(x, m)", w=weights)
    tensor = model.graph.initializers["w"].const_value
    raised = raise_opset(model, 13)
    assert raised.graph.initializers["w"].const_value is tensor


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_a_model_that_is_new_enough_is_not_touched(opset):
    model = parsed(opset, "y = Relu(x)")
    assert raise_opset(model, 13) is model
    assert opset_of(model) == opset
    assert model.ir_version == {13: 7, 17: 8, 21: 10}[opset]


def test_a_newer_ir_version_stays():
    model = parsed(13, "y = Relu(x)")
    model.ir_version = 9
    assert raise_opset(model, 13).ir_version == 9


@pytest.mark.parametrize(
    ("opset", "body", "constants", "reason"),
    [
        (11, "y = Hardmax <axis = 1> (x)", {}, "Hardmax of node 'h' means something else there"),
        (11, "y = Hardmax(x)", {}, "Hardmax of node 'h' means something else there"),
        (7, "y = BatchNormalization <spatial = 0> (x, a, a, a, a)", {"a": X[0]}, "Attribute spatial must have value 1"),
        (8, "y = Scan <num_scan_inputs = 1, body = b (float[4] a) => (float[4] c) { c = Neg(a) }> (, x)", {},
         "Scan of node 'h' means something else there"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_refused(opset, body, constants, reason):
    model = parsed(opset, body, **constants)
    model.graph[0].name = "h"
    message = f"The model has opset {opset} and cannot be raised to 13, which Q/DQ nodes need: {reason}."
    with pytest.raises(ModelError) as caught:
        raise_opset(model, 13)
    assert caught.value.message == message
    assert caught.value.hint == "Export it with opset 13 or above."


def test_a_conversion_that_is_not_valid_or_changes_the_interface_is_refused(monkeypatch):
    def broken(proto, _):
        made = onnx.ModelProto.FromString(proto.SerializeToString())
        made.opset_import[0].version = 13
        made.graph.node[0].op_type = "Squeeze"
        return made

    def narrowed(proto, _):
        made = onnx.ModelProto.FromString(proto.SerializeToString())
        made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
        return made

    for convert, reason in ((broken, "No op registered|Squeeze|attribute"), (narrowed, "type or shape of 'y'")):
        monkeypatch.setattr("onnx.version_converter.convert_version", convert)
        with pytest.raises(ModelError, match=f"cannot be raised to 13, which Q/DQ nodes need: .*({reason})"):
            raise_opset(parsed(11, "y = Flatten <axis = 2> (x)", "float[6,16] y"), 13)


def test_operators_of_other_domains_are_passed_on_unchanged():
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 9, "my" : 1]>\n'
        'network (float[2,1] x) => (float[N] y) { z = my.Upsample <mode = "linear"> (x)\ny = Squeeze <axes = [1]> (z) }'
    )
    prepared = prepare(ir.serde.deserialize_model(proto)).model
    custom = prepared.graph[0]
    assert (custom.domain, custom.op_type) == ("my", "Upsample")
    assert list(custom.attributes) == ["mode"]
    assert prepared.opset_imports == {"": 13, "my": 1}


def test_plugins_in_the_default_domain_are_passed_on_unchanged_too():
    model = parsed(11, 'z = BatchedNMS_TRT <plugin_version = "1"> (x)\ny = Squeeze <axes = [0]> (z)', "float[N] y")
    converted = raise_opset(model, 13)
    assert next((node.domain, node.op_type) for node in converted.graph) == ("", "BatchedNMS_TRT")
    assert converted.graph[0].attributes["plugin_version"].as_string() == "1"
    assert len(converted.graph[-1].inputs) == 2  # the axes of Squeeze became an operand
    assert converted.opset_imports == {"": 13}


def test_a_domain_without_an_import_gets_one():
    model = parsed(11, "y = Relu(x)")
    model.graph[0].domain = "onnx.brevitas"
    normalize_imports(model)
    assert model.opset_imports == {"": 11, "onnx.brevitas": 1}


def test_the_long_name_of_the_default_domain_is_understood():
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["ai.onnx" : 11]>\nnetwork (float[2] x) => (float[2] y) { y = ai.onnx.Relu(x) }'
    )
    prepared = prepare(ir.serde.deserialize_model(proto))
    assert (prepared.opset_before, prepared.opset) == (11, 13)
    assert prepared.model.opset_imports == {"": 13}


def test_a_model_without_the_default_domain_needs_none_unless_it_uses_it():
    text = '<ir_version: 8, opset_import: ["ai.onnx.ml" : 3]>\nnetwork (float[2] x) => (float[2] y) {{ y = {}(x) }}'
    model = ir.serde.deserialize_model(parser.parse_model(text.format("ai.onnx.ml.Binarizer")))
    normalize_imports(model)
    assert opset_of(model) == MIN_OPSET
    model = ir.serde.deserialize_model(parser.parse_model(text.format("Relu")))
    normalize_imports(model)
    with pytest.raises(ModelError, match="imports no opset of the default ONNX domain"):
        opset_of(model)


def groups(x: str = "float[2,4,4,4] x", **constants: np.ndarray) -> ir.Model:
    given = constants or {"s": F([1, 3]), "b": F([-1, 0.5])}
    extra = "" if "b" in given else ", float[2] b"
    model = parsed(18, "y = GroupNormalization <num_groups = 2> (x, s, b)", x=x + extra, **given)
    model.graph[0].name = "norm"
    return prepare(model).model


def test_scales_of_groups_are_repeated_for_their_channels():
    """GroupNormalization has them by channel since opset 21, and the converter leaves one for each group."""
    data = np.random.default_rng(2).standard_normal((2, 4, 4, 4)).astype(F)
    parts = data.reshape(2, 2, -1)
    normal = (parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + F(1e-5))
    wanted = normal * F([1, 3])[None, :, None] + F([-1, 0.5])[None, :, None]
    model = raise_opset(groups(), 21)
    assert opset_of(model) == 21
    np.testing.assert_allclose(run(model, {"x": data})[0], wanted.reshape(data.shape), rtol=1e-4, atol=1e-5)
    assert {tuple(value.shape) for value in model.graph[0].inputs[1:]} == {(4,)}


@pytest.mark.parametrize("model", [groups("float[2,C,4,4] x"), groups(s=F([1, 3]))], ids=["channels", "bias"])
def test_scales_of_groups_that_cannot_be_repeated_are_refused(model: ir.Model):
    assert opset_of(raise_opset(model.clone(), 20)) == 20
    with pytest.raises(ModelError, match=r"cannot be raised to 21, .*: GroupNormalization of node 'norm' has scales"):
        raise_opset(model, 21)
