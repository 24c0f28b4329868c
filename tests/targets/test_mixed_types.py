"""`--type-of GLOB=TYPE`: one plan with several types, what it writes, and who refuses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto

from qdq_cli import PlanConfig
from qdq_cli.config.forms import QuantType
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.known import target_for, target_for_types
from tests.networks import Network
from tests.workspace import Workspace, make_workspace

INT8, FP8, INT4 = TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.INT4


def network() -> onnx.ModelProto:
    """Two products of one tensor, then a third; a grouped convolution beside them."""
    net = Network()
    x = net.input("x", ("N", 16, 128))
    left = net.op("MatMul", x, net.constant(net.weight(128, 128)), name="left")
    right = net.op("MatMul", x, net.constant(net.weight(128, 128)), name="right")
    joined = net.relu(net.op("Add", left, right))
    net.op("MatMul", joined, net.constant(net.weight(128, 64)), name="last")
    image = net.op("Reshape", x, net.constant(np.array([-1, 16, 8, 16], np.int64)))
    net.op("Identity", net.conv(image, 16, "grouped", group=16, scale=None), name="picture")
    net.op("Identity", "last", name="scores")
    return net.proto("picture", "scores")


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, network())
    np.savez(made.arrays, x=np.random.default_rng(1).normal(size=(24, 16, 128)).astype(np.float32))
    return made


def codes_read(model: onnx.ModelProto, reader: str) -> tuple[int | None, int | None]:
    """Types of the codes behind data and weight of a product; None where it reads floats."""
    made = {output: node for node in model.graph.node for output in node.output}
    held = {item.name: item.data_type for item in model.graph.initializer}
    node = next(node for node in model.graph.node if node.name == reader)
    found = []
    for name in node.input[:2]:
        dq = made.get(name)
        coded = dq is not None and dq.op_type == "DequantizeLinear"
        found.append(held[dq.input[2]] if coded and dq is not None else None)
    return found[0], found[1]


def test_each_operator_reads_the_type_it_is_given_and_two_types_of_a_tensor_have_a_scale_each(space: Workspace):
    document = space.quantize(
        "--type-of", "r*=fp8", "--type-of", "last=int4-weights", "--block-size", 64, "--json"
    ).document
    model = onnx.load(space.output)
    onnx.checker.check_model(model, full_check=True)
    assert codes_read(model, "left") == (INT8, INT8)
    assert codes_read(model, "right") == (FP8, FP8)
    assert codes_read(model, "last") == (None, INT4)
    assert {(target["tensor"], target["type"]) for target in document["targets"] if target["tensor"] == "x"} == {
        ("x", "int8"),
        ("x", "float8e4m3fn"),
    }
    scales = [node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "x"]
    assert len(set(scales)) == 2
    assert (document["opset"], document["trt"], document["weighted_ops"]["quantized"]) == (21, "10", 4)
    assert {weight["use"]["node"]: weight["type"] for weight in document["weights"]} == {
        "left": "int8", "right": "float8e4m3fn", "last": "int4", "grouped": "int8"
    }  # fmt: skip
    assert document["verification"]["outputs"]["scores"]["sqnr_db"] > 12


def test_the_scale_of_each_type_is_that_of_a_plan_of_this_type_alone(space: Workspace):
    options = ("--method", "minmax", "--exclude", "grouped", "--exclude", "last", "--json")
    mixed = space.quantize("--type-of", "right=fp8", *options).document
    alone = space.quantize("--type", "fp8", "--exclude", "left", *options).document
    by_type = {target["type"]: mixed["amax"][target["group"]] for target in mixed["targets"]}
    assert by_type["float8e4m3fn"] == alone["amax"][0]


def test_the_last_pattern_that_matches_holds_and_a_file_has_them_as_lines(space: Workspace):
    lines = space.folder / "types.txt"
    lines.write_text("# all of them\n*t=fp8\n\nright = int8-weights\n", encoding="utf-8")
    found = [
        space.quantize(*options, "--json").document["weights"]
        for options in (("--type-of", lines), ("--type-of", "*t=fp8", "--type-of", "right=int8-weights"))
    ]
    assert found[0] == found[1]
    assert {weight["use"]["node"]: (weight["type"], weight["alone"]) for weight in found[0]} == {
        "left": ("float8e4m3fn", False), "right": ("int8", True), "last": ("float8e4m3fn", False),
        "grouped": ("int8", False),
    }  # fmt: skip


def test_one_type_for_all_is_the_plan_of_that_type(space: Workspace):
    one = space.quantize("--type", "fp8", "--json").document
    other = space.quantize("--type-of", "*=fp8", "--no-group-rules", "--json").document
    kept = [weight for weight in other["weights"] if weight["use"]["node"] != "grouped"]
    assert kept == one["weights"]


def test_the_summary_and_a_plan_count_the_types(space: Workspace):
    done = space.quantize("--type-of", "right=fp8")
    assert "4 of 4 weighted operators; 3 INT8, 1 FP8;" in " ".join(done.out.split())
    assert "--int8 --fp16 --fp8" in done.out
    plan = space.quantize("--type-of", "right=fp8", "--dry-run")
    assert "--type-of ..." in plan.out


@pytest.mark.parametrize(
    ("options", "found", "hint"),
    [
        (["--type-of", "nothing=fp8"], "--type-of 'nothing' matches no weighted operator", "--dry-run -v"),
        (["--type-of", "righ=fp8"], "--type-of 'righ' matches no weighted operator", "right"),
        (["--type-of", "right=fp9"], "no GLOB=TYPE", "fp8"),
        (["--type-of", "=fp8"], "no GLOB=TYPE", ""),
        (["--type-of", "missing.txt"], "neither GLOB=TYPE nor a text file", "a file of such lines"),
        (["--type-of", "grouped=int4-weights"], "Conv 'grouped' cannot have INT4 weights: a convolution", "Leave"),
        (["--type-of", "grouped=fp8"], "Conv 'grouped' cannot have FP8: grouped", "another type"),
        (["--type-of", "right=fp8", "--gpu", "sm86"], "sm86 has no units for FP8", "sm89"),
        (["--type-of", "right=int4-weights", "--gpu", "sm75"], "sm75 has no units for INT4 weights", "sm80"),
        (["--type-of", "right=fp8", "--trt", "8.6"], "TensorRT 8.6 has no FP8", "--trt 10"),
        (["--type-of", "right=fp8", "--form", "int8-regions"], "does not read --form int8-regions", "pairs"),
        (["--type-of", "right=fp8", "--target", "onnxruntime"], "no kernels on FP8", "tensorrt"),
        (["--type-of", "right=fp8", "--block-size", 64], "--block-size has no meaning", "int4-weights"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(space: Workspace, options: list[object], found: str, hint: str):
    refused = space.quantize(*options)
    assert refused.code == 2, refused.err
    assert found in refused.err
    assert hint in refused.err
    assert not space.output.exists()


def test_a_pattern_may_hold_operators_that_cannot_beside_those_that_can(space: Workspace):
    plan = space.quantize("--type-of", "*=int4-weights", "--block-size", 64, "--dry-run", "--json").document["plan"]
    kept = {skip["node"]: skip["code"] for skip in plan["skips"] if skip["op_type"] != "Add"}
    assert kept == {"grouped": "ALONE_CONV"}


def test_weights_alone_may_be_the_rule_and_int8_the_exception(space: Workspace):
    document = space.quantize("--type", "int8-weights", "--type-of", "left=int8", "--json").document
    model = onnx.load(space.output)
    assert codes_read(model, "left") == (INT8, INT8)
    assert codes_read(model, "right") == codes_read(model, "last") == (None, INT8)
    assert document["calibration"]["samples"] > 0


def test_recovery_takes_what_each_type_has_a_use_for(space: Workspace):
    steps = [option for step in ("ranges", "gptq", "scales", "bias") for option in ("--recover-step", step)]
    types = ("--type-of", "right=fp8", "--type-of", "last=int4-weights", "--block-size", 64)
    done = space.quantize(*types, *steps, "--json")
    assert done.code == 0, done.err
    tried = {step["step"]: step["tried"] for step in done.document["recovery"]["steps"]}
    assert set(tried) == {"ranges", "gptq", "scales", "bias"}
    assert tried["gptq"] <= 3  # FP8 has no even steps


def test_tuning_and_sensitivity_go_through_a_plan_of_several_types(space: Workspace):
    from tests.workspace import qdq

    types = ("--type-of", "right=fp8", "--type-of", "last=int8-weights")
    found = qdq("sensitivity", space.model, "--calib", space.arrays, *types, "--json")
    assert {entry["name"] for entry in found.document["operators"]} == {"left", "right", "last", "grouped"}
    tuned = space.quantize(*types, "--tune", "--min-sqnr", 20)
    assert tuned.code in (0, 5), tuned.err


def test_onnxruntime_computes_on_integers_beside_weights_alone(space: Workspace):
    document = space.quantize(
        "--target", "onnxruntime", "--type-of", "last=int4-weights", "--no-time", "--json"
    ).document
    kinds = {weight["use"]["node"]: weight["alone"] for weight in document["weights"]}
    assert kinds["last"] and not kinds["left"]
    assert document["verification"]["outputs"]["scores"]["sqnr_db"] > 12


def test_the_whole_of_several_types_has_what_all_of_them_have():
    config = PlanConfig(type=QuantType.INT4_WEIGHTS, type_of=("*head=fp8", "*=int8"))
    target = target_for("tensorrt", config)
    assert [part.type for part in target.parts] == [QuantType.INT4_WEIGHTS, QuantType.FP8, QuantType.INT8]
    assert target.lowest_opset == 21
    assert [gpu.value for gpu in target.gpus] == ["sm89", "sm90", "sm100", "sm120"]
    assert target.type_title == "INT4 weights, FP8 and INT8"


def test_a_table_of_several_types_plans_the_first_where_no_operator_is_given_another():
    model = prepare(ir.from_proto(network())).model
    config = PlanConfig()
    several = target_for_types((QuantType.INT8, QuantType.FP8, QuantType.INT8_WEIGHTS), "tensorrt", config)
    found, alone = (make_plan(model, target, config) for target in (several, target_for("tensorrt", config)))
    assert several.parts
    assert set(found.quantized) == set(alone.quantized)
    assert set(found.weights) == set(alone.weights)
    assert sorted(target.tensor for target in found.targets) == sorted(target.tensor for target in alone.targets)


def test_the_summary_and_the_page_tell_weights_alone_from_what_is_computed_in_a_type(space: Workspace):
    page = space.folder / "page.html"
    done = space.quantize("--type-of", "r*=fp8", "--type-of", "last=int8-weights", "--report", page)
    told = " ".join(done.out.split())
    assert "3 of 4 weighted operators in INT8 and FP8 1 more read INT8 weights and compute in float" in told
    assert "activation traffic in INT8 and FP8 stand-alone" in told
    assert "1 more read INT8 weights and compute in float" in page.read_text()


@pytest.mark.parametrize(("kind", "said"), [("int8", True), ("int4-weights", False), ("nvfp4", False)])
def test_only_weights_that_are_floats_are_said_to_be(space: Workspace, kind: str, said: bool):
    done = space.quantize("--type", kind, "--only", "last", "--experimental")
    assert ("weights stay stored as floats" in done.out) is said, done.err
