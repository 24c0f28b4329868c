"""A calibration cache serves every export of the network it was made from, and never another network."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from calibrators import CalibrationTable, decode_table, encode_table
from calibrators.portrait import WEIGHT_TOLERANCE
from qdq_cli.calibrating.probes import draw_portrait, input_shapes
from qdq_cli.calibrating.stored import Found, find, table_of
from qdq_cli.data.batches import Batch
from qdq_cli.placement.topology import float_tensors
from qdq_cli.preparing.prepare import prepare
from qdq_cli.running import runner
from qdq_cli.running.watched import Watched

F = np.float32
RNG = np.random.default_rng(7)
WEIGHTS = {
    "w": RNG.normal(size=(16, 3, 3, 3)),
    "gamma": RNG.uniform(0.5, 1.5, 16),
    "beta": RNG.normal(size=16),
    "mean": RNG.normal(size=16),
    "var": RNG.uniform(0.5, 2, 16),
    "w2": RNG.normal(size=(16, 16, 3, 3)),
    "b2": RNG.normal(size=16),
    "fc": RNG.normal(size=(10, 16)),
    "bias": RNG.normal(size=10),
}
FOLDED = "c = Conv <pads = [1, 1, 1, 1]> (x, folded, folded_bias)"
BODY = """
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    c = BatchNormalization (a, gamma, beta, mean, var)
    r = Relu(c)
    d = Conv <pads = [1, 1, 1, 1]> (r, w2, b2)
    h = HardSwish(d)
    s = Add(r, h)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm <transB = 1> (f, fc, bias)
"""
SAMPLES = RNG.normal(size=(6, 3, 8, 8)).astype(F)


def folded(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch normalization in the convolution, in float32 and one operation at a time, as exporters do it."""
    held = {name: np.asarray(array, F) for name, array in weights.items()}
    gain = held["gamma"] / np.sqrt(held["var"] + F(1e-5))
    return {"folded": held["w"] * gain.reshape(-1, 1, 1, 1), "folded_bias": held["beta"] - held["mean"] * gain}


def proto(body: str = BODY, batch: str = "1", opset: int = 17, **changed: np.ndarray) -> onnx.ModelProto:
    """The network in one spelling; what is not named in the body is left out."""
    held = {**WEIGHTS, **changed}
    extra = {"fcT": held["fc"].T, "axes": np.array([2, 3]), "six": 6, "three": 3, "zero": 0, "low": -1e6, "high": 1e6}
    made = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\nn (float[{batch},3,8,8] x) => (float[A,B] y) {{ {body} }}'
    )
    used = set(re.findall(r"\w+", body))
    made.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array) if name == "axes" else np.asarray(array, F), name)
        for name, array in {**held, **folded(held), **extra}.items()
        if name in used
    )
    return made


def prepared(model: onnx.ModelProto) -> ir.Model:
    return prepare(ir.serde.deserialize_model(model)).model


def observed(model: ir.Model, samples: np.ndarray = SAMPLES) -> CalibrationTable:
    """The table of all its float tensors, written and read back."""
    batches = [Batch({"x": sample[None]}, ("s",), 1) for sample in samples]
    histograms = runner.observe(model, Watched(float_tensors(model.graph)), batches, lambda batch: batch).histograms
    portrait = draw_portrait(model, input_shapes(model, [(1, *samples.shape[1:])]))
    return decode_table(encode_table(table_of(model, histograms, "", ["0" * 16], portrait)))


@pytest.fixture(scope="module")
def table() -> CalibrationTable:
    return observed(prepared(proto()))


def found(table: CalibrationTable, model: onnx.ModelProto, *names: str) -> Found:
    """What the table knows of the tensors that every spelling has."""
    return find(table, prepared(model), names or ("x", "r", "s", "f", "y"))


