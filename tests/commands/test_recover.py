"""`qdq quantize --recover`: it helps, it says what it did, and it leaves alone what it must."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from qdq_cli.config.recovery import DEFAULT_RECOVERY, RECOVERY_STEPS
from tests.commands.test_terminal import in_terminal
from tests.networks import Network
from tests.workspace import (
    PATIENCE_SECONDS,
    SIDE,
    Outcome,
    Workspace,
    command,
    environment,
    make_workspace,
    process,
    qdq,
    small_convnet,
)

WIDE = 40.0
"""How many times as wide as the others one channel is."""


def with_a_wide_channel(batch: int | str = "N", size: int = SIDE, layers: int = 2) -> Network:
    """Convolutions in a row; of what the second one reads, a channel is very wide and its weights are as small."""
    net = Network()
    rng = np.random.default_rng(3)
    x, channels = net.input("images", (batch, 3, size, size)), 3
    for number in range(layers):
        weight = (rng.normal(size=(16, channels, 3, 3)) / np.sqrt(9 * channels)).astype(np.float32)
        bias = rng.normal(size=16).astype(np.float32) / 8
        if number == 0:
            weight[5] *= WIDE
            bias[5] *= WIDE
        if number == 1:
            weight[:, 5] /= WIDE
        operands = [x, net.constant(weight, f"conv{number}_w"), net.constant(bias, f"conv{number}_b")]
        x = net.relu(net.op("Conv", *operands, name=f"conv{number}", kernel_shape=[3, 3], pads=[1] * 4), f"x{number}")
        channels = 16
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x, name="pool"), name="flat")
    weight = rng.normal(size=(10, 16)).astype(np.float32)
    net.op(
        "Gemm", pooled, net.constant(weight, "fc_w"), net.constant(np.zeros(10, np.float32)), name="scores", transB=1
    )
    return net


def wide_proto(batch: int | str = "N") -> onnx.ModelProto:
    return with_a_wide_channel(batch).proto("scores")


@pytest.fixture
def wide(tmp_path: Path) -> Workspace:
    """A workspace whose model has a wide channel."""
    return make_workspace(tmp_path, wide_proto())


def recover(space: Workspace, *options: object) -> Outcome:
    done = space.quantize("--recover", *options)
    assert done.code == 0, done.err
    return done


def outputs(model: Path, values: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (feed,) = session.get_inputs()
    (found,) = session.run(None, {feed.name: values})
    return np.asarray(found)


def samples_of(space: Workspace) -> np.ndarray:
    with np.load(space.arrays) as archive:
        return np.asarray(archive["images"])


@dataclass(frozen=True)
class Both:
    """The reports of one model, without and with recovery."""

    plain: Any
    recovered: Any


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    space = make_workspace(tmp_path_factory.mktemp("both"), wide_proto())
    return Both(space.quantize("--json").document, recover(space, "--json").document)


# what it gains, and what it says


def test_a_wide_channel_is_recovered(both: Both):
    """On samples that neither calibration nor recovery saw."""
    plain, recovered = (
        report["verification"]["outputs"]["scores"]["sqnr_db"] for report in (both.plain, both.recovered)
    )
    assert recovered > plain + 6


@pytest.mark.parametrize(("samples", "few"), [(12, True), (40, False)])
def test_few_samples_to_judge_by_are_named(wide: Workspace, samples: int, few: bool):
    arrays = wide.folder / "many.npz"
    np.savez(arrays, images=np.repeat(samples_of(wide), 5, axis=0)[:samples])
    done = recover(wide, "--calib", arrays, "--samples", samples, "--json")
    assert done.document["recovery"]["samples"] == samples // 4
    notes = [note for note in done.document["notes"] if note.startswith("Recovery could set only")]
    assert len(notes) == few
    assert not few or "only 3 of the samples" in notes[0]


def test_the_record_says_what_was_done(both: Both):
    recovery = both.recovered["recovery"]
    assert recovery["samples"] > 0
    assert recovery["after_db"] > recovery["before_db"] + 6
    assert [step["step"] for step in recovery["steps"]] == list(DEFAULT_RECOVERY)
    for step in recovery["steps"]:
        entries = [layer for layer in recovery["layers"] if layer["step"] in step["step"].split("+")]
        assert step["tried"] == len(entries)
        assert step["accepted"] == sum(layer["accepted"] for layer in entries)
    gain = sum(step["gain_db"] for step in recovery["steps"])
    assert gain == pytest.approx(recovery["after_db"] - recovery["before_db"], abs=0.01)
    of_layers = [layer for layer in recovery["layers"] if layer["step"] == "gptq"]
    assert {layer["where"] for layer in of_layers} == {"conv0", "conv1", "scores"}
    assert all(layer["after_db"] >= layer["before_db"] for layer in of_layers if layer["accepted"])


def test_without_it_there_is_no_record(both: Both):
    assert both.plain["recovery"] is None
    assert both.plain["seconds"]["recover"] == 0
    assert both.recovered["seconds"]["recover"] > 0


def test_the_summary_fits_a_terminal(wide: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(wide.folder)
    done = qdq("quantize", "model.onnx", "--calib", "arrays.npz", "--recover")
    assert max(map(len, done.out.splitlines())) <= 80
    rows = done.out[done.out.index("recovery ") : done.out.index("verification")].splitlines()
    assert "set aside" in rows[0]
    assert any("gptq:" in row and "accepted" in row for row in rows)


@pytest.mark.parametrize("step", RECOVERY_STEPS)
def test_each_step_alone(wide: Workspace, step: str):
    done = wide.quantize("--recover-step", step, "--json")
    assert done.code == 0, done.err
    recovery = done.document["recovery"]
    assert {layer["step"] for layer in recovery["layers"]} <= {step, "equalize"}
    assert [found["step"] for found in recovery["steps"]] == [step]
    assert recovery["after_db"] >= recovery["before_db"]


def test_steps_that_are_named_take_the_place_of_the_recipe(wide: Workspace):
    """Their order on the command line does not matter."""
    recovery = recover(wide, "--recover-step", "gptq", "--recover-step", "equalize", "--json").document["recovery"]
    assert [step["step"] for step in recovery["steps"]] == ["equalize", "gptq"]
    first = wide.output.read_bytes()
    other = wide.quantize("--recover-step", "equalize", "--recover-step", "gptq", "-q")
    assert other.code == 0
    assert wide.output.read_bytes() == first


def test_an_unknown_step_is_a_usage_error(wide: Workspace):
    done = wide.quantize("--recover-step", "magic")
    assert done.code == 2
    assert "'magic' is not one of" in done.err
    assert "adaround" in done.err


# what it needs, and what it leaves alone


def test_without_samples_it_says_what_is_missing(wide: Workspace):
    cache = wide.folder / "model.qcal"
    assert wide.quantize("--cache", cache).code == 0
    wide.output.unlink()
    before = wide.listing()
    done = qdq("quantize", wide.model, "--cache", cache, "--recover")
    assert done.code == 4
    assert "Recovery has to run the model, and there are no samples." in done.err
    assert "hint: Give --calib too" in done.err
    assert wide.listing() == before


def test_a_model_with_nothing_to_quantize(tmp_path: Path):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    net.relu(x, "scores")
    space = make_workspace(tmp_path, net.proto("scores"))
    recovery = recover(space, "--json").document["recovery"]
    assert recovery["layers"] == []


def test_everything_excluded(wide: Workspace):
    found = recover(wide, "--exclude", "*", "--json").document
    assert found["weighted_ops"]["quantized"] == 0
    assert found["recovery"]["layers"] == []


def test_a_given_range_stays(wide: Workspace):
    found = recover(wide, "--range", "x0=7.5", "--range", "images=3", "--json").document
    given = {
        tensor: amax
        for group, amax in zip(found["groups"], found["amax"], strict=True)
        for tensor in group["tensors"]
        if tensor in ("x0", "images")
    }
    assert given == {"x0": 7.5, "images": 3.0}
    scales = {tensor.name: tensor for tensor in onnx.load(wide.output).graph.initializer}
    assert onnx.numpy_helper.to_array(scales["x0_scale"]) == pytest.approx(7.5 / 127)


def test_a_half_model(tmp_path: Path):
    proto = small_convnet().proto("scores")
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    space = make_workspace(tmp_path, proto)
    recovery = recover(space, "--json").document["recovery"]
    assert recovery["after_db"] >= recovery["before_db"]
    onnx.checker.check_model(onnx.load(space.output), full_check=True)


def test_a_fixed_batch(tmp_path: Path):
    space = make_workspace(tmp_path, wide_proto(batch=2))
    recovery = recover(space, "--json").document["recovery"]
    assert recovery["samples"] % 2 == 0
    assert recovery["after_db"] > recovery["before_db"] + 6


def test_a_dynamic_batch_stays_dynamic(wide: Workspace):
    recover(wide, "--batch-size", "4")
    (feed,) = onnx.load(wide.output).graph.input
    assert feed.type.tensor_type.shape.dim[0].dim_param == "N"
    values = samples_of(wide)
    assert outputs(wide.output, values).shape == (10, 10)


def test_the_float_model_is_not_changed(wide: Workspace):
    before = wide.model.read_bytes()
    recover(wide, "-q")
    assert wide.model.read_bytes() == before


# forms of the result


@pytest.mark.parametrize(
    "form", [("--weights", "int8"), ("--weights", "int8-compat"), ("--form", "int8-regions")], ids=" ".join
)
def test_every_form_computes_the_same(wide: Workspace, form: tuple[str, str]):
    recover(wide, "-q")
    values = samples_of(wide)
    expected = outputs(wide.output, values)
    recover(wide, "-q", *form)
    onnx.checker.check_model(onnx.load(wide.output), full_check=True)
    np.testing.assert_allclose(outputs(wide.output, values), expected, rtol=1e-5, atol=1e-6)


def test_biases_stay_float(wide: Workspace):
    """TensorRT quantizes biases itself; no Q or DQ may stand in front of one."""
    recover(wide, "-q")
    graph = onnx.load(wide.output).graph
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 3
    assert all(node.input[2] in floats for node in layers)


def test_equalization_leaves_the_float_function(wide: Workspace):
    """Without its Q/DQ nodes the result computes what the float model does."""
    done = wide.quantize("--recover-step", "equalize", "-q")
    assert done.code == 0, done.err
    proto = onnx.load(wide.output)
    passed = {}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            passed[node.output[0]] = passed.get(node.input[0], node.input[0])
    kept = [node for node in proto.graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    for node in kept:
        node.input[:] = [passed.get(name, name) for name in node.input]
    graph = helper.make_graph(kept, "float", proto.graph.input, proto.graph.output, initializer=proto.graph.initializer)
    bare = wide.folder / "bare.onnx"
    onnx.save(helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version), bare)
    values = samples_of(wide)
    expected = outputs(wide.model, values)
    np.testing.assert_allclose(outputs(bare, values), expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))


def test_twice_gives_the_same_bytes(wide: Workspace):
    first = recover(wide, "--json").document["recovery"], wide.output.read_bytes()
    assert (recover(wide, "--json").document["recovery"], wide.output.read_bytes()) == first


def test_the_cache_is_the_one_without_recovery(wide: Workspace):
    caches = [wide.folder / name for name in ("plain.qcal", "recovered.qcal")]
    assert wide.quantize("--cache", caches[0], "-q").code == 0
    plain = wide.output.read_bytes()
    recover(wide, "--cache", caches[1], "-q")
    recovered = wide.output.read_bytes()
    assert caches[0].read_bytes() == caches[1].read_bytes()
    assert wide.quantize("--cache", caches[1], "-q").code == 0
    assert wide.output.read_bytes() == plain
    recover(wide, "--cache", caches[1], "-q")
    assert wide.output.read_bytes() == recovered


def test_pictures_of_several_sizes_below_the_number_of_channels(tmp_path: Path):
    """The channels of an output are the axis that all samples have in common, however short the others are."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, "H", "W")), 32, "first", scale=None))
    space = make_workspace(tmp_path, net.proto(net.conv(x, 32, "second", scale=None)))
    rng, folder = np.random.default_rng(0), tmp_path / "arrays"
    folder.mkdir()
    for number in range(12):
        side = 16 + 2 * (number % 3)
        np.save(folder / f"{number}.npy", rng.normal(size=(1, 3, side, side)).astype(np.float32))
    for words in (("quantize", "--recover-step", "gptq"), ("sensitivity",), ("tune", "--min-sqnr", "10")):
        done = qdq(words[0], space.model, "--calib", folder, *words[1:])
        assert done.code == 0, done.err


