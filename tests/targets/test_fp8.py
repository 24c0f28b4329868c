"""`--type fp8`: E4M3 codes on operators that have kernels for them, legality by GPU and release, what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from qdq_cli import PlanConfig
from qdq_cli.config.forms import Gpu, QuantType
from qdq_cli.targets.known import target_for
from qdq_cli.targets.tensorrt.fp8 import GPUS, MOST_TAPS
from qdq_cli.targets.tensorrt.gpus import GPUS as UNITS
from qdq_cli.targets.tensorrt.gpus import Use
from qdq_cli.targets.tensorrt.trtexec import takes
from tests.networks import Network
from tests.workspace import Workspace, make_workspace, qdq

FP8 = TensorProto.FLOAT8E4M3FN


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def kinds() -> Network:
    """Convolutions that have FP8 kernels, and those that have none."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, 16, 16)), 32, "plain", scale=None))
    x = net.relu(net.conv(x, 32, "grouped", group=32, scale=None))
    x = net.relu(net.conv(x, 32, "large", kernel=7, scale=None))
    x = net.relu(net.conv(x, 32, "middle", scale=None))
    up = net.op("ConvTranspose", x, net.constant(net.weight(32, 32, 2, 2)), name="up", strides=[2, 2])
    net.op("Identity", net.conv(x, 32, "last", scale=None), name="scores")
    net.op("Identity", up, name="picture")
    return net


def scales_of(model: onnx.ModelProto, tensor: str) -> np.ndarray:
    held = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    return held[next(node.input[1] for node in model.graph.node if node.input[0] == tensor)]


def test_codes_are_e4m3_and_the_scale_is_amax_by_448(space: Workspace):
    report = space.quantize("--type", "fp8", "--method", "minmax", "--json").document
    assert (report["activation_type"], report["weight_type"]) == ("float8e4m3fn", "float8e4m3fn")
    assert (report["opset"], report["trt"]) == (19, "10")
    model = onnx.load(space.output)
    onnx.checker.check_model(model, full_check=True)
    held = {item.name: item for item in model.graph.initializer}
    halves = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert halves
    assert {held[node.input[2]].data_type for node in halves} == {FP8}
    for group, amax in zip(report["groups"], report["amax"], strict=True):
        np.testing.assert_allclose(scales_of(model, group["observed"][0]), amax / 448, rtol=1e-6)
    for weight in report["weights"]:
        array = numpy_helper.to_array(held[weight["tensor"]])
        np.testing.assert_allclose(scales_of(model, weight["tensor"]), np.abs(array).max() / 448, rtol=1e-6)


def test_the_result_runs_literally_and_is_close(space: Workspace):
    report = space.quantize("--type", "fp8", "--json").document
    assert report["verification"]["outputs"]["scores"]["sqnr_db"] > 20


def test_what_has_no_fp8_kernel_stays_float_with_a_reason(tmp_path: Path):
    space = make_workspace(tmp_path, kinds().proto("scores", "picture"))
    plan = space.quantize("--type", "fp8", "--dry-run", "--json").document["plan"]
    codes = {skip["node"]: skip["code"] for skip in plan["skips"] if skip["op_type"].startswith("Conv")}
    assert codes == {"grouped": "FP8_GROUPED", "large": "FP8_LARGE_FILTER", "up": "NO_KERNEL"}
    both = space.quantize("--type", "fp8", "--no-group-rules", "--dry-run", "--json").document["plan"]
    assert "grouped" not in {skip["node"] for skip in both["skips"]}
    assert MOST_TAPS < 49


@pytest.mark.parametrize(
    ("options", "found", "hint"),
    [
        (["--gpu", "sm80"], "sm80 has no units for FP8", "sm89, sm90, sm100 or sm120"),
        (["--trt", "8.6"], "TensorRT 8.6 has no FP8", "--trt 10"),
        (["--form", "int8-regions"], "TensorRT does not read --form int8-regions", "pairs"),
        (["--weights", "int8-compat"], "TensorRT does not read --weights int8-compat for FP8.", "It reads fp32, int8."),
        (["--target", "onnxruntime"], "ONNX Runtime has no kernels on FP8", "--type int8"),
    ],
)
def test_where_there_is_no_fp8_nothing_is_written(space: Workspace, options: list[str], found: str, hint: str):
    refused = space.quantize("--type", "fp8", *options)
    assert refused.code == 2
    assert found in refused.err
    assert hint in refused.err
    assert not space.output.exists()


