"""Digests: equal for the same computation however it is written down, different for any other."""

import re

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from qdq_cli.model import files
from qdq_cli.model.fingerprint import fingerprint_of, tensor_digests
from qdq_cli.preparing import fold
from qdq_cli.preparing.prepare import prepare
from tests.networks import Network

F = np.float32
BASE = "a = Conv <kernel_shape = [3, 3], group = 1> (x, w, b)\nc = Relu(a)\nd = Clip(c, , m)\ny = Add(c, d)"


def model(
    body: str = BASE, x: str = "float[1,2,8,8] x", output: str = "float[A,B,C,D] y", opset: int = 17, **constants
):
    """A model of x; the constants w, b, m are there unless others are given."""
    held = {"w": np.linspace(-1, 1, 36).reshape(2, 2, 3, 3), "b": [1, 2], "m": 6, **constants}
    proto = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\nn ({x}) => ({output}) {{ {body} }}')
    used = set(re.findall(r"\w+", body))
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array, getattr(array, "dtype", F)).astype(F), name)
        for name, array in held.items()
        if name in used
    )
    return ir.serde.deserialize_model(proto)


def graph_fingerprint(graph: ir.Graph) -> str:
    return fingerprint_of(graph, tensor_digests(graph))


def fingerprint(*args, **kwargs) -> str:
    return graph_fingerprint(model(*args, **kwargs).graph)


SAME = {
    "values and nodes have other names": BASE.replace("c", "relu_1").replace("a =", "[node] q =").replace("(a)", "(q)"),
    "defaults are written out": BASE.replace("group = 1", 'group = 1, auto_pad = "NOTSET"'),
    "defaults are left out": BASE.replace(", group = 1", ""),
    "the kernel's shape is left to the weight": BASE.replace("kernel_shape = [3, 3], ", ""),
    "windows that do nothing are written out": BASE.replace(
        "group = 1", "pads = [0, 0, 0, 0], strides = [1, 1], dilations = [1, 1]"
    ),
    "attributes stand in another order": BASE.replace("kernel_shape = [3, 3], ", "").replace(
        "group = 1", "group = 1, kernel_shape = [3, 3]"
    ),
    "something nobody needs is computed too": BASE + "\nz = Neg(x)",
}  # fmt: skip


@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_the_same_computation_has_the_same_digest(body):
    assert fingerprint(body) == fingerprint()


@pytest.mark.parametrize(("one", "other"), [("Clip(c, m)", "Clip(c, m, )"), ("Clip(c)", "Clip(c, , )")])
def test_inputs_omitted_at_the_end_are_no_inputs(one, other):
    body = "c = Relu(x)\ny = {}"
    assert fingerprint(body.format(one)) == fingerprint(body.format(other))


def test_node_order_does_not_count():
    assert fingerprint("p = Exp(x)\nq = Neg(x)\ny = Add(p, q)") == fingerprint("q = Neg(x)\np = Exp(x)\ny = Add(p, q)")


OTHER = {
    "a constant": BASE.replace(", m)", ", b)"),
    "an attribute": BASE.replace("group = 1", "group = 1, pads = [1, 1, 1, 1]"),
    "an operator": BASE.replace("Relu", "Sigmoid"),
    "the wiring": BASE.replace("Add(c, d)", "Add(a, d)"),
    "the order of operands": BASE.replace("Add(c, d)", "Add(d, c)"),
    "an operand's slot": BASE.replace("Clip(c, , m)", "Clip(c, m)"),
    "an omitted operand": BASE.replace("(x, w, b)", "(x, w)"),
    "one more operator": BASE.replace("y = Add(c, d)", "e = Add(c, d)\ny = Neg(e)"),
}


@pytest.mark.parametrize("body", OTHER.values(), ids=OTHER)
def test_another_computation_has_another_digest(body):
    assert fingerprint(body) != fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"w": np.linspace(-1, 1.0001, 36).reshape(2, 2, 3, 3)},
        {"w": np.linspace(-1, 1, 36).reshape(2, 2, 9, 1)},
        {"b": [2, 1]},
        {"x": "float[1,2,9,9] x"},
        {"x": "float16[1,2,8,8] x"},
        {"x": "float[N,2,8,8] x"},
        {"body": BASE.replace("x", "image"), "x": "float[1,2,8,8] image"},
    ],
    ids=str,
)
def test_weights_and_inputs_count(changes):
    assert fingerprint(**changes) != fingerprint()


def test_symbolic_dimensions_are_all_alike():
    assert fingerprint(x="float[N,2,8,8] x") == fingerprint(x="float[batch,2,8,8] x")