SPELLED = {
    "another batch size": proto(batch="4"),
    "a dynamic batch": proto(batch="N"),
    "the batch normalization is folded": proto(FOLDED + BODY.split("mean, var)")[1]),
    "identities": proto(BODY.replace("r = Relu(c)", "i = Identity(c)\nr = Relu(i)")),
    "a transposed weight and its bias added": proto(
        BODY.replace("y = Gemm <transB = 1> (f, fc, bias)", "m = MatMul(f, fcT)\ny = Add(bias, m)")
    ),
    "a mean over axes": proto(
        BODY.replace("p = GlobalAveragePool(s)\n    f = Flatten(p)", "f = ReduceMean <axes = [2, 3], keepdims = 0> (s)")
    ),
    "axes as an operand": proto(
        BODY.replace("p = GlobalAveragePool(s)\n    f = Flatten(p)", "f = ReduceMean <keepdims = 0> (s, axes)"),
        opset=18,
    ),
    "HardSwish in parts": proto(
        BODY.replace("h = HardSwish(d)", "t = Add(d, three)\nu = Clip(t, zero, six)\nv = Mul(d, u)\nh = Div(v, six)")
    ),
    "constants as nodes": proto(
        BODY.replace("r = Relu(c)", "z = Constant <value = float {0}> ()\nr = Max(c, z)"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", SPELLED.values(), ids=SPELLED)
def test_another_spelling_is_served(table: CalibrationTable, model: onnx.ModelProto) -> None:
    hit = found(table, model)
    assert (hit.missing, hit.differences, hit.same_network) == ((), (), True)
    assert {name: table.entries[name].histogram for name in hit.histograms} == hit.histograms


OF_ONE_SAMPLE = {name: model for name, model in SPELLED.items() if name != "another batch size"}


@pytest.mark.parametrize("one", OF_ONE_SAMPLE.values(), ids=OF_ONE_SAMPLE)
@pytest.mark.parametrize("other", [SPELLED["the batch normalization is folded"], proto(batch="N")], ids=["folded", "N"])
def test_every_spelling_serves_the_others(one: onnx.ModelProto, other: onnx.ModelProto) -> None:
    assert found(observed(prepared(one)), other).missing == ()


TOKEN = BODY.replace("GlobalAveragePool(s)", "GlobalAveragePool(t)").replace(
    "p =", "t = Concat <axis = 3> (s, token)\n    p ="
)


def test_a_constant_written_once_for_every_sample_of_a_batch_is_served() -> None:
    """Exporters write a class token as often as a fixed batch is large."""
    token = RNG.normal(size=(1, 16, 8, 1))
    one, four = proto(TOKEN, token=token), proto(TOKEN, batch="4", token=np.repeat(token, 4, axis=0))
    for model, other in ((one, four), (four, one)):
        hit = found(observed(prepared(model)) if model is one else of_four(model), other, "x", "r", "t", "f", "y")
        assert (hit.missing, hit.same_network) == ((), True)
    changed = np.repeat(token, 4, axis=0) * [[[[1]]], [[[1]]], [[[2]]], [[[1]]]]
    assert found(observed(prepared(one)), proto(TOKEN, batch="4", token=changed), "t").missing == ("t",)


def of_four(model: onnx.ModelProto) -> CalibrationTable:
    """The table of a model that takes four samples a run."""
    built = prepared(model)
    batches = [Batch({"x": SAMPLES[:4]}, ("s",) * 4, 4)]
    histograms = runner.observe(built, Watched(float_tensors(built.graph)), batches, lambda batch: batch).histograms
    portrait = draw_portrait(built, input_shapes(built, [(4, *SAMPLES.shape[1:])]))
    return decode_table(encode_table(table_of(built, histograms, "", ["0" * 16], portrait)))


@pytest.mark.parametrize("opset", [13, 15, 18, 20, 21, 23])
def test_every_opset_is_served(table: CalibrationTable, opset: int) -> None:
    written = proto(SPELLED_OUT, opset=min(opset, 15))
    assert found(table, onnx.version_converter.convert_version(written, opset)).missing == ()


SPELLED_OUT = BODY.replace("h = HardSwish(d)", "t = HardSigmoid <alpha = 0.16666667, beta = 0.5> (d)\nh = Mul(d, t)")


def test_other_names_are_served_by_the_values(table: CalibrationTable) -> None:
    renamed = proto(batch="N")
    for node in renamed.graph.node:
        node.output[:] = [f"{name}_1" for name in node.output]
        node.input[:] = [f"{name}_1" if name in "acrdhspf" else name for name in node.input]
    renamed.graph.output[0].name = "y_1"
    hit = found(table, renamed, "x", "r_1", "s_1", "f_1")
    assert hit.missing == ()
    assert hit.renamed["s_1"] == "s"
    assert table.entries[hit.renamed["f_1"]].histogram == table.entries["f"].histogram


def test_another_name_of_the_input_is_served(table: CalibrationTable) -> None:
    assert found(table, proto_with_input("image"), "image", "r", "s", "f", "y").missing == ()


def proto_with_input(name: str) -> onnx.ModelProto:
    model = proto(batch="N")
    model.graph.input[0].name = name
    model.graph.node[0].input[0] = name
    return model


@given(
    name=st.sampled_from(["w", "gamma", "beta", "mean", "w2", "b2", "fc", "bias"]),
    place=st.integers(0, 9),
    factor=st.sampled_from([-1.0, 0.0, 1.001, 1.5, 100.0]),
    spelling=st.sampled_from(["another batch size", "the batch normalization is folded", "HardSwish in parts"]),
)
def test_one_weight_changed_is_another_network_and_is_named(
    table: CalibrationTable, name: str, place: int, factor: float, spelling: str
) -> None:
    """But for changes of a folded weight that its own rounding might have made (`WEIGHT_TOLERANCE`)."""
    array = np.array(WEIGHTS[name], F)
    array.reshape(-1)[place] *= F(factor)
    change = np.abs(array - WEIGHTS[name]).max() / np.sqrt(np.mean(np.square(array)))
    assume(spelling != "the batch normalization is folded" or change > 50 * WEIGHT_TOLERANCE)
    model = spelled_with(spelling, **{name: array})
    hit = found(table, model)
    assert not hit.same_network
    assert "y" in hit.missing
    sentence = re.fullmatch(
        r"[12] weights? (are|is) not (those|that) of the observed model: (.*)\.", hit.differences[0]
    )
    assert sentence
    assert set(sentence[3].split(", ")) <= set(prepared(model).graph.initializers)
    assert name in sentence[3] or name in ("w", "gamma", "beta", "mean")


def spelled_with(spelling: str, **changed: np.ndarray) -> onnx.ModelProto:
    """One of the spellings with other weights."""
    if spelling == "another batch size":
        return proto(batch="4", **changed)
    if spelling == "the batch normalization is folded":
        return proto(FOLDED + BODY.split("mean, var)")[1], **changed)
    parts = "t = Add(d, three)\nu = Clip(t, zero, six)\nv = Mul(d, u)\nh = Div(v, six)"
    return proto(BODY.replace("h = HardSwish(d)", parts), **changed)


def test_what_lies_before_a_changed_weight_is_served(table: CalibrationTable) -> None:
    hit = found(table, proto(batch="N", fc=WEIGHTS["fc"] * 2))
    assert hit.missing == ("y",)
    assert hit.differences == ("1 weight is not that of the observed model: fc.",)


OTHER = {
    "another activation": (BODY.replace("Relu", "Sigmoid"), "The Sigmoid '", "computes 'r'"),
    "another order": (BODY.replace("Add(r, h)", "Sub(r, h)"), "The Sub '", "computes 's'"),
    "another limit": (BODY.replace("r = Relu(c)", "r = Clip(c, zero, six)"), "The Clip '", "computes 'r'"),
}


@pytest.mark.parametrize(("body", "operator", "tensor"), OTHER.values(), ids=OTHER)
def test_the_operator_that_differs_is_named(table: CalibrationTable, body: str, operator: str, tensor: str) -> None:
    hit = found(table, proto(body, batch="N"))
    assert not hit.same_network
    assert operator in hit.differences[0]
    assert tensor in hit.differences[0]


def test_the_dimension_that_differs_is_named(table: CalibrationTable) -> None:
    wide = proto()
    wide.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 16
    assert found(table, wide).differences == (
        "Input 'x' [1, 3, 8, 16] has 16 in dimension 3, and 8 was observed ([1, 3, 8, 8]).",
    )


def test_tensors_that_were_not_observed_are_told_from_others(table: CalibrationTable) -> None:
    fewer = dataclasses.replace(table, entries={name: entry for name, entry in table.entries.items() if name != "s"})
    hit = found(fewer, proto(batch="N"))
    assert hit.missing == ("s",)
    assert hit.differences == ("The observed model has them, but its placement options did not need them: s.",)


LIMITED = "a = Conv <pads = [1, 1, 1, 1]> (x, w)\nc = Clip(a, low, high)\nf = GlobalAveragePool(c)\ny = Flatten(f)"


def test_tensors_that_look_alike_are_told_by_their_operator_or_not_at_all() -> None:
    """No made-up sample reaches the limit, but the data does: one tensor's range is ten times that of the other."""
    both = observed(prepared(proto(LIMITED)), 1e7 * SAMPLES)
    assert both.entries["a"].histogram.amax > 5 * both.entries["c"].histogram.amax
    hit = found(both, proto(LIMITED, batch="N"), "a", "c")
    assert hit.histograms == {name: both.entries[name].histogram for name in ("a", "c")}
    hit = found(both, proto(LIMITED.replace("c = Clip(a, low, high)", "m = Max(a, low)\nc = Min(m, high)")), "a", "c")
    assert "c" in hit.missing
    assert "do not tell" in hit.differences[-1]


def test_a_table_without_a_portrait_serves_by_digest_alone(table: CalibrationTable) -> None:
    old = dataclasses.replace(table, portrait=None)
    assert found(old, proto()).missing == ()
    assert found(old, proto(batch="N")).missing == ("x", "r", "s", "f", "y")


def test_the_portrait_does_not_depend_on_how_weights_are_kept_or_nodes_ordered(table: CalibrationTable) -> None:
    model = proto()
    assert table.portrait == draw_portrait(prepared(model), input_shapes(prepared(model), [(1, 3, 8, 8)]))
    assert len({reading.name for reading in table.portrait.readings}) == len(table.portrait.readings)
