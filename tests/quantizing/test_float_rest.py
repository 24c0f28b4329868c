"""`--float-type`: what is not quantized in FP16 or BF16, but for what would overflow, from the same calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from calibrators import read_cache
from tests.halves import FLOAT, HALF, outputs_of, overflowing, types_of
from tests.networks import Network
from tests.workspace import SIDE, Workspace, make_workspace, qdq


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


@pytest.fixture
def loud(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, overflowing())


def halved(space: Workspace, *options: object, kind: str = "fp16"):
    done = space.quantize("--float-type", kind, *options, "--json")
    assert done.code == 0, done.err
    return done.document


def test_the_rest_is_fp16_and_inputs_and_outputs_are_not(space: Workspace):
    report = halved(space)
    rest = report["float_rest"]
    assert (rest["float_type"], rest["unobserved"]) == ("fp16", [])
    assert rest["reasons"] == {"INNER_OVERFLOW": 1}  # of the mean over 256 places, for all that is known
    assert rest["casts"] == 1  # behind the classifier; Q and DQ stand between all other types
    assert report["opset"] == 19
    assert report["trt"] == "10"
    proto = onnx.load(space.output)
    assert {prop.key: prop.value for prop in proto.metadata_props}["qdq.float_type"] == "fp16"
    assert {value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output)} == {FLOAT}
    assert types_of(space.output)["second"] == HALF
    assert report["verification"]["outputs"]["scores"]["sqnr_db"] > 30


def test_the_outputs_are_those_of_the_fp32_rest(space: Workspace):
    halved(space)
    assert space.quantize("-o", space.folder / "single.onnx").code == 0
    half, single = (outputs_of(path, space.arrays) for path in (space.output, space.folder / "single.onnx"))
    assert max(np.abs(one - two).max() for one, two in zip(half, single, strict=True)) < 2e-2 * np.abs(single).max()


def test_what_would_overflow_stays_fp32_and_nothing_is_infinite(loud: Workspace):
    rest = halved(loud)["float_rest"]
    kept = {kept["node"]: kept["code"] for kept in rest["kept"]}
    assert kept["squares"] == "OVERFLOW"
    assert rest["reasons"]["OVERFLOW"] >= 2
    assert all(np.isfinite(array).all() for array in outputs_of(loud.output, loud.arrays))
    assert types_of(loud.output)["squares"] == FLOAT
    assert types_of(loud.output)["first"] == HALF
    shown = loud.quantize("--float-type", "fp16", "-v")
    assert "float rest    FP16, " in shown.out
    assert " x OVERFLOW: a tensor it makes or reads comes too near" in " ".join(shown.out.split())
    assert "FP32 beside FP16:" in shown.out


def test_a_cache_made_elsewhere_says_how_large_tensors_get(loud: Workspace):
    cache = loud.folder / "model.qcal"
    assert qdq("calibrate", loud.model, "--calib", loud.arrays, "--all-int8").code == 0
    assert "squares" in read_cache(cache).extremes
    shown = qdq("cache", "show", cache)
    assert " by their extremes alone" in shown.out
    assert "\n  squares: " in shown.out
    halved(loud, "--cache", cache, "--verify", "0", "--all-int8")
    here = loud.output.read_bytes()
    other = loud.folder / "other.qcal"
    assert loud.quantize("--cache", other, "--samples", "10", "--all-int8").code == 0
    assert other.read_bytes() == cache.read_bytes()
    loud.arrays.unlink()
    there = qdq("quantize", loud.model, "--cache", cache, "--float-type", "fp16", "--all-int8")
    assert there.code == 0, there.err
    assert loud.output.read_bytes() == here


def test_shares_know_the_extremes_of_all_samples(loud: Workspace):
    parts = [loud.folder / f"{number}.qcal" for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        assert qdq("calibrate", loud.model, "--calib", loud.arrays, "--shard", f"{number}/3", "-o", part).code == 0
    merged, whole = loud.folder / "merged.qcal", loud.folder / "whole.qcal"
    assert qdq("cache", "merge", *parts, "-o", merged).code == 0
    assert qdq("calibrate", loud.model, "--calib", loud.arrays, "-o", whole).code == 0
    assert read_cache(merged).extremes == read_cache(whole).extremes
    assert merged.read_bytes() == whole.read_bytes()


def test_an_export_of_other_names_and_batch_is_served_by_the_extremes_too(loud: Workspace):
    cache = loud.folder / "model.qcal"
    assert qdq("calibrate", loud.model, "--calib", loud.arrays).code == 0
    proto = onnx.load(loud.model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in ("images", "scores") else f"renamed_{name}" for name in names]
    for tensor in proto.graph.initializer:
        tensor.name = f"renamed_{tensor.name}"
    onnx.save(proto, loud.model)
    done = qdq("quantize", loud.model, "--cache", cache, "--float-type", "fp16", "--json")
    assert done.code == 0, done.err
    assert done.document["float_rest"]["unobserved"] == []
    assert "squares" in {kept["node"] for kept in done.document["float_rest"]["kept"]}


def test_a_cache_without_extremes_is_made_up_for_with_samples_or_said_to_lack_them(tmp_path: Path):
    """Such as every cache of an earlier format, and ranges by hand."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None), "relu")
    net.op("Div", x, net.op("Mul", x, x, name="squares"), name="ratio")
    space = make_workspace(tmp_path, net.proto("ratio"))
    by_hand = ("--range", "images=4", "--verify", "0", "--float-type", "fp16", "--json")
    without = qdq("quantize", space.model, *by_hand)
    assert without.code == 0, without.err
    assert without.document["float_rest"]["unobserved"]
    told = qdq("quantize", space.model, *by_hand[:-1])
    assert "not observed, so their size was not weighed" in " ".join(told.out.split())
    given = space.quantize(*by_hand)
    assert given.code == 0, given.err
    assert given.document["float_rest"]["unobserved"] == []


