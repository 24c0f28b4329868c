"""ONNX Runtime as a target: its default session computes on integers what the plan says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from qdq_cli import (
    CalibrateConfig,
    DataConfig,
    PlanConfig,
    QuantizeConfig,
    RangeConfig,
    VerifyConfig,
    quantize,
    quantize_model,
)
from qdq_cli.calibrating.calibrate import calibrate_model
from qdq_cli.calibrating.judged import looked_at
from qdq_cli.config.forms import BUILT_BY_NVIDIA, Cpu, WeightForm
from qdq_cli.model.saturated import saturate_products
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.processor import described
from qdq_cli.quantizing.report import Report
from qdq_cli.targets.known import TARGETS, plans_for_others
from qdq_cli.targets.onnxruntime.processors import written_for
from tests.networks import Network
from tests.workspace import SAMPLES, qdq

MODEL, IMAGES = SAMPLES / "digits_resnet.onnx", SAMPLES / "images" / "digits"
NAME = "onnxruntime"
DATA = DataConfig(calib=(IMAGES,), preprocess="unit", samples=48)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    output = tmp_path_factory.mktemp("onnxruntime") / "digits.onnx"
    whole = PlanConfig(channel_rules=False)
    return quantize_model(QuantizeConfig(MODEL, output, DATA, whole, verify=VerifyConfig(samples=16), target=NAME))


def optimized(path: str, folder: Path) -> onnx.ModelProto:
    """What the default session makes of a model, as far as it holds on every processor."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


FLOOR_DB = 30.0
"""Measured: 37 dB, literally and by default."""


def test_integers_from_end_to_end(report: Report, tmp_path: Path):
    found = Counter(node.op_type for node in optimized(report.output, tmp_path).graph.node)
    assert report.weighted_ops.quantized == found["QLinearConv"] + found["QGemm"]
    assert (found["QuantizeLinear"], found["Conv"], found["Gemm"]) == (1, 0, 0)
    assert found["QLinearAdd"] > 0
    outputs = report.verification.outputs["scores"]
    assert outputs.sqnr_db > FLOOR_DB
    assert report.verification.default_session.sqnr_db["scores"] > FLOOR_DB


def test_weights_are_stored_as_integers_unless_asked_otherwise(report: Report):
    graph = onnx.load(report.output).graph
    sizes = {tensor.name: np.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == 1}
    assert max(sizes.values()) <= 64  # scales alone are floats
    assert QuantizeConfig(MODEL, target=NAME).weight_form is WeightForm.INT8
    assert QuantizeConfig(MODEL, target=NAME, weights=WeightForm.FP32).weight_form is WeightForm.FP32
    assert QuantizeConfig(MODEL).weight_form is WeightForm.FP32


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stays"),
    [(3, 16, 3, True), (1, 64, 3, True), (3, 64, 3, False), (4, 16, 3, False), (6, 16, 3, True), (3, 16, 1, False)],
)
def test_a_convolution_that_copies_few_bytes_at_a_time_stays_float(inputs: int, outputs: int, kernel: int, stays: bool):
    net = Network()
    first = net.relu(net.conv(net.input("x", (1, inputs, 8, 8)), outputs, "first", kernel=kernel, scale=None), "r")
    net.conv(first, 32, "second", scale=None)
    model = prepare(net.model("second")).model
    plan = make_plan(model, TARGETS[NAME], PlanConfig())
    assert [skip.node for skip in plan.skips if skip.code == "FEW_BYTES"] == (["first"] if stays else [])
    for config in (PlanConfig(channel_rules=False), PlanConfig(integer_io=True)):
        assert "first" in make_plan(model, TARGETS[NAME], config).quantized


def test_a_dry_run_shows_the_plan():
    shown = qdq("quantize", MODEL, "--target", "onnxruntime", "--dry-run")
    assert shown.code == 0
    assert "plan" in shown.out
    assert "TensorRT" not in shown.out


