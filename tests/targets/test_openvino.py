"""OpenVINO as a target: its own execution graph has on integers what the plan says, and its absence is a sentence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli import DataConfig, QuantizeConfig, VerifyConfig, quantize_model
from qdq_cli.config.forms import WeightForm
from qdq_cli.data.batches import Batch
from qdq_cli.process.errors import ModelError
from qdq_cli.quantizing.report import Report
from qdq_cli.running import openvino as runner
from qdq_cli.running.layers import RuntimeLayers
from qdq_cli.running.openvino import OpenVinoRunner, is_installed
from qdq_cli.targets.known import TARGETS
from qdq_cli.timing import runtimes
from qdq_cli.timing.measure import Effort
from qdq_cli.timing.models import time_models
from tests.networks import Network
from tests.timing.watches import in_turn
from tests.workspace import SAMPLES, Workspace, make_workspace, qdq

there = pytest.mark.skipif(not is_installed(), reason="OpenVINO is not installed")

PICTURES = {
    "digits_resnet": "digits", "digits_mobilenetv2": "digits", "digits_vit": "digits",
    "denoise_unet": "noisy_patches", "superres_fsrcnn": "small_patches",
}  # fmt: skip


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def quantized(model: Path, data: DataConfig, output: Path) -> Report:
    config = QuantizeConfig(model, output, data, verify=VerifyConfig(samples=8), target="openvino", time=False)
    return quantize_model(config)


@there
@pytest.mark.parametrize("name", PICTURES)
def test_what_is_planned_runs_on_integers(name: str, tmp_path: Path):
    data = DataConfig(calib=(SAMPLES / "images" / PICTURES[name],), preprocess="unit", samples=16)
    report = quantized(SAMPLES / f"{name}.onnx", data, tmp_path / "result.onnx")
    session = report.verification.default_session
    assert (session.runtime, session.error) == ("openvino", "")
    assert session.layers.integer == report.weighted_ops.quantized > 0
    assert session.layers.weighted <= report.weighted_ops.total  # products around a Softmax are one layer
    for output, at in session.sqnr_db.items():
        if name == "denoise_unet" and "for restored. Its kernels differ by processor" in session.text:
            continue  # the Conv behind its last Concat loses 16 dB on an AMD EPYC with VNNI, in OpenVINO 2026.4.1
        assert session.text == ""
        assert at == pytest.approx(report.verification.outputs[output].sqnr_db, abs=1.5)


def fed_codes(add: Callable[[Network, str], str], folder: Path) -> set[tuple[str, str]]:
    """What OpenVINO runs between two convolutions where an operator stands there: (kind of layer, precision)."""
    import openvino

    net = Network()
    x = net.relu(net.conv(net.input("x", (1, 16, 8, 8)), 16, "first", scale=None))
    net.conv(add(net, x), 16, "last", scale=None)
    onnx.save(net.proto("last"), folder / "model.onnx")
    values = np.random.default_rng(0).normal(size=(4, 16, 8, 8)).astype(np.float32)
    np.savez(folder / "x.npz", x=values)
    report = quantized(folder / "model.onnx", DataConfig(calib=(folder / "x.npz",)), folder / "result.onnx")
    assert report.weighted_ops.quantized == report.weighted_ops.total
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = runner.aside(lambda: openvino.Core().compile_model(folder / "result.onnx", "CPU", options))
    told = [operator.get_rt_info() for operator in compiled.get_runtime_model().get_ordered_ops()]
    return {(runner._text(info["layerType"]), runner._text(info["runtimePrecision"])) for info in told}


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


BETWEEN: dict[str, tuple[str, Callable[[Network, str], str]]] = {
    "MaxPool": ("Pooling", lambda net, x: net.maxpool(x)),
    "AveragePool": ("Pooling", lambda net, x: net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])),
    "GlobalAveragePool": ("Reduce", lambda net, x: net.op("GlobalAveragePool", x)),
    "ReduceMean": ("Reduce", lambda net, x: net.op("ReduceMean", x, axes=[2, 3], keepdims=1)),
    "ReduceMax": ("Reduce", lambda net, x: net.op("ReduceMax", x, axes=[2, 3], keepdims=1)),
    "Transpose": ("Transpose", lambda net, x: net.op("Transpose", x, perm=[0, 1, 3, 2])),
    "Reshape": ("Reshape", lambda net, x: net.op("Reshape", x, net.constant(ints(1, 16, 4, 16)))),
    "Slice": (
        "StridedSlice",
        lambda net, x: net.op("Slice", x, net.constant(ints(0)), net.constant(ints(4)), net.constant(ints(2))),
    ),
    "Resize": (
        "Interpolate",
        lambda net, x: net.op(
            "Resize", x, "", net.constant(np.array([1, 1, 2, 2], np.float32)),
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        ),
    ),
    "ConvTranspose": (
        "Deconvolution",
        lambda net, x: net.op("ConvTranspose", x, net.constant(net.weight(16, 16, 2, 2)), strides=[2, 2]),
    ),
}  # fmt: skip
"""Operator -> what its layer is called, and how it comes between two convolutions."""


@there
@pytest.mark.parametrize("name", BETWEEN)
def test_operators_of_the_table_run_on_codes(name: str, tmp_path: Path):
    kind, add = BETWEEN[name]
    assert TARGETS["openvino"].operators.rules[name] is not None
    found = {precision for each, precision in fed_codes(add, tmp_path) if each == kind}
    assert found & {"i8", "u8"}


@there
def test_a_residual_add_is_no_layer_of_its_own(tmp_path: Path):
    found = fed_codes(lambda net, x: net.relu(net.add(net.conv(x, 16, "middle", scale=None), x)), tmp_path)
    assert not {kind for kind, _ in found} & {"Eltwise", "FakeQuantize"}


def test_the_table():
    target = TARGETS["openvino"]
    assert (target.runtime, target.activations.symmetric, target.weight_forms[0]) == ("openvino", True, WeightForm.INT8)
    assert not {obstacle.code for obstacle in target.obstacles} & {"FEW_CHANNELS", "GROUP_ALIGN", "GEMV"}


@there
def test_the_summary_says_what_it_ran_and_how_fast(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    from qdq_cli.quantizing import speed

    monkeypatch.setattr(
        speed, "time_models", lambda *arguments, **more: time_models(*arguments, **more, clock=in_turn(3, 2, 201))
    )
    text = " ".join(space.quantize("--target", "openvino").out.split())
    assert "1.50 times as fast as FP32 on this CPU" in text
    assert "; OpenVINO 202" in text and ", floats in FP32 OpenVINO ran 4 of 4 weighted operators on integers" in text


@there
def test_it_is_timed_in_its_own_runtime(space: Workspace):
    batch = Batch({"images": np.load(space.arrays)["images"][:1]}, ("arrays",), 1)
    speed = time_models((space.model, space.model), batch, "openvino", Effort(0.0), in_turn(2, 2, 9))
    assert (speed.ratio, speed.rounds, speed.runtime.split()[0]) == (1.0, 9, "OpenVINO")


@there
def test_samples_that_must_not_be_written_are_timed_as_they_are(tmp_path: Path):
    net = Network(17)
    x, chosen = net.input("x", ("N", 4)), net.input("chosen", (), onnx.TensorProto.BOOL)
    onnx.save(net.proto(net.op("Where", chosen, net.op("Relu", x), x)), tmp_path / "model.onnx")
    arrays = {"x": np.array([[-1, 2, -3, 4]], np.float32), "chosen": np.array(True)}
    for array in arrays.values():
        array.flags.writeable = False
    run = OpenVinoRunner(tmp_path / "model.onnx").repeatedly(Batch(arrays, ("held",), 1))
    run()
    assert arrays["x"].tolist() == [[-1, 2, -3, 4]]


@there
def test_what_it_cannot_read_is_said_in_one_line(tmp_path: Path):
    net = Network()
    net.op("NoSuchOperator", net.input("x", (1, 4)), name="out", domain="nobody")
    onnx.save(net.proto("out"), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"^OpenVINO cannot compile the model: [^\n]+\.$"):
        OpenVinoRunner(tmp_path / "model.onnx")


def test_a_file_that_is_quantized_already_is_sent_to_its_inspection(space: Workspace):
    assert space.quantize("--target", "openvino", "--no-time").code == 0
    again = qdq("quantize", space.output, "--target", "openvino", "-o", space.folder / "again.onnx")
    assert "--target openvino" in again.out.partition("next")[2] and "quantized already" in again.err
    assert "4 of 4 weighted operators" in qdq("inspect", space.output, "--target", "openvino").out


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "is_installed", lambda: False)


def test_without_it_the_result_is_written_and_that_is_said(space: Workspace, absent: None):
    done = space.quantize("--target", "openvino", "--json")
    assert done.code == 0
    assert "note: OpenVINO is not installed, so nothing was run or timed in it: pip install 'openvino>=" in done.err
    assert (done.document["speed"], done.document["verification"]["default_session"]) == (None, None)
    assert done.document["verification"]["outputs"]["scores"]["sqnr_db"] > 20


@pytest.mark.parametrize("option", [("--time",), ("--min-speedup", "2")], ids=["time", "limit"])
def test_without_it_nothing_can_be_timed_in_it(option: tuple[str, ...], space: Workspace, absent: None):
    done = space.quantize("--target", "openvino", *option)
    assert (done.code, space.output.exists()) == (2, False)
    assert "error: Results for OpenVINO are timed in it, and it is not installed.\nhint: pip install" in done.err


def test_a_result_that_it_computes_otherwise_is_told(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    """As on a processor whose products of integers overflow."""
    from qdq_cli.quantizing import default_session

    class Overflowing:
        def __init__(self, path: Path) -> None:
            self.real = default_session.Runner(default_session.Source(path))

        def run(self, batch: Batch) -> dict[str, np.ndarray]:
            return {name: found * 0.5 for name, found in self.real.run(batch).items()}

        def layers(self) -> RuntimeLayers:
            return RuntimeLayers(4, 4)

    monkeypatch.setattr(default_session, "OpenVinoRunner", Overflowing)
    monkeypatch.setattr(runtimes, "is_installed", lambda: True)
    done = space.quantize("--target", "openvino", "--no-time")
    text = " ".join(done.out.split())
    assert "OpenVINO gives 6.0 dB instead of " in text
    assert "products of integers can overflow" in text


def test_a_dry_run_has_a_plan_and_a_prediction(space: Workspace):
    done = qdq("quantize", space.model, "--target", "openvino", "--dry-run", "--json")
    assert done.code == 0
    assert (done.document["target"], done.document["predicted"]["quantized_layers"]) == ("openvino", 4)


@there
def test_it_leaves_the_main_thread_to_signals():
    main = threading.main_thread()
    assert runner.aside(threading.current_thread) is not main
    with pytest.raises(ZeroDivisionError):
        runner.aside(lambda: 1 // 0)
