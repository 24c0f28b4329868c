"""Malformed models are refused with a sentence that names the thing; well-formed odd ones are not."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper, parser

from qdq_cli.model.order import sort_nodes
from qdq_cli.model.wellformed import check_wellformed
from qdq_cli.process.errors import ModelError
from tests.networks import Network

HEADER = '<ir_version: 8, opset_import: ["" : 17, "local" : 1]>\n'


def parsed(text: str) -> onnx.ModelProto:
    return parser.parse_model(HEADER + text)


def small() -> onnx.ModelProto:
    net = Network()
    return net.proto(net.conv(net.input("x", (1, 2, 3, 3)), 2, "conv", scale=None))


BODY = "<then_branch = a () => (float[2] t) { %s }, else_branch = b () => (float[2] e) { e = Neg(x) }>"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (float[2] x) => (float[2] y) { y = Add(x, z) }", "'z', input of Add node 'y', is defined nowhere"),
        ("g (float[2] x) => (float[2] y) { z = Neg(x) }", "'y', graph output, is defined nowhere"),
        (
            "g (float[2] x) => (float[2] y) { y = Neg(x)\ny = Abs(x) }",
            "the name 'y' is defined twice, the second time as output of Abs node 'y'",
        ),
        ("g (float[2] x) => (float[2] x) { x = Neg(x) }", "'x' is defined twice, the second time as output of"),
        ("g (float[2] x, float[2] x) => (float[2] y) { y = Neg(x) }", "'x' is defined twice, the second time as graph"),
        (
            f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) {BODY % 't = Neg(q)'} }}",
            "'q', input of Neg node 't', is defined nowhere",
        ),
        (
            f"g (float[2] x, bool c) => (float[2] y) {{ t = Abs(x)\ny = If(c) {BODY % ''} }}",
            "'t', graph output, is defined nowhere",  # a body returns its own values only
        ),
        (
            'g (float[2] x) => (float[2] y) { y = local.f(x) }\n<domain: "local", opset_import: ["" : 17]>\n'
            "f (a) => (b) { c = Neg(a) }",
            "'b', output of the function 'f', is defined nowhere",
        ),
    ],
)
def test_names_have_to_resolve(text, message):
    with pytest.raises(ModelError) as caught:
        check_wellformed(parsed(text))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] x) => (float[2] x) { }",
        "g (float[2] x) => (float[2] y) { y = Clip(x, , ) }",
        "g (float[2] x) => (float[2] y) { y = Neg(z)\nz = Abs(x) }",  # unsorted
        f"g (float[2] x, bool c) => (float[2] y) {{ z = Abs(x)\ny = If(c) {BODY % 't = Neg(z)'} }}",
        f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) {BODY % 't = Neg(z)'}\nz = Abs(x) }}",
    ],
)
def test_odd_but_meaningful_graphs_pass(text):
    check_wellformed(parsed(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "ir_version", 2), "IR version 2, 1 opset imports and 1 graph outputs"),
        (lambda m: m.ClearField("opset_import"), "IR version 8, 0 opset imports"),
        (lambda m: m.graph.ClearField("output"), "and 0 graph outputs"),
        (lambda m: m.training_info.add(), "it holds training info, which cannot be kept"),
        (lambda m: m.graph.initializer[0].ClearField("name"), "it holds an initializer without a name"),
        (lambda m: m.graph.node[0].attribute[0].ClearField("type"), "of Conv node 'conv' has no type"),
        (lambda m: m.graph.initializer[0].dims.append(2), r"of shape \[2, 2, 3, 3, 2\] holds 144 bytes, expected 288"),
        (lambda m: m.graph.initializer[0].dims.pop(), r"of shape \[2, 2, 3\] holds 144 bytes, expected 48"),
        (lambda m: m.graph.initializer[0].ClearField("raw_data"), "holds 0 values, expected 36"),
        (lambda m: m.graph.initializer[0].dims.extend([1] * 29), "has 33 dimensions; at most 32 are read"),
        (lambda m: m.graph.initializer[0].dims.extend([0, 2**62]), "fits into no memory"),
        (lambda m: m.graph.initializer.add(name="w", data_type=23, dims=[2**32, 2**32]), "fits into no memory"),
        (lambda m: m.graph.initializer.add(name="w", data_type=23, dims=[64]), "holds 0 values, expected 32"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 0), "has the element type 0, which is none"),
        (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99), "has the element type 99, which is"),
        (lambda m: m.graph.sparse_initializer.add().values.MergeFrom(TensorProto(name="s")), "sparse initializer 's'"),
    ],
)
def test_what_is_missing_or_would_be_lost_is_said(change, message):
    model = small()
    check_wellformed(model)
    change(model)
    with pytest.raises(ModelError, match=message):
        check_wellformed(model)


@pytest.mark.parametrize("name", [b"conv_w", b"conv", b"Conv", b"kernel_shape", b"\x01x\x12"])
def test_names_that_are_no_text_are_refused(name):
    """Protobuf hands out strings that are not UTF-8 as bytes, and nothing after that expects them."""
    data = small().SerializeToString()
    broken = onnx.ModelProto.FromString(data.replace(name, bytes([name[0], 0xFF]) + name[2:]))
    with pytest.raises(ModelError, match=r"is not UTF-8 text|is defined nowhere"):
        check_wellformed(broken)


@pytest.mark.parametrize("kind", [AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS])
def test_sparse_attributes_are_refused(kind):
    model = small()
    model.graph.node[0].attribute.add(name="sparse_value", type=kind)
    with pytest.raises(ModelError, match="the attribute 'sparse_value' of Conv node 'conv' is a sparse tensor"):
        check_wellformed(model)


def test_references_to_attributes_of_a_function_need_a_function():
    model = small()
    model.graph.node[0].attribute.add(name="group", type=AttributeProto.INT, ref_attr_name="groups")
    with pytest.raises(ModelError, match="'group' of Conv node 'conv' refers to the attribute 'groups' of a function"):
        check_wellformed(model)
    model = parsed(f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) {BODY % 't = LeakyRelu(x)'} }}")
    body = model.graph.node[0].attribute[0].g
    body.node[0].attribute.add(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope")
    with pytest.raises(ModelError, match="'alpha' of LeakyRelu node 't' refers to the attribute 'slope'"):
        check_wellformed(model)
    function = '<domain: "local", opset_import: ["" : 17]> f <slope> (a) => (b) { b = LeakyRelu <alpha = @slope> (a) }'
    model = parsed(f"g (float[2] x) => (float[2] y) {{ y = local.f <slope = 0.5> (x) }}\n{function}")
    model.functions[0].node[0].attribute[0].type = AttributeProto.FLOAT
    check_wellformed(model)


def test_tensors_of_attributes_are_measured_too():
    model = parsed("g (float[2] x) => (float[2] y) { c = Constant <value = float[2] {1.0, 2.0}> ()\ny = Add(x, c) }")
    check_wellformed(model)
    model.graph.node[0].attribute[0].t.dims[0] = 3
    with pytest.raises(ModelError, match=r"of shape \[3\] holds 2 values, expected 3"):
        check_wellformed(model)


TYPED = [
    *[(kind, [0, 1, 1]) for kind in ("FLOAT", "DOUBLE", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32")],
    *[(kind, [0, 1, 1]) for kind in ("INT64", "UINT64", "BOOL", "FLOAT16", "BFLOAT16", "COMPLEX64", "COMPLEX128")],
    *[(kind, [0, 1, 1]) for kind in ("INT4", "UINT4", "FLOAT8E4M3FN", "FLOAT8E5M2")],
    ("STRING", ["a", "", "ccc"]),
]


@pytest.mark.parametrize(("kind", "values"), TYPED)
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (0, 2)])
def test_every_way_of_storing_a_tensor_is_understood(kind, values, raw, shape):
    if raw and kind == "STRING":
        return
    data_type = TensorProto.DataType.Value(kind)
    values = values if shape[0] else []
    if raw:
        array = np.array(values).astype(helper.tensor_dtype_to_np_dtype(data_type)).reshape(shape)
        tensor = numpy_helper.from_array(array, "t")
    else:
        tensor = helper.make_tensor("t", data_type, shape, values)
    assert tensor.data_type == data_type
    model = small()
    model.graph.initializer.append(tensor)
    check_wellformed(model)
    tensor = model.graph.initializer[-1]
    tensor.dims[0] += 3
    with pytest.raises(ModelError, match="the tensor 't' of shape"):
        check_wellformed(model)


def test_sorting_leaves_a_valid_order_alone():
    net = Network()
    x = net.input("x", (2,))
    branches = [net.op("Relu", x), net.op("Abs", x), net.op("Neg", x)]
    model = net.model(*branches)
    before = list(model.graph)
    sort_nodes(model.graph)
    assert list(model.graph) == before


def test_sorting_sees_what_bodies_read_and_sorts_inside_them():
    body = BODY % "t = Neg(p)\np = Abs(z)"
    text = f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) {body}\nz = Abs(x) }}"
    graph = ir.serde.deserialize_model(parsed(text)).graph
    sort_nodes(graph)
    assert [node.op_type for node in graph] == ["Abs", "If"]
    assert [node.op_type for node in graph[1].attributes["then_branch"].as_graph()] == ["Abs", "Neg"]


def one_node(text: str, opset: int = 17) -> onnx.ModelProto:
    """A model of one node that reads x, w (both without shape) and makes y."""
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\ng (float x, float w) => (float y) {{ {text} }}'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y = Conv(x)", "the Conv node 'y' has 1 inputs, expected 2 to 3"),
        ("y = Relu(x, w)", "the Relu node 'y' has 2 inputs, expected 1"),
        ("y = Conv(, w)", "the Conv node 'y' has no input 0"),
        ("y, z = Conv(x, w)", "the Conv node 'y' has 2 outputs, expected 1"),
        ("y = Concat(x, w)", "the Concat node 'y' has no attribute 'axis'"),
        ("y = Conv <group = 1.0> (x, w)", "the attribute 'group' of the Conv node 'y' is of type FLOAT, expected INT"),
        ("y = Conv <pads = 1> (x, w)", "the attribute 'pads' of the Conv node 'y' is of type INT, expected INTS"),
    ],
)
def test_nodes_are_as_their_operator_is_defined(text, message):
    with pytest.raises(ModelError) as caught:
        check_wellformed(one_node(text))
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        ("y = Clip(x)", 17),
        ("y = Clip(x, , w)", 17),
        ("y = Clip <min = 0.0> (x)", 6),  # an input since opset 11
        ("y = Sum(x, w, x, w, x, w)", 17),
        ("y = LSTM <hidden_size = 3> (x, w, w)", 17),
        ("y = Conv <my_hint = 3> (x, w)", 17),  # ONNX Runtime has the last word on it
        ("y = BatchedNMS_TRT <anything = 1.0> (x)", 17),
        ("y = ai.onnx.Relu(x)", 17),
        ("y = Relu(x, w)", 99),  # an opset that is not known yet
    ],
)
def test_unknown_operators_attributes_and_opsets_are_let_through(text, opset):
    check_wellformed(one_node(text, opset))


def test_nodes_in_bodies_and_functions_are_held_against_their_opsets_too():
    with pytest.raises(ModelError, match="Relu node 't' has 2 inputs"):
        check_wellformed(parsed(f"g (float[2] x, bool c) => (float[2] y) {{ y = If(c) {BODY % 't = Relu(x, x)'} }}"))
    function = '<domain: "local", opset_import: ["" : {}]> f (a) => (b) {{ b = Clip <max = 1> (a) }}'
    graph = "g (float[2] x) => (float[2] y) { y = local.f(x) }\n"
    check_wellformed(parsed(graph + function.format(17)))
    with pytest.raises(ModelError, match="'max' of the Clip node 'b' is of type INT, expected FLOAT"):
        check_wellformed(parsed(graph + function.format(6)))


def test_a_node_without_an_operator_is_refused():
    """ONNX's shape inference for what reads it would end the process."""
    proto = one_node("y = Relu(x)", 17)
    proto.graph.node[0].op_type = ""
    with pytest.raises(ModelError, match="the node 'y' names no operator"):
        check_wellformed(proto)
