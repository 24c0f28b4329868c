"""The table of TensorRT's importer: each row, form and type in a model of one node, release by release."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from qdq_cli.config.forms import TensorRT
from qdq_cli.model.opset import is_onnx_operator
from qdq_cli.targets.tensorrt.findings import Finding
from qdq_cli.targets.tensorrt.importer.records import SPAN, Limit, Version
from qdq_cli.targets.tensorrt.importer.refusals import INTEGER_OPERATORS, refusals
from qdq_cli.targets.tensorrt.importer.table import TABLE
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.releases import NEWEST_OPSET
from tests.targets.tensorrt.importer_forms import BODIES, READ_BODIES, READ_BY_11, REFUSED
from tests.targets.tensorrt.importer_models import (
    BF16,
    BOOL,
    DOUBLE,
    FLOAT,
    FORMS,
    HALF,
    INT32,
    INT64,
    UINT8,
    Form,
    T,
    form,
    one_node,
)

V8_4, V8_6, V10, V11 = TensorRT
OPERATORS = ("E_UNSUPPORTED_OP", "E_UNSUPPORTED_FORM", "W_MINOR_RELEASE")


def about_import(proto: onnx.ModelProto, plugins: tuple[str, ...] = ()) -> list[Finding]:
    return [entry for entry in lint(ir.from_proto(proto), plugins) if entry.code in OPERATORS]


def releases_without(since: Version | None) -> tuple[TensorRT, ...]:
    """The releases older than one, all their minor ones included."""
    return tuple(release for release, (_, newest) in SPAN.items() if since is None or newest < since)


def releases_partly_without(since: Version | None) -> tuple[TensorRT, ...]:
    return tuple(release for release, (oldest, newest) in SPAN.items() if since and oldest < since <= newest)


SIMPLE = [name for name in TABLE if name in FORMS]


def test_the_table_knows_every_operator_of_onnx():
    schemas = [schema for schema in onnx.defs.get_all_schemas() if not schema.domain]
    assert {schema.name for schema in schemas if schema.since_version <= NEWEST_OPSET[V11]} <= TABLE.keys()


@pytest.mark.parametrize("name", [name for name in SIMPLE if TABLE[name].since is None])
def test_operators_without_importer_are_refused_by_all_releases(name):
    (entry,) = about_import(one_node(name))
    assert (entry.code, entry.node, entry.found, entry.profiles) == ("E_UNSUPPORTED_OP", "odd", name, tuple(TensorRT))
    assert entry.fix.endswith(".")


def test_operators_without_a_model_of_their_own_are_refused_by_name():
    rest = [name for name in TABLE if name not in FORMS and TABLE[name].since is None]
    assert len(rest) > 15
    for name in rest:
        assert [(found.found, found.releases) for found in refusals(ir.Node("", name, []))] == [(name, tuple(TensorRT))]


@pytest.mark.parametrize("name", [name for name in SIMPLE if TABLE[name].since is not None])
def test_operators_are_refused_by_the_releases_before_their_first(name):
    row = TABLE[name]
    found = [entry for entry in about_import(one_node(name)) if not _is_form_of(entry, name)]
    refused = {release for entry in found if entry.code == "E_UNSUPPORTED_OP" for release in entry.profiles}
    partly = {release for entry in found if entry.code == "W_MINOR_RELEASE" for release in entry.profiles}
    assert refused == set(releases_without(row.since))
    assert partly == set(releases_partly_without(row.since))
    assert all(entry.found.startswith(name) for entry in found)


def _is_form_of(entry: Finding, name: str) -> bool:
    """Whether a finding is about one of the forms of an operator: some are allowed by newer releases alone."""
    return any(entry.found == f"{name} {limit.form}" for limit in TABLE[name].limits)


@pytest.mark.parametrize("name", [name for name in SIMPLE if TABLE[name].since is not None])
def test_operators_in_their_plain_form_are_read_by_11(name):
    assert not [entry for entry in about_import(one_node(name)) if V11 in entry.profiles]


LIMITS = [(name, limit) for name, row in TABLE.items() for limit in row.limits]


@pytest.mark.parametrize(("name", "limit"), LIMITS, ids=[f"{name} {limit.form}" for name, limit in LIMITS])
def test_every_form_is_refused_by_the_releases_it_names(name: str, limit: Limit):
    if name in REFUSED:
        shape, opset = REFUSED[name][limit.form]
        proto = one_node(name, shape, opset=opset)
    else:
        operator, proto = BODIES[limit.form]
        assert operator == name
    found = [entry for entry in about_import(proto) if entry.found == f"{name} {limit.form}"]
    refused = {release for entry in found if entry.code == "E_UNSUPPORTED_FORM" for release in entry.profiles}
    partly = {release for entry in found if entry.code == "W_MINOR_RELEASE" for release in entry.profiles}
    later = {release for release, (oldest, _) in SPAN.items() if oldest >= limit.first}
    assert found and all(entry.node == "odd" and entry.fix.endswith(".") for entry in found)
    assert refused == set(releases_without(limit.since)) & later
    assert partly == set(releases_partly_without(limit.since))


@pytest.mark.parametrize(("name", "shape", "opset"), READ_BY_11)
def test_forms_beside_the_refused_ones_are_read_by_11(name, shape, opset):
    assert [entry for entry in about_import(one_node(name, shape, opset=opset)) if V11 in entry.profiles] == []


@pytest.mark.parametrize("proto", READ_BODIES)
def test_bodies_beside_the_refused_ones_are_read(proto):
    assert about_import(proto) == []


PLAIN_TYPES = {
    FLOAT: ir.DataType.FLOAT,
    HALF: ir.DataType.FLOAT16,
    BF16: ir.DataType.BFLOAT16,
    INT32: ir.DataType.INT32,
    INT64: ir.DataType.INT64,
    BOOL: ir.DataType.BOOL,
}


@pytest.mark.parametrize("name", [name for name in SIMPLE if TABLE[name].types])
def test_types_are_refused_where_the_row_does_not_have_them(name):
    if not any(isinstance(entry, tuple) and entry[0] == T for entry in FORMS[name].inputs) or -1 in TABLE[name].data:
        pytest.skip("its type is fixed")
    for kind, meant in PLAIN_TYPES.items():
        since = TABLE[name].types.get(meant)
        wanted = f"{name} on {meant.name}"
        proto = one_node(name, data=kind, opset=17 if kind != BF16 else None)
        found = [entry for entry in about_import(proto) if entry.found.startswith(wanted)]
        errors = {release for entry in found if entry.code == "E_UNSUPPORTED_FORM" for release in entry.profiles}
        assert errors == set(releases_without(since) if since != (0, 0) else ()), wanted


def test_fp64_is_advice_and_counts_as_fp32():
    findings = lint(ir.from_proto(one_node("Relu", data=DOUBLE)))
    assert [(entry.code, entry.found) for entry in findings] == [
        ("W_DOUBLE", "an input of FP64"),
        ("W_DOUBLE", "Relu in FP64"),
    ]
    assert [entry.found for entry in about_import(one_node("Relu", form(data=INT32)))] == ["Relu on INT32"]


@pytest.mark.parametrize("kind", ["INT16", "UINT16", "UINT32", "UINT64", "STRING", "COMPLEX64", "FLOAT8E5M2"])
def test_types_that_no_tensor_has(kind):
    number = getattr(TensorProto, kind)
    (entry, *_) = about_import(one_node("Identity", form((number, (4,))), data=number))
    assert entry.code == "E_UNSUPPORTED_FORM" and entry.profiles == tuple(TensorRT)
    assert entry.found == f"a tensor of {kind}" and entry.tensor == "x0"


def test_constants_of_such_types_are_refused_even_unread():
    proto = one_node("Relu")
    proto.graph.initializer.append(helper.make_tensor("table", TensorProto.INT16, [2], [1, 2]))
    (entry,) = about_import(proto)
    assert (entry.found, entry.tensor, entry.node) == ("a constant of INT16", "table", "")


def test_scales_of_blocks_cannot_be_stored():
    """The operators of MXFP8 make them while the network runs, and read them from UINT8."""
    proto = one_node("Relu")
    number = ir.DataType.FLOAT8E8M0.value
    proto.graph.initializer.append(TensorProto(name="scales", data_type=number, dims=[2], raw_data=b"\x7f\x80"))
    (entry,) = about_import(proto)
    assert (entry.found, entry.tensor) == ("a constant of FLOAT8E8M0", "scales")


def test_more_than_eight_dimensions():
    shape = form((FLOAT, (1,) * 9))
    assert {entry.found for entry in about_import(one_node("Relu", shape))} == {"a tensor of 9 dimensions"}
    assert about_import(one_node("Relu", form((FLOAT, (1,) * 8)))) == []


def test_uint8_is_for_inputs_and_outputs():
    assert [
        entry for entry in about_import(one_node("Cast", form((UINT8, (4,)), to=FLOAT))) if V11 in entry.profiles
    ] == []
    (entry,) = about_import(one_node("Transpose", form((UINT8, (4, 4)))))
    assert entry.found == "Transpose on UINT8"
    nodes = [
        helper.make_node("Cast", ["x"], ["k"], name="odd", to=UINT8),
        helper.make_node("Cast", ["k"], ["y"], to=FLOAT),
    ]
    ends = [helper.make_tensor_value_info(name, FLOAT, [4]) for name in "xy"]
    proto = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))
    proto = onnx.shape_inference.infer_shapes(proto)
    assert [entry.found for entry in about_import(proto) if V11 in entry.profiles] == [
        "Cast to UINT8 inside the network"
    ]


@pytest.mark.parametrize(("opset", "expected"), [(6, 1), (7, 0)])
def test_broadcasting_of_old_opsets(opset, expected):
    found = about_import(one_node("Add", form((FLOAT, (4,)), (FLOAT, (4,))), opset=opset))
    assert len(found) == expected and all("opset 6" in entry.found for entry in found)


def test_sequences_are_no_tensors():
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, [4]))
    node = helper.make_node("SequenceLength", ["s"], ["n"], name="odd")
    ends = [helper.make_value_info("s", kind)], [helper.make_tensor_value_info("n", INT64, [])]
    proto = helper.make_model(helper.make_graph([node], "g", *ends), opset_imports=[helper.make_opsetid("", 17)])
    found = about_import(proto)
    assert [entry.code for entry in found] == ["E_UNSUPPORTED_FORM", "E_UNSUPPORTED_OP"]
    assert found[0].found == "a value that is no tensor: sequence"


KNOWN = (
    ("LayerNormalization", None, (V8_4,), ()),
    ("GridSample", None, (V8_4,), ()),
    ("Mish", None, (V8_4, V8_6), ()),
    ("Attention", None, (V8_4, V8_6), (V10,)),
    ("Det", None, (V8_4, V8_6, V10, V11), ()),
    ("MaxPool", form(outputs=2, kernel_shape=[2, 2]), (V8_4, V8_6, V10, V11), ()),
    ("Resize", REFUSED["Resize"]["in cubic mode"][0], (V8_4,), ()),
    ("ScatterElements", REFUSED["ScatterElements"]["with a reduction"][0], (V8_4, V8_6), ()),
    ("Slice", REFUSED["Slice"]["whose axes are no constant"][0], (V8_4, V8_6), (V10,)),
)


@pytest.mark.parametrize(("name", "shape", "errors", "advice"), KNOWN)
def test_facts_of_the_operator_pages(name: str, shape: Form | None, errors, advice):
    found = about_import(one_node(name, shape))
    assert tuple(r for e in found if e.code.startswith("E_") for r in e.profiles) == errors
    assert tuple(r for e in found if e.code.startswith("W_") for r in e.profiles) == advice


def test_integer_operators_of_onnx_have_rows():
    assert {name for name in INTEGER_OPERATORS if is_onnx_operator(name)} <= TABLE.keys()
