"""Networks in the bodies of If, Loop and Scan: observed over all rounds, quantized where they are, and predicted."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from calibrators import read_cache
from qdq_cli.model.nodes import every_node
from qdq_cli.model.scales import is_dequantize
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, samples
from tests.commands.test_models import assert_sound, given_arrays
from tests.workspace import Workspace, make_workspace, qdq

COUNT = 12
EVERY = {
    "branches": (BRANCHES, {"c": np.arange(COUNT) % 2 == 0}),
    "rounds": (ROUNDS, {"n": np.arange(COUNT) % 4}),
    "nested": (NESTED, {"n": 1 + np.arange(COUNT) % 3, "c": np.arange(COUNT) % 2 == 0}),
    "scanned": (SCANNED, {"rows": np.random.default_rng(3).normal(size=(COUNT, 4, 2, 16)).astype(np.float32)}),
}


def space_of(folder: Path, name: str) -> tuple[Workspace, dict[str, np.ndarray]]:
    text, others = EVERY[name]
    arrays = {"x": samples(COUNT), **others}
    space = make_workspace(folder, bodies(text))
    given_arrays(space, arrays)
    return space, {name: np.asarray(array[1]) for name, array in arrays.items()}


@pytest.mark.parametrize("name", EVERY)
def test_all_is_quantized_and_stays_close(tmp_path: Path, name: str):
    space, feed = space_of(tmp_path, name)
    document = assert_sound(space, feed, 18)
    assert document["weighted_ops"]["quantized"] == document["weighted_ops"]["total"]
    assert document["predicted"]["quantized_layers"] == document["weighted_ops"]["total"]


@pytest.mark.parametrize("name", EVERY)
def test_a_cache_makes_the_same_bytes(tmp_path: Path, name: str):
    space, _ = space_of(tmp_path, name)
    cache = tmp_path / "model.qcal"
    assert space.quantize("--cache", cache).code == 0
    first = space.output.read_bytes()
    assert space.quantize("--cache", cache, "-o", tmp_path / "again.onnx").code == 0
    assert (tmp_path / "again.onnx").read_bytes() == first
    assert qdq("quantize", space.model, "--cache", cache, "-o", tmp_path / "third.onnx").code == 0
    assert (tmp_path / "third.onnx").read_bytes() == first


def test_what_a_loop_is_handed_is_counted_in_every_round(tmp_path: Path):
    space, _ = space_of(tmp_path, "rounds")
    cache = tmp_path / "model.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache).code == 0
    rounds = int((np.arange(COUNT) % 4).sum())
    assert read_cache(cache).entries["s"].histogram.count == 2 * 16 * rounds


def test_a_branch_that_no_sample_takes_stays_float_with_its_reason(tmp_path: Path):
    """What it reads from outside has a range all the same, which serves its first product."""
    space, feed = space_of(tmp_path, "branches")
    given_arrays(space, {"x": samples(COUNT), "c": np.zeros(COUNT, bool)})
    cache = tmp_path / "model.qcal"
    document = assert_sound(space, {**feed, "c": np.array(True)}, 18, "--cache", cache)
    assert [(skip["node"], skip["code"]) for skip in document["skips"]] == [("MatMul_a", "NEVER_RUN")]
    assert document["weighted_ops"] == {"total": 4, "quantized": 3}
    first = space.output.read_bytes()
    assert qdq("quantize", space.model, "--cache", cache, "-o", space.output, "--json").code == 0
    assert space.output.read_bytes() == first
    exported = qdq("cache", "export", cache, "--format", "json", "-o", tmp_path / "ranges.json")
    assert (exported.code, exported.out) == (4, "")
    assert "calibrate on samples that take every branch" in exported.err


@pytest.mark.parametrize("taken", [np.arange(COUNT) % 2 == 0, np.arange(COUNT) < COUNT // 2])
def test_shares_that_take_one_branch_each_merge_to_a_single_run(tmp_path: Path, taken: np.ndarray):
    space, _ = space_of(tmp_path, "branches")
    given_arrays(space, {"x": samples(COUNT), "c": taken})

    def calibrated(name: str, *more: object) -> Path:
        assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", tmp_path / name, *more).code == 0
        return tmp_path / name

    whole, parts = calibrated("whole"), [calibrated(f"{k}", "--shard", f"{k}/{COUNT}") for k in range(1, COUNT + 1)]
    assert any(not entry.histogram.count for part in parts for entry in read_cache(part).entries.values())
    assert qdq("cache", "merge", *parts, "-o", tmp_path / "merged").code == 0
    assert (tmp_path / "merged").read_bytes() == whole.read_bytes()


def test_a_range_can_be_given_for_a_branch_that_no_sample_takes(tmp_path: Path):
    space, _ = space_of(tmp_path, "branches")
    given_arrays(space, {"x": samples(COUNT), "c": np.zeros(COUNT, bool)})
    done = space.quantize("--range", "r=3", "--json")
    assert done.code == 0, done.err
    assert done.document["weighted_ops"] == {"total": 4, "quantized": 4}


def test_inspect_says_of_the_result_what_it_says_of_the_plan(tmp_path: Path):
    space, _ = space_of(tmp_path, "nested")
    planned = qdq("inspect", space.model, "--json").document
    assert space.quantize().code == 0
    found = qdq("inspect", space.output, "--json").document
    assert found["summary"]["weighted_quantized"] == planned["summary"]["weighted_quantized"] == 3
    assert found["summary"]["boundary"] == planned["summary"]["boundary"]
    assert [layer["name"] for layer in found["layers"]] == [layer["name"] for layer in planned["layers"]]
    edges = [entry["because"] for entry in found["standalone"] if entry["reason"] == "BOUNDARY_INPUT"]
    assert "'s' comes into the body of Loop 'Loop_y' in float (P16)." in edges


@pytest.mark.parametrize("command", ["sensitivity", "tune"])
def test_operators_in_bodies_can_be_measured_and_left_float(tmp_path: Path, command: str):
    space, _ = space_of(tmp_path, "branches")
    limit = ("--min-sqnr", "60") if command == "tune" else ()
    done = qdq(command, space.model, "--calib", space.arrays, *limit, "--json")
    assert done.code in (0, 5), done.err


def test_tuning_counts_the_work_in_bodies(tmp_path: Path):
    """All of the network is in a Loop and a branch in it: the first sample takes one of the branches."""
    space, _ = space_of(tmp_path, "nested")
    asked = ("tune", space.model, "--calib", space.arrays, "-o", space.output, "--json", "--no-recover")
    everything = qdq(*asked, "--min-sqnr", 10, "--min-int8-macs", 100).document
    assert everything["met"]
    least = everything["frontier"][0]["sqnr_db"] + 3
    found = qdq(*asked, "--min-sqnr", least, "--min-int8-macs", 40).document
    assert found["met"]
    chosen = found["frontier"][found["chosen"]]
    assert chosen["left_float"]
    assert chosen["quantized_macs_percent"] == pytest.approx(50.0)
    assert chosen["sqnr_db"] >= least


def test_tuning_chooses_types_in_bodies(tmp_path: Path):
    """What is written has the types of the report, and the command it names writes the same bytes."""
    space, _ = space_of(tmp_path, "nested")
    asked = ("--gpu", "sm89", "--types", "int8,fp8", "--min-sqnr", 38, "--no-recover")
    done = qdq("tune", space.model, "--calib", space.arrays, "-o", space.output, *asked)
    assert done.code == 0, done.err
    assert "INT8, FP8 or float for each of 3 operators" in done.out
    assert "2 INT8, 1 float; 82.3% of the predicted time" in done.out
    assert qdq(*again_of(done.out), "-o", tmp_path / "again.onnx").code == 0
    assert (tmp_path / "again.onnx").read_bytes() == space.output.read_bytes()


def test_an_operator_of_a_branch_that_no_sample_takes_has_no_noise_by_type(tmp_path: Path):
    space, _ = space_of(tmp_path, "branches")
    given_arrays(space, {"x": samples(COUNT), "c": np.zeros(COUNT, bool)})
    found = qdq("sensitivity", space.model, "--calib", space.arrays, "--types", "int8,fp8", "--json").document
    assert {row["name"] for row in found["by_type"]} == {"MatMul_z", "MatMul_h", "MatMul_h_1"}
    assert all(row["float_bytes"] for row in found["by_type"])


@pytest.mark.parametrize("name", EVERY)
def test_recovery_works_in_bodies_and_makes_the_same_bytes(tmp_path: Path, name: str):
    space, feed = space_of(tmp_path, name)
    document = assert_sound(space, feed, 18, "--recover", "--threads", 1)
    recovery = document["recovery"]
    assert recovery["after_db"] >= recovery["before_db"]
    assert any(step["tried"] for step in recovery["steps"])
    first = space.output.read_bytes()
    assert space.quantize("--recover", "--threads", 2).code == 0
    assert space.output.read_bytes() == first


def test_recovery_says_what_it_leaves_alone_because_no_sample_runs_it(tmp_path: Path):
    """One sample takes the first branch: it is among those to learn from, and none that is set aside does."""
    space, feed = space_of(tmp_path, "branches")
    given_arrays(space, {"x": samples(COUNT), "c": np.arange(COUNT) == 1})
    document = assert_sound(space, feed, 18, "--recover")
    assert document["weighted_ops"] == {"total": 4, "quantized": 4}
    said = "Recovery leaves 1 operator as calibration found it, in branches that too few samples take: MatMul_h."
    assert said in document["notes"]


def test_the_command_that_tune_prints_recovers_and_leaves_float_in_bodies(tmp_path: Path):
    space, _ = space_of(tmp_path, "nested")
    asked = ("tune", space.model, "--calib", space.arrays, "-o", space.output)
    least = qdq(*asked, "--min-sqnr", 10, "--json", "--no-recover").document["frontier"][0]["sqnr_db"] + 4
    done = qdq(*asked, "--min-sqnr", least, "--recover-step", "ranges", "--recover-step", "bias")
    assert done.code == 0, done.err
    assert "1 operator left float" in done.out
    assert qdq(*again_of(done.out), "-o", tmp_path / "again.onnx").code == 0
    assert (tmp_path / "again.onnx").read_bytes() == space.output.read_bytes()


def again_of(shown: str) -> list[str]:
    """The arguments of the command that tune shows."""
    return shlex.split(shown.partition("the same model without tuning:\n")[2].replace("\\\n", ""))[1:]


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("name", EVERY)
def test_the_float_rest_in_bodies_has_its_type(tmp_path: Path, name: str, kind: str):
    """A twin is verified; from a cache, without running, the same bytes come."""
    space, _ = space_of(tmp_path, name)
    cache = tmp_path / "model.qcal"
    done = space.quantize("--float-type", kind, "--cache", cache, "--json")
    assert done.code == 0, done.err
    rest = done.document["float_rest"]
    assert {kept["code"] for kept in rest["kept"]} <= {"BODY", "ISLAND"}
    assert rest["unobserved"] == []
    assert min(found["sqnr_db"] for found in done.document["verification"]["outputs"].values()) > 18
    first = space.output.read_bytes()
    again = qdq("quantize", space.model, "--cache", cache, "-o", space.output, "--float-type", kind)
    assert (again.code, space.output.read_bytes() == first) == (0, True), again.err


def test_a_branch_that_no_sample_takes_stays_fp32_where_it_may_leave_the_type(tmp_path: Path):
    space, _ = space_of(tmp_path, "branches")
    given_arrays(space, {"x": 1e4 * samples(COUNT), "c": np.zeros(COUNT, bool)})
    done = space.quantize("--float-type", "fp16", "--json")
    kept = {kept["node"]: kept["code"] for kept in done.document["float_rest"]["kept"]}
    assert (kept["MatMul_h"], kept["MatMul_a"]) == ("NEVER_TAKEN", "NEVER_TAKEN")


TYPES = {"fp8": "FLOAT8E4M3FN", "int8-weights": "INT8", "int4-weights": "INT4"}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", EVERY)
def test_every_type_serves_bodies(tmp_path: Path, name: str, kind: str):
    space, _ = space_of(tmp_path, name)
    small = ("--block-size", "16", "--target", "onnxruntime", "--no-time") if kind == "int4-weights" else ()
    done = space.quantize("--type", kind, "--json", *small)
    assert done.code == 0, done.err
    assert done.document["weighted_ops"]["quantized"] == done.document["weighted_ops"]["total"]
    assert min(found["sqnr_db"] for found in done.document["verification"]["outputs"].values()) > 12


@pytest.mark.parametrize("kind", ["fp8", "int8-weights"])
def test_operators_in_bodies_have_types_of_their_own(tmp_path: Path, kind: str):
    """Of a branch, of a Loop that holds it, and of the main graph."""
    space, _ = space_of(tmp_path, "nested")
    done = space.quantize("--type-of", f"MatMul_a={kind}", "--json")
    assert done.code == 0, done.err
    weights = {each["use"]["node"]: (each["type"], each["alone"]) for each in done.document["weights"]}
    assert weights["MatMul_a"] != weights["MatMul_p"] == weights["MatMul_b"] == ("int8", False)
    assert done.document["weighted_ops"] == {"total": 3, "quantized": 3}
    stored = {node.inputs[0].dtype.name for node in every_node(ir.load(space.output).graph) if is_dequantize(node)}
    assert stored == {"INT8", TYPES[kind]}


def test_a_type_of_everything_holds_in_bodies(tmp_path: Path):
    space, _ = space_of(tmp_path, "rounds")
    assert space.quantize("--type-of", "*=fp8").code == 0
    codes = {node.inputs[0].dtype for node in every_node(ir.load(space.output).graph) if is_dequantize(node)}
    assert codes == {ir.DataType.FLOAT8E4M3FN}
    refused = space.quantize("--type-of", "nothing=fp8")
    assert refused.code == 2