def test_a_limit_that_is_not_met_leaves_nothing(wide: Workspace):
    before = wide.listing()
    done = wide.quantize("--recover", "--min-sqnr", "150")
    assert done.code == 5
    assert wide.listing() == before


LATER = "--exclude-after-recovery"


def test_what_is_left_float_after_recovery_takes_nothing_from_the_others(wide: Workspace):
    """The layers that stay keep what recovery did to them with everything in INT8."""

    def weights() -> dict[str, bytes]:
        return {weight.name: weight.raw_data for weight in onnx.load(wide.output).graph.initializer}

    everything = recover(wide, "--json").document
    recovered = weights()
    left = recover(wide, LATER, "conv0", "--json").document
    assert left["recovery"] == everything["recovery"]
    assert left["weighted_ops"]["quantized"] == everything["weighted_ops"]["quantized"] - 1
    kept = {name: weights()[name] for name in ("conv1_w", "fc_w")}
    assert kept.items() <= recovered.items()
    assert wide.quantize("-q").code == 0
    assert weights()["conv1_w"] != kept["conv1_w"]


def test_patterns_and_several_names_are_left_float_after_recovery(wide: Workspace):
    report = recover(wide, LATER, "conv*", LATER, "scores", "--json").document
    assert report["weighted_ops"]["quantized"] == 0