def test_a_change_touches_what_is_behind_it_and_nothing_else():
    before, after = (tensor_digests(model(m=limit).graph) for limit in (6, 7))
    assert {name for name in before if before[name] != after[name]} == {"m", "d", "y"}
    assert set(before) == {"x", "w", "b", "m", "a", "c", "d", "y"}


def test_outputs_of_one_node_differ():
    digests = tensor_digests(model("p, q = Split <axis = 1, num_outputs = 2> (x)\ny = Add(p, q)", opset=18).graph)
    assert digests["p"] != digests["q"]


def test_where_weights_are_kept_does_not_count(tmp_path):
    net = Network()
    y = net.conv(net.input("x", (1, 8, 8, 8)), 8, scale=None)
    proto = net.proto(y)
    onnx.save(proto, tmp_path / "in.onnx")
    onnx.save(proto, tmp_path / "out.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
    one, other = (graph_fingerprint(files.load(tmp_path / name).model.graph) for name in ("in.onnx", "out.onnx"))
    assert one == other


def test_constants_written_as_nodes_attributes_or_typed_data_are_the_same_after_preparation():
    spelled = [
        model("y = Mul(x, k)", k=0.5),
        model("k = Constant <value_float = 0.5> ()\ny = Mul(x, k)"),
        model("k = Constant <value = float {0.5}> ()\ny = Mul(x, k)"),  # float_data, not raw
        model("h = Constant <value_float = -0.5> ()\nk = Neg(h)\ny = Mul(x, k)"),
        model("i = Identity(x)\ny = Mul(i, k)", k=0.5),
    ]
    assert len({graph_fingerprint(prepare(one).model.graph) for one in spelled}) == 1


@pytest.mark.parametrize("dtype", ["FLOAT16", "BFLOAT16", "INT4", "UINT4", "INT8", "BOOL", "DOUBLE", "FLOAT8E4M3FN"])
def test_constants_of_every_type_are_told_apart(dtype):
    kind = ir.DataType[dtype]

    def digest(*values: int) -> str:
        tensor = ir.Tensor(np.array(values).astype(kind.numpy()), dtype=kind, name="w")
        held = ir.Value(name="w", const_value=tensor, type=ir.TensorType(kind), shape=tensor.shape)
        graph = ir.Graph([], [held], nodes=[], initializers=[held], opset_imports={"": 21})
        return tensor_digests(graph)["w"]

    assert digest(0, 1, 1) == digest(0, 1, 1)
    assert len({digest(0, 1, 1), digest(1, 0, 1), digest(0, 1), digest()}) == 4


def test_arrays_that_are_not_contiguous_are_their_values():
    array = np.arange(12, dtype=F).reshape(3, 4)
    digests = []
    for one in (array.T, np.ascontiguousarray(array.T)):
        held = ir.Value(name="w", const_value=ir.Tensor(one, name="w"), type=ir.TensorType(ir.DataType.FLOAT))
        digests.append(tensor_digests(ir.Graph([], [held], nodes=[], initializers=[held]))["w"])
    assert digests[0] == digests[1]


def attributed(domain: str = "my", **attributes: object) -> str:
    node = helper.make_node("Op", ["x"], ["y"], domain=domain, **attributes)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1,)) for name in "xy"]
    graph = helper.make_graph([node], "g", info[:1], info[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)])
    return graph_fingerprint(ir.serde.deserialize_model(proto).graph)


def test_attributes_of_every_kind_count():
    tensor = numpy_helper.from_array(F([1, 2]), "t")
    same = numpy_helper.from_array(F([1, 2]), "another name")
    variants = [
        {}, {"a": 1}, {"a": 2}, {"a": 1.0}, {"a": [1]}, {"a": [1.0]}, {"a": "1"}, {"a": ["1"]}, {"a": ["1", "2"]},
        {"a": tensor}, {"a": [tensor]}, {"a": [tensor, tensor]}, {"a": numpy_helper.from_array(F([[1, 2]]), "t")},
        {"a": helper.make_tensor("s", TensorProto.STRING, (2,), ["a", "b"])},
        {"a": helper.make_tensor("s", TensorProto.STRING, (2,), ["ab", ""])}, {"b": 1}, {"a": b"\xff\x00"},
        {"a": helper.make_tensor_type_proto(1, (2,))}, {"a": helper.make_tensor_type_proto(1, (3,))},
    ]  # fmt: skip
    assert len({attributed(**variant) for variant in variants}) == len(variants)
    assert attributed(a=tensor) == attributed(a=same)
    assert attributed() != attributed("other")


IF = (
    "y = If (k) <then_branch = t () => (float[1,2,8,8] {0}) {{ {1} }},"
    " else_branch = e () => (float[1,2,8,8] n) {{ n = Neg(x) }}>"
)


def conditional(name: str, then: str) -> str:
    body = IF.format(name, then)
    return fingerprint(f"k = Constant <value = bool {{1}}> ()\nz = Abs(x)\n{body}")