def test_types_of_inputs_and_outputs_and_of_scales(space: Workspace):
    halved(space, "--no-keep-io-types")
    proto = onnx.load(space.output)
    assert {value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output)} == {HALF}
    assert halved(space, "--scale-type", "fp32")["opset"] == 23
    scales = {tensor.data_type for tensor in onnx.load(space.output).graph.initializer if "scale" in tensor.name}
    assert scales == {FLOAT}


def test_bf16_is_verified_by_a_twin(space: Workspace):
    report = halved(space, "--min-sqnr", "15", kind="bf16")
    assert report["verification"]["twin"] is True
    assert report["verification"]["default_session"] is None
    assert report["verification"]["outputs"]["scores"]["sqnr_db"] > 15
    assert types_of(space.output)["second"] == TensorProto.BFLOAT16
    assert "by a twin" in space.quantize("--float-type", "bf16").out
    assert space.listing() == sorted({"arrays.npz", "images", "model.onnx", "model.qdq.onnx"} | set(space.listing()))
    missed = space.quantize("--float-type", "bf16", "--min-sqnr", "90", "-o", space.folder / "none.onnx")
    assert missed.code == 5
    assert not (space.folder / "none.onnx").exists()


def test_for_release_11_the_rest_is_fp16_unless_told_otherwise(space: Workspace):
    assert space.quantize("--trt", "11", "--json").document["float_rest"]["float_type"] == "fp16"
    assert space.quantize("--trt", "11", "--float-type", "fp32", "--json").document["float_rest"] is None
    assert space.quantize("--trt", "10", "--json").document["float_rest"] is None
    refused = space.quantize("--trt", "8.6", "--float-type", "fp16", "-o", space.folder / "none.onnx")
    assert refused.code == 3
    assert "TensorRT 8.6 does not read the result" in refused.err


def test_a_dry_run_says_what_is_known_before_calibration(loud: Workspace):
    plan = loud.quantize("--dry-run", "--float-type", "fp16")
    assert "float rest    FP16; calibration may find more that stay FP32" in plan.out
    document = loud.quantize("--dry-run", "--float-type", "fp16", "--json").document["plan"]["float_rest"]
    assert (document["casts"], document["unobserved"]) == (None, None)
    assert not loud.output.exists()


def test_the_page_has_a_section_about_the_rest(loud: Workspace):
    page = loud.folder / "page.html"
    assert loud.quantize("--float-type", "fp16", "--report", page).code == 0
    assert "Float rest" in page.read_text()


def test_recovered_models_are_looked_at_as_they_became(loud: Workspace):
    report = halved(loud, "--recover-step", "equalize", "--recover-step", "bias")
    assert report["float_rest"]["unobserved"] == []
    assert all(np.isfinite(array).all() for array in outputs_of(loud.output, loud.arrays))


def test_tune_writes_the_rest_in_its_type(space: Workspace):
    done = qdq(
        "tune", space.model, "--calib", space.arrays, "--min-sqnr", "25", "--no-recover", "--float-type", "fp16",
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.document["quantize"]["float_rest"]["float_type"] == "fp16"
    assert types_of(space.output)["second"] == HALF


def half_model(folder: Path) -> Workspace:
    """The small convnet with FP16 weights and input."""
    space = make_workspace(folder)
    done = qdq("convert", space.model, "--no-keep-io-types", "-o", space.folder / "half.onnx")
    assert done.code == 0, done.err
    (space.folder / "half.onnx").replace(space.model)
    images = np.load(space.arrays)["images"]
    np.savez(space.arrays, images=images.astype(np.float16))
    return space


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_a_model_of_another_float_type_is_refused(tmp_path: Path, kind: str):
    space = half_model(tmp_path)
    done = space.quantize("--float-type", kind)
    assert done.code == 3
    assert f"is FP16 already, and cannot become {kind.upper()}." in done.err
    assert not space.output.exists()


def test_a_model_of_the_type_stays_as_it_is(tmp_path: Path):
    space = half_model(tmp_path)
    done = space.quantize("--float-type", "fp16")
    assert done.code == 0, done.err
    assert "has FP16 weights or inputs already, so --float-type fp16 changes nothing." in done.err
    assert "by a twin that rounds what kernels store" in " ".join(done.out.split())
    asked = space.output.read_bytes()
    assert space.quantize("--trt", "11").code == 0
    assert space.output.read_bytes() == asked


def test_a_quantized_model_is_converted_by_another_command(space: Workspace):
    assert space.quantize().code == 0
    done = qdq("quantize", space.output, "--float-type", "fp16", "-o", space.folder / "again.onnx")
    assert done.code == 2
    assert "qdq convert" in done.err
    kept = qdq("quantize", space.output, "--trt", "11", "-o", space.folder / "again.onnx")
    assert kept.code == 0
    assert (space.folder / "again.onnx").read_bytes() == space.output.read_bytes()


def test_a_concat_of_fp16_branches_is_joined_on_codes(tmp_path: Path):
    """ONNX Runtime's default session refuses it otherwise."""
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    both = net.concat(net.conv(x, 32, "left", scale=None), net.conv(x, 32, "right", scale=None), name="join")
    space = make_workspace(tmp_path, net.proto(net.conv(both, 32, "last", scale=None)))
    assert halved(space)["verification"]["default_session"]["error"] == ""
    graph = onnx.load(space.output).graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    (join,) = (node for node in graph.node if node.op_type == "Concat")
    assert {made[name] for name in join.input} == {"QuantizeLinear"}