def test_a_dry_run_plans_what_is_written(wide: Workspace):
    found = qdq("quantize", wide.model, "--recover", LATER, "conv1", "--dry-run", "--json").document
    assert {skip["node"]: skip["code"] for skip in found["plan"]["skips"]} == {
        "conv1": "EXCLUDED",
        "pool": "POOL_FLOAT",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--calib", "arrays.npz", LATER, "conv1"), "needs --recover"),
        (("--calib", "arrays.npz", "--recover", LATER, "conv9"), "matches nothing"),
        (("--calib", "arrays.npz", "--recover", "--tune", "--min-sqnr", "20", LATER, "conv1"), "by itself"),
        (("--dry-run", LATER, "conv1"), "needs --recover"),
    ],
)
def test_names_that_cannot_be_left_float_after_recovery(
    wide: Workspace, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
):
    monkeypatch.chdir(wide.folder)
    before = wide.listing()
    done = qdq("quantize", "model.onnx", *options)
    assert (done.code, done.out) == (2, ""), done.err
    assert message in done.err
    assert wide.listing() == before


def test_compare_knows_that_layers_were_equalized_on_purpose(wide: Workspace):
    recover(wide, "-q")
    note = "note: The second model was recovered (equalize, smooth, ranges, gptq, bias)"
    assert note in " ".join(qdq("compare", wide.model, wide.output, "--data", wide.arrays, "--layers").err.split())
    assert "recovered" not in qdq("compare", wide.model, wide.output, "--data", wide.arrays).err