def test_a_dry_run_predicts_what_becomes_of_the_result():
    shown = qdq("quantize", MODEL, "--target", NAME, "--dry-run")
    assert "predicted for the result:" in shown.out and "12 QLinearConv, 5 QLinearAdd" in shown.out
    found = qdq("quantize", MODEL, "--target", NAME, "--dry-run", "--json").document
    assert found == qdq("inspect", MODEL, "--target", NAME, "--json").document | {"plan": found["plan"]}
    assert found["plan"]["weighted_ops"] == {"total": 14, "quantized": 13}


def test_targets_without_a_prediction_are_known():
    assert {name for name, target in TARGETS.items() if target.predictor is None} == set()
    assert {name for name, target in TARGETS.items() if target.fuse is None} == set(BUILT_BY_NVIDIA)


PROCESSORS = {
    ("x86_64", "flags\t\t: fpu avx2 avx512f avx512_vnni"): Cpu.VNNI,
    ("AMD64", "flags : avx2 avx_vnni\nflags : avx2"): Cpu.VNNI,
    ("x86_64", "vendor_id : x\nflags : fpu avx2 avx512f"): Cpu.AVX2,
    ("x86_64", ""): Cpu.AVX2,  # it does not tell: what is exact everywhere
    ("aarch64", "Features : asimd"): Cpu.ARM,
    ("arm64", ""): Cpu.ARM,
}


@pytest.mark.parametrize("said", PROCESSORS)
def test_the_processor_is_read_from_what_the_machine_says(said: tuple[str, str]):
    machine, cpuinfo = said
    assert written_for(machine, described(cpuinfo)) is PROCESSORS[said]


def stored(path: str | Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize(
    ("cpu", "activations", "largest"), [("vnni", "uint8", 127), ("avx2", "uint8", 64), ("arm", "int8", 127)]
)
def test_each_processor_gets_its_integers(cpu: str, activations: str, largest: int, tmp_path: Path):
    config = QuantizeConfig(MODEL, tmp_path / "m.onnx", DATA, verify=VerifyConfig(samples=8), target=NAME, cpu=cpu)
    report = quantize_model(config)
    assert (report.processor, report.activation_type, report.weight_type) == (cpu, activations, "int8")
    weights = [array for name, array in stored(report.output).items() if name.endswith("_quantized") and array.ndim > 1]
    assert weights
    assert {array.dtype for array in weights} == {np.dtype(np.int8)}
    assert max(int(np.abs(array.astype(int)).max()) for array in weights) == largest
    assert report.verification.outputs["scores"].sqnr_db > FLOOR_DB - 6.1  # a bit is 6 dB
    assert report.verification.default_session.error == ""


def test_weights_of_seven_bits_saturate_nothing(tmp_path: Path):
    """Whatever the codes: 255 times any two neighbours fits into 16 bits."""
    config = QuantizeConfig(MODEL, tmp_path / "m.onnx", DATA, verify=VerifyConfig(samples=0), target=NAME, cpu="avx2")
    report = quantize_model(config)
    model = ir.serde.deserialize_model(optimized(report.output, tmp_path))
    found = saturate_products(model)
    assert (found.written, found.left) == (0, ())


def test_a_bias_added_behind_a_product_goes_into_its_kernel(tmp_path: Path):
    """ONNX Runtime makes a Gemm of both, which is on integers where the bias is INT32 or codes come out."""
    net = Network()
    product = net.op("MatMul", net.input("x", (2, 64)), net.constant(net.weight(64, 8), "w"), name="product")
    model = tmp_path / "head.onnx"
    onnx.save(net.proto(net.op("Add", product, net.constant(net.weight(8), "b"), name="sum")), model)
    samples = [{"x": np.random.default_rng(seed).normal(size=(2, 64)).astype(np.float32)} for seed in range(4)]
    output = tmp_path / "head.qdq.onnx"
    result = quantize(model, samples, target=NAME, verify=0)
    result.save(output)
    assert "QGemm" in {node.op_type for node in optimized(str(output), tmp_path).graph.node}
    assert (result.report.predicted.quantized_layers, result.report.weighted_ops.quantized) == (1, 1)


def test_what_is_written_for_is_said(tmp_path: Path):
    shown = qdq("quantize", MODEL, "--calib", IMAGES, "--preprocess", "unit", "--samples", 8, "--target", NAME, "--cpu",
        "avx2", "--verify", 0, "-o", tmp_path / "m.onnx")  # fmt: skip
    assert "weights have 7 bits" in shown.err
    refused = qdq("quantize", MODEL, "--cpu", "avx2", "--dry-run")
    assert refused.code == 2
    assert "--cpu names a processor, and TensorRT has none to choose" in refused.err


def test_a_file_says_what_it_was_written_for(tmp_path: Path):
    written = {}
    for target in ("tensorrt", "tensorrt-rtx", NAME, "openvino"):
        written[target] = tmp_path / f"{target}.onnx"
        done = qdq("quantize", MODEL, "--calib", IMAGES, "--preprocess", "unit", "--samples", 4, "--target", target,
            "--verify", 0, "--no-time", "-q", "-o", written[target])  # fmt: skip
        assert done.code == 0, done.err
    for asked in ("tensorrt", NAME):
        for target, path in written.items():
            told = " ".join(qdq("inspect", path, "--target", asked).err.split())
            assert ("The file says that it was written for" in told) == (target not in ("tensorrt", asked))
    told = " ".join(qdq("inspect", written[NAME]).err.split())
    assert f"written for ONNX Runtime; this is what TensorRT would make of it. --target {NAME} shows that." in told
    assert qdq("inspect", written["openvino"]).err.rstrip().endswith("--target openvino shows that.")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--type", "fp8"], "ONNX Runtime has no kernels on FP8"),
        (["--fail-on", "E"], "--fail-on names what TensorRT refuses"),
    ],
)
def test_inspect_refuses_what_it_has_no_answer_to_before_it_shows_anything(options: list[str], found: str):
    done = qdq("inspect", MODEL, "--target", NAME, *options)
    assert (done.code, done.out) == (2, "")
    assert found in done.err