def test_bodies_count_by_what_they_compute():
    base = conditional("a", "a = Exp(x)")
    assert base == conditional("b", "b = Exp(x)")
    assert base == conditional("b", "d = Neg(x)\nb = Exp(x)")
    assert len({base, conditional("a", "a = Exp(z)"), conditional("a", "a = Log(x)")}) == 3


def test_bodies_in_bodies_tell_their_inputs_apart():
    """The inner loop reads its own state, or that of the outer one: both are the second input of a body."""
    text = (
        "n = Constant <value_int = 2> ()\nk = Constant <value = bool {{1}}> ()\n"
        "y = Loop (n, k, x) <body = outer (int64 i, bool c, float[1,2,8,8] s) => (bool d, float[1,2,8,8] t) {{"
        " d = Identity(c)\nt = Loop (n, c, x) <body = inner (int64 j, bool e, float[1,2,8,8] u) =>"
        " (bool f, float[1,2,8,8] v) {{ f = Identity(e)\nv = Exp({}) }}> }}>"
    )
    assert fingerprint(text.format("u")) != fingerprint(text.format("s"))


def test_values_of_bodies_do_not_hide_those_of_the_graph():
    text = f"k = Constant <value = bool {{1}}> ()\n{IF.format('y', 'y = Exp(x)')}"
    assert set(tensor_digests(model(text).graph)) == {"x", "k", "y", "n"}
    other = tensor_digests(model(text.replace("Exp", "Log")).graph)
    assert tensor_digests(model(text).graph)["y"] != other["y"]


def test_values_of_bodies_are_told_apart_by_what_runs_them():
    """Two loops of one body start from other tensors, so what is computed in their rounds differs."""
    loop = (
        "{0} = Loop (n, k, {1}) <body = body_{0} (int64 i_{0}, bool c_{0}, float[1,2,8,8] s_{0}) =>"
        " (bool d_{0}, float[1,2,8,8] t_{0}) {{ d_{0} = Identity(c_{0})\nt_{0} = Exp(s_{0}) }}>"
    )
    head = "n = Constant <value_int = 2> ()\nk = Constant <value = bool {1}> ()\na = Abs(x)\n"
    body = "\n".join((loop.format("p", "x"), loop.format("q", "a"), loop.format("r", "x"), "y = Sum(p, q, r)"))
    digests = tensor_digests(model(head + body).graph)
    assert digests["s_p"] != digests["s_q"] and digests["t_p"] != digests["t_q"]
    assert digests["s_p"] == digests["s_r"] and digests["t_p"] == digests["t_r"]
    assert len({digests["s_p"], digests["t_p"], digests["x"], digests["p"]}) == 4


def test_digests_do_not_depend_on_the_process_or_the_release():
    """Calibration caches hold them; a change here makes every cache that is out there useless."""
    assert fingerprint(BASE.replace("group = 1", "pads = [1, 1, 1, 1]")) == "576db50ec4a43849b29888b859169109"


COMPUTED = "p = Exp(e)\nq = Transpose(p)\nv = MatMul(x, q)\ny = Relu(v)"


def prepared_digests(monkeypatch, nudge, body=COMPUTED, **constants):
    """Digests after preparation on a processor that computes folded constants with another last bit, or not."""
    evaluate = fold._evaluate

    def evaluate_elsewhere(folded, names):
        return {name: np.nextafter(array, F(nudge)) for name, array in evaluate(folded, names).items()}

    if nudge:
        monkeypatch.setattr(fold, "_evaluate", evaluate_elsewhere)
    held = {"e": np.linspace(-1, 1, 64).reshape(8, 8), **constants}
    graph = prepare(model(body, **held)).model.graph
    monkeypatch.undo()
    return {name: digest for name, digest in tensor_digests(graph).items() if name in ("v", "y")}


def test_constants_folded_on_another_processor_are_the_same(monkeypatch):
    expected = prepared_digests(monkeypatch, None)
    assert prepared_digests(monkeypatch, np.inf) == expected
    assert prepared_digests(monkeypatch, None, e=np.linspace(-1, 1.01, 64).reshape(8, 8)) != expected
    assert prepared_digests(monkeypatch, None, COMPUTED.replace("Exp", "Sin")) != expected


def test_constants_that_only_move_are_their_values(monkeypatch):
    turned = "q = Transpose(e)\nv = MatMul(x, q)\ny = Relu(v)"
    plain = "v = MatMul(x, e)\ny = Relu(v)"
    values = np.linspace(-1, 1, 64).reshape(8, 8)
    assert prepared_digests(monkeypatch, None, turned, e=values.T) == prepared_digests(
        monkeypatch, None, plain, e=values
    )