# the process


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals of POSIX")
def test_progress_goes_to_a_terminal_alone(wide: Workspace):
    shown = in_terminal("quantize", "model.onnx", "--calib", "arrays.npz", "--recover", cwd=wide.folder)
    assert shown.code == 0
    assert "recovering" in shown.err
    assert "recovering" not in shown.out
    assert recover(wide).err.count("\n") == 1, "a note on how few samples there are, and no progress"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interrupted_it_leaves_what_it_goes_on_from(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    """No model, no temporary files: only the calibration cache, which is finished by then, and its own progress."""
    space = make_workspace(tmp_path, with_a_wide_channel(size=48, layers=4).proto("scores"))
    for number in range(10, 40):
        (space.images / f"{number}.png").symlink_to("0.png")
    before, temporary = space.listing(), tmp_path_factory.mktemp("temporary")
    words = ("quantize", "model.onnx", "--calib", "images", "--cache", "model.qcal", "--recover")
    pipe = subprocess.PIPE
    running = subprocess.Popen(
        command(*words), cwd=space.folder, env=environment(TMPDIR=str(temporary)), stdout=pipe, stderr=pipe, text=True
    )
    progress = space.folder / "model.qdq.onnx.recovery"
    while not progress.exists():
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=PATIENCE_SECONDS)
    # Python ends by the signal itself where that came while a compiled module was set up; to a shell, both are 130.
    assert running.returncode in (130, -signal.SIGINT)
    assert (out, err.strip().splitlines()[-1]) == ("", "error: Interrupted before the result was finished.")
    assert set(space.listing()) - set(before) == {"model.qcal", progress.name}
    assert list(temporary.iterdir()) == []
    again = process(*words, cwd=space.folder)
    assert again.code == 0, again.err
    assert "goes on where it was interrupted" in " ".join(again.err.split())
    assert set(space.listing()) - set(before) == {"model.qcal", space.output.name}
    resumed = space.output.read_bytes()
    assert process(*words, cwd=space.folder).code == 0
    assert space.output.read_bytes() == resumed