def test_the_default_session_runs_nothing_on_integers_beside_fp16(tmp_path: Path):
    half, path = tmp_path / "half.onnx", tmp_path / "m.onnx"
    assert qdq("convert", MODEL, "--no-keep-io-types", "-q", "-o", half).code == 0
    done = qdq("quantize", half, "--calib", IMAGES, "--preprocess", "unit", "--target", NAME, "--samples", 4,
        "--verify", 0, "--no-time", "-o", path)  # fmt: skip
    said = " ".join(done.err.split())
    assert (done.code, path.exists()) == (3, False)
    assert "ONNX Runtime computes nothing on integers beside these. hint: Give the FP32 model." in said


def test_a_file_says_for_whom_it_is_to_every_command_that_takes_it(report: Report, tmp_path: Path):
    again = qdq("quantize", report.output, "-o", tmp_path / "again.onnx")
    assert "is quantized already for ONNX Runtime" in again.err
    assert "trtexec" not in again.out and "TensorRT" not in again.out
    assert again.out.split("\nnext")[-1].split() == ["qdq", "inspect", str(tmp_path / "again.onnx"), "--target", NAME]
    converted = qdq("convert", report.output, "-o", tmp_path / "half.onnx")
    assert "computes nothing on integers beside FP16: keep the FP32 one there." in converted.err
    assert "trtexec" not in converted.out
    migrated = qdq("migrate", report.output, "-o", tmp_path / "migrated.onnx")
    assert "was written for ONNX Runtime, and its Q/DQ stay where they are" in migrated.err
    assert "errors remain for TensorRT 11" in migrated.out and "trtexec" not in migrated.out
    metadata = {entry.key for entry in onnx.load(tmp_path / "migrated.onnx").metadata_props}
    assert "qdq.version" in metadata and "qdq.target" not in metadata


def test_the_next_command_of_a_calibration_keeps_what_it_was_for(tmp_path: Path):
    cache = tmp_path / "digits.qcal"
    common = ("--calib", IMAGES, "--preprocess", "unit", "--samples", 8)
    done = qdq("calibrate", MODEL, *common, "--target", NAME, "--integer-io", "-o", cache)
    said = done.out.split("\nnext")[-1].split()
    assert said == ["qdq", "quantize", str(MODEL), "--cache", str(cache), "--target", NAME, "--integer-io"]
    assert qdq(*said[1:], "-o", tmp_path / "m.onnx").code == 0