def test_tuning_refuses_a_gpu_without_units_and_takes_one_that_has_them(space: Workspace):
    common = ("tune", space.model, "--calib", space.arrays, "--min-sqnr", 1, "--type", "fp8", "--gpu")
    refused = qdq(*common, "sm80")
    assert (refused.code, "sm80 has no units for FP8" in refused.err, space.output.exists()) == (2, True, False)
    assert qdq(*common, "sm89").code == 0


def test_the_gpus_are_those_that_have_units_for_it():
    assert tuple(gpu for gpu in Gpu if Use.FP8 in UNITS[gpu].runs) == GPUS


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_the_commands_name_fp8_and_every_release_takes_them(name: str):
    target = target_for(name, PlanConfig(type=QuantType.FP8))
    assert target.builds is not None
    assert target.release is not None
    oldest = target.release(19, half=False, weights=target.weight_forms[0], asked=None)
    commands = [build.command for build in target.builds(oldest, half=False, asked=None)]
    assert not any("int8" in command for command in commands)
    assert takes("fp8", (10, 0), (10, 16))
    assert any("--fp8 --fp16" in command for command in commands) == (name == "tensorrt")


def test_the_rest_may_be_fp16_and_the_weights_stored_as_codes(space: Workspace):
    report = space.quantize("--type", "fp8", "--float-type", "fp16", "--weights", "int8", "--json").document
    model = onnx.load(space.output)
    onnx.checker.check_model(model, full_check=True)
    assert {item.data_type for item in model.graph.initializer if item.dims} >= {FP8, TensorProto.FLOAT16}
    assert report["verification"]["outputs"]["scores"]["sqnr_db"] > 20


def test_recovery_takes_the_steps_that_floats_have_a_use_for(space: Workspace):
    done = space.quantize("--type", "fp8", "--recover", "--json")
    assert done.code == 0
    assert "Recovery leaves out gptq: FP8 has no even steps" in done.err
    assert [step["step"] for step in done.document["recovery"]["steps"]] == ["equalize", "smooth", "ranges", "bias"]


def test_a_limit_on_the_macs_speaks_of_fp8(space: Workspace):
    done = space.quantize("--type", "fp8", "--min-int8-macs", 100, "--exclude-op", "Conv")
    assert (done.code, space.output.exists()) == (5, False)
    assert "of the MACs run in FP8; --min-int8-macs is 100 %." in " ".join(done.err.split())


def test_tuning_and_sensitivity_speak_of_fp8(space: Workspace):
    page = space.folder / "page.html"
    for command in ("tune", "sensitivity"):
        goal = ("--min-sqnr", 30, "-o", space.output) if command == "tune" else ()
        done = qdq(command, space.model, "--calib", space.arrays, "--type", "fp8", *goal, "--report", page)
        assert done.code in (0, 5), done.err
        assert "FP8" in done.out and "INT8" not in done.out + done.err
        assert "in FP8" in page.read_text("utf-8").lower().replace("fp8", "FP8")


def test_heavy_tails_keep_more_in_fp8_than_in_int8(tmp_path: Path):
    """One value in a thousand is 200 times the others: steps of INT8 swallow them, E4M3 has steps for each size."""
    net = Network()
    x = net.input("images", ("N", 16, 16, 16))
    space = make_workspace(tmp_path, net.proto(net.conv(x, 16, "scores", scale=None)))
    rng = np.random.default_rng(1)
    data = rng.normal(size=(24, 16, 16, 16)).astype(np.float32)
    data *= np.where(rng.random(data.shape) < 1e-3, 200, 1).astype(np.float32)
    np.savez(space.arrays, images=data)
    found = {
        kind: space.quantize("--type", kind, "--method", "minmax", "--json").document["verification"]["outputs"]
        for kind in ("fp8", "int8")
    }
    assert found["fp8"]["scores"]["sqnr_db"] > found["int8"]["scores"]["sqnr_db"] + 3


def test_a_cache_of_every_target_serves_fp8_too(tmp_path: Path):
    """A grouped convolution stays float in FP8, so that its residual Add quantizes another operand than in INT8."""
    net = Network()
    x = net.conv(net.input("images", ("N", 3, 16, 16)), 32, "first", scale=None)
    added = net.op("Add", net.conv(x, 32, "left", scale=None), net.conv(x, 32, "grouped", group=4, scale=None))
    space = make_workspace(tmp_path, net.proto(net.conv(added, 32, "last", scale=None)))
    cache = space.folder / "all.qcal"
    options = ("--all-int8", "--no-range-rules")
    made = qdq("calibrate", space.model, "--calib", space.arrays, "--every-target", *options, "-o", cache)
    assert made.code == 0, made.err
    done = qdq("quantize", space.model, "--cache", cache, "--type", "fp8", *options, "-o", space.output)
    assert done.code == 0, done.err
