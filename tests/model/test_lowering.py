"""Models of opset 21 and above: written with opset 20 where nothing in them needs more, kept otherwise."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.defs
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import parser

from qdq_cli.model.lowering import _NEW_MEANING, LAST_SAFE_OPSET, lower_opset
from qdq_cli.preparing.prepare import prepare
from tests.workspace import Workspace, make_workspace

X = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32)


def text(body: str, opset: int = 21, kind: str = "float[a,b,c,d]") -> onnx.ModelProto:
    head = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    return parser.parse_model(f"{head}\nnetwork (float[2,4,6,6] x) => ({kind} y) {{ {body} }}")


def opset_after(proto: onnx.ModelProto) -> int:
    return prepare(ir.from_proto(proto), proto).opset


SAME = {
    "shapes": "s = Shape(x)\na = Reshape(x, s)\nb = Identity(a)\ny = Cast <to = 1> (b)",
    "pooling": "a = MaxPool <kernel_shape = [2, 2]> (x)\ny = AveragePool <kernel_shape = [2, 2]> (a)",
    "axes": "a = Constant <value_ints = [0]> ()\nb = Unsqueeze(x, a)\nc = Squeeze(b, a)\ny = Transpose(c)",
    "activations": "a = Softplus(x)\nb = Elu(a)\nc = HardSigmoid(b)\nd = HardSwish(c)\ny = Mish(d)",
    "convolution": "w = Constant <value = float[1, 4, 1, 1] {1, 2, 3, 4}> ()\ny = Conv(x, w)",
    "a pair": "s = Constant <value_float = 0.5> ()\nz = Constant <value = int8 {0}> ()\n"
    "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)",
    "a pair, its defaults spelled out": "s = Constant <value_float = 0.5> ()\nz = Constant <value = int8 {0}> ()\n"
    "q = QuantizeLinear <block_size = 0, output_dtype = 0> (x, s, z)\ny = DequantizeLinear <block_size = 0> (q, s, z)",
    "a body": "t = Constant <value_int = 1> ()\nc = Cast <to = 9> (t)\ny = If (c) <then_branch = g1 () => "
    "(float[2,4,6,6] p) { p = Identity(x) }, else_branch = g2 () => (float[2,4,6,6] n) { n = Softplus(x) }>",
}


@pytest.mark.parametrize("opset", [21, 22, 23])
@pytest.mark.parametrize("body", SAME.values(), ids=SAME)
def test_what_means_the_same_at_20_is_written_at_20_and_computes_the_same(body: str, opset: int):
    proto = text(body, opset)
    model = prepare(ir.from_proto(proto), proto).model
    assert (model.opset_imports[""], model.ir_version) == (20, 10)
    lowered = ir.to_proto(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert np.array_equal(run(proto), run(lowered))


def run(proto: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0]


NEEDED = {
    "an operator of 23": (23, "w = Constant <value = float[6] {1, 1, 1, 1, 1, 1}> ()\ny = RMSNormalization(x, w)"),
    "channels instead of groups": (
        21,
        "w = Constant <value = float[4] {1, 2, 3, 4}> ()\ny = GroupNormalization <num_groups = 2> (x, w, w)",
    ),
    "ceil_mode": (22, "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)"),
    "a type of 21": (21, "a = Cast <to = 22> (x)\ny = Cast <to = 1> (a)"),
    "a 16 bit pair": (
        21,
        "s = Constant <value_float = 0.5> ()\nz = Constant <value = int16 {0}> ()\n"
        "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)",
    ),
    "blocks": (
        21,
        "q = Cast <to = 3> (x)\ns = Constant <value_float = 0.5> ()\ne = Constant <value_ints = [2, 4, 6, 2]> ()\n"
        "b = Expand(s, e)\ny = DequantizeLinear <axis = 3, block_size = 3> (q, b)",
    ),
    "bfloat16": (22, "a = Cast <to = 16> (x)\nb = Softplus(a)\ny = Cast <to = 1> (b)"),
    "in a body": (
        23,
        "t = Constant <value_int = 1> ()\nc = Cast <to = 9> (t)\n"
        "w = Constant <value = float[6] {1, 1, 1, 1, 1, 1}> ()\n"
        "y = If (c) <then_branch = g1 () => (float[2,4,6,6] p) { p = RMSNormalization(x, w) }, "
        "else_branch = g2 () => (float[2,4,6,6] n) { n = Neg(x) }>",
    ),
}


@pytest.mark.parametrize(("opset", "body"), NEEDED.values(), ids=NEEDED)
def test_what_needs_a_newer_opset_keeps_it(opset: int, body: str):
    assert opset_after(text(body, opset)) == opset


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_opsets_up_to_20_stay(opset: int):
    model = ir.from_proto(text("y = Identity(x)", opset))
    assert not lower_opset(model)
    assert model.opset_imports[""] == opset


def test_functions_and_other_domains_do_not_keep_it():
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "local" : 1, "com.microsoft" : 1]>\n'
        "network (float[2,4,6,6] x) => (float y) { a = local.f(x)\ny = com.microsoft.Gelu(a) }\n"
        '<domain: "local", opset_import: ["" : 21]> f (a) => (b) { b = Softplus(a) }'
    )
    assert opset_after(proto) == 20


def test_an_operator_that_onnx_does_not_define_does_not_keep_it():
    assert opset_after(text("a = EfficientThing_TRT(x)\ny = Identity(a)")) == 20


def test_what_opset_20_got_new_versions_of_differs_in_types_alone_up_to_opset_26():
    """A new release of ONNX that brings attributes with other defaults, inputs or outputs has to be looked at."""
    for name in {entry.name for entry in onnx.defs.get_all_schemas_with_history() if not entry.domain}:
        if name in _NEW_MEANING or not onnx.defs.has(name, LAST_SAFE_OPSET, ""):
            continue
        old, new = (
            onnx.defs.get_schema(name, opset, "") for opset in (LAST_SAFE_OPSET, onnx.defs.onnx_opset_version())
        )
        assert [formal.name for formal in old.inputs] == [formal.name for formal in new.inputs], name
        assert [formal.name for formal in old.outputs] == [formal.name for formal in new.outputs], name
        for attribute, entry in old.attributes.items():
            assert attribute in new.attributes, name
            assert entry.default_value == new.attributes[attribute].default_value, name


def test_the_note_and_the_default_session(tmp_path):
    """A product of rank 3 and a bias: ONNX Runtime's default session does not run its Q/DQ form of opset 21."""
    space = rank_3(tmp_path)
    done = space.quantize("--json")
    assert "note: Nothing in the model needs an opset above 20, so the result has opset 20 instead of 22" in done.err
    assert done.document["opset"] == 20
    assert done.document["verification"]["default_session"]["error"] == ""
    assert onnx.load(space.output).opset_import[0].version == 20


def rank_3(tmp_path) -> Workspace:
    weight = "{" + ", ".join(["0.5", "-1", "0.25", "2"] * 9) + "}"
    body = (
        f"w = Constant <value = float[6, 6] {weight}> ()\nb = Constant <value = float[6] {{1, 2, 3, 4, 5, 6}}> ()\n"
        "s = Constant <value_ints = [2, 24, 6]> ()\nt = Reshape(x, s)\na = MatMul(t, w)\nc = Add(a, b)\nr = Relu(c)\n"
        "d = MatMul(r, w)\ny = Add(d, b)"
    )
    proto = text(body, 22, "float[a,b,c]")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    space = make_workspace(tmp_path, proto)
    np.savez(space.arrays, x=np.random.default_rng(1).normal(size=(24, 4, 6, 6)).astype(np.float32))
    return space