def test_a_cache_without_the_outputs_says_what_integer_outputs_need(tmp_path: Path):
    cache = tmp_path / "digits.qcal"
    assert qdq("calibrate", MODEL, "--calib", IMAGES, "--preprocess", "unit", "--samples", 8, "-o", cache).code == 0
    short = qdq("quantize", MODEL, "--cache", cache, "--target", "openvino", "--integer-io", "-o", tmp_path / "n.onnx")
    assert short.code == 4
    assert "Outputs that become integers have to be observed" in short.err


def test_the_next_command_of_a_plan_keeps_the_target_and_the_type():
    for options in (["--target", "openvino"], ["--target", "tensorrt-rtx", "--type", "fp8"], []):
        shown = qdq("quantize", MODEL, "--dry-run", *options)
        assert " ".join(["--calib FOLDER", *options]) in " ".join(shown.out.split())
        assert ("--target" in shown.out.split("\nnext")[-1]) == bool(options)


@pytest.mark.parametrize(
    ("options", "code", "found", "hint"),
    [
        (
            ["--gpu", "sm89"],
            2,
            "--gpu names a GPU, and what is quantized for ONNX Runtime runs on the CPU.",
            "--gpu out",
        ),
        (["--trt", "10"], 2, "--trt names a release of TensorRT", "Leave --trt out."),
        (["--float-type", "bf16"], 2, "computes nothing on integers beside BF16", "Leave --float-type out."),
        (["--float-type", "fp16"], 2, "computes nothing on integers beside FP16", "Leave --float-type out."),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_way_out(
    options: list[str], code: int, found: str, hint: str, tmp_path: Path
):
    path = tmp_path / "m.onnx"
    done = qdq("quantize", MODEL, "--calib", IMAGES, "--target", NAME, "--samples", 4, *options, "-o", path)
    assert (done.code, path.exists()) == (code, False)
    said = " ".join(done.err.split())
    assert found in said and hint in said


def test_a_cache_of_another_target_that_is_made_again_says_how_one_serves_both(tmp_path: Path):
    given = ("--calib", IMAGES, "--preprocess", "unit", "--samples", 8)
    cache, output = tmp_path / "digits.qcal", tmp_path / "q.onnx"
    assert qdq("calibrate", MODEL, *given, "--target", "openvino", "-o", cache).code == 0
    options = ("--cache", cache, "--target", NAME, "--integer-io", "--verify", 0)
    done = qdq("quantize", MODEL, *given, *options, "-o", output)
    said = " ".join(done.err.split())
    assert (done.code, "is made again" in said, "--every-target serves every target" in said) == (0, True, True)


def test_one_cache_serves_every_target(tmp_path: Path):
    cache = tmp_path / "digits.qcal"
    calibrate_model(CalibrateConfig(MODEL, cache, data=DATA, every_target=True))
    for target, integers in ((name, integers) for name in TARGETS for integers in {False, TARGETS[name].integer_io}):
        outputs = []
        for ranges in (RangeConfig(cache=cache), RangeConfig()):
            outputs.append(tmp_path / f"{target}.{integers}.{len(outputs)}.onnx")
            data = DataConfig() if ranges.cache else DATA
            verify = VerifyConfig(samples=0)
            plan = PlanConfig(integer_io=integers)
            config = QuantizeConfig(MODEL, outputs[-1], data, plan=plan, ranges=ranges, verify=verify, target=target)
            quantize_model(config)
        assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_cache_for_every_target_holds_what_each_judges_ranges_by():
    net = Network()
    big = net.relu(net.conv(net.input("x", (1, 32, 32, 32)), 64, "big", scale=None), "r")
    few = net.relu(net.conv(big, 2, "few", scale=None), "f")
    model = prepare(net.model(net.conv(few, 8, "small", kernel=1, scale=None))).model
    plan = make_plan(model, TARGETS["tensorrt"], PlanConfig())
    kept = looked_at(model, plan, *plans_for_others(plan, model, PlanConfig()))
    assert looked_at(model, plan).keys() < kept.keys()
    assert all(
        looked_at(model, make_plan(model, each, PlanConfig())).keys() <= kept.keys() for each in TARGETS.values()
    )
