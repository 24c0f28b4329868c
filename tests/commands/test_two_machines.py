"""Calibrate on one machine, quantize on another: the same bytes, or an error that names what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from calibrators import Method, choose_range, make_tensorrt_cache, read_cache, symmetric_qparams
from calibrators.tensorrt_cache import format_tensorrt_cache
from tests.networks import Network
from tests.workspace import SIDE, Outcome, Workspace, make_workspace, qdq


@pytest.fixture
def cache(space: Workspace) -> Path:
    """The calibration cache of the model on all arrays."""
    done = qdq("calibrate", space.model, "--calib", space.arrays)
    assert done.code == 0, done.err
    return space.folder / "model.qcal"


def wide_space(folder: Path) -> Workspace:
    """A residual Add whose branch ends in a depthwise operator, and data in which one value drowns all others."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None), "first_relu")
    short = net.conv(x, 16, "short", kernel=1, scale=None)
    long = net.conv(net.relu(net.conv(x, 16, "middle", scale=None), "middle_relu"), 16, "deep", group=16, scale=None)
    net.conv(net.add(short, long, "total"), 16, "last", scale=None)
    space = make_workspace(folder, net.proto("last"))
    values = np.random.default_rng(7).normal(size=(10, 3, SIDE, SIDE)).astype(np.float32)
    values[0, 0, 5, 5] = 400
    np.savez(space.arrays, images=values)
    return space


def quantized(space: Workspace, name: str, *options: object) -> bytes:
    output = space.folder / name
    done = qdq("quantize", space.model, "-o", output, *options)
    assert done.code == 0, done.err
    return output.read_bytes()


@pytest.mark.parametrize("method", ["mse", "entropy", "minmax", "percentile"])
def test_the_model_is_the_same_without_data(space: Workspace, cache: Path, method: str):
    given = ("--cache", cache, "--method", method)
    here = quantized(space, "here.onnx", *given, "--calib", space.arrays, "--verify", "0")
    space.arrays.unlink()
    assert quantized(space, "there.onnx", *given) == here


def test_an_input_without_dimensions_needs_no_data(tmp_path: Path):
    """Its shape is known, and there is no first sample that would say it."""
    net = Network()
    x = net.op("Mul", net.input("images", ("N", 3, SIDE, SIDE)), net.input("gain", ()), name="louder")
    net.op("GlobalAveragePool", net.conv(x, 16, "conv", scale=None), name="mean")
    space = make_workspace(tmp_path, net.proto("mean"))
    images = np.random.default_rng(3).normal(size=(10, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=images, gain=np.linspace(1, 2, 10, dtype=np.float32))
    assert qdq("calibrate", space.model, "--calib", space.arrays).code == 0
    assert quantized(space, "there.onnx", "--cache", space.folder / "model.qcal")


def test_quantize_writes_the_cache_that_calibrate_does(space: Workspace, cache: Path):
    other = space.folder / "other.qcal"
    quantized(space, "a.onnx", "--calib", space.arrays, "--cache", other, "--samples", "10")
    assert other.read_bytes() == cache.read_bytes()


def test_a_second_plan_finds_its_tensors_in_the_cache(tmp_path: Path):
    """Calibration leaves the depthwise operator float; the plan then quantizes another operand of the Add."""
    space = wide_space(tmp_path)
    cache = space.folder / "model.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays).code == 0
    alone = qdq("quantize", space.model, "--cache", cache, "-o", space.folder / "a.onnx", "--json")
    assert alone.code == 0, alone.err
    assert {skip["node"]: skip["code"] for skip in alone.document["skips"]}["deep"] == "WIDE_RANGE"
    assert alone.document["calibration"]["from_cache"] is True
    targets = {target["tensor"] for target in alone.document["targets"]}
    first = {
        target["tensor"] for target in qdq("quantize", space.model, "--dry-run", "--json").document["plan"]["targets"]
    }
    assert targets - first == {"deep"}
    other = space.folder / "other.qcal"
    together = quantized(space, "b.onnx", "--calib", space.arrays, "--samples", "10", "--cache", other)
    assert together == (space.folder / "a.onnx").read_bytes()
    assert other.read_bytes() == cache.read_bytes()
    assert qdq("cache", "check", space.model, cache).code == 0
    plain = quantized(space, "c.onnx", "--cache", cache, "--no-range-rules")
    assert plain != together


def test_a_range_by_hand_decides_alike_on_both_machines(tmp_path: Path):
    space = wide_space(tmp_path)
    options = ("--range", "middle_relu=4.0", "--cache", space.folder / "model.qcal")
    here = quantized(space, "here.onnx", *options, "--calib", space.arrays)
    assert quantized(space, "there.onnx", *options) == here


def test_another_spelling_of_the_model_is_served(space: Workspace, cache: Path):
    expected = quantized(space, "a.onnx", "--cache", cache)
    proto = onnx.load(space.model)
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if name in ("images", "scores") else f"renamed_{name}" for name in names]
    for tensor in proto.graph.initializer:
        tensor.name = f"renamed_{tensor.name}"
    onnx.save(proto, space.model, save_as_external_data=True, size_threshold=0, location="w.bin")
    done = qdq("cache", "check", space.model, cache, "--json")
    assert done.code == 0
    assert done.document["renamed"]["renamed_first_relu"] == "first_relu"
    assert done.document["same_model"] is True
    assert scales_of(quantized(space, "b.onnx", "--cache", cache)) == scales_of(expected)


def test_an_export_for_another_batch_size_is_served(space: Workspace, cache: Path):
    expected = quantized(space, "a.onnx", "--cache", cache)
    proto = onnx.load(space.model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(proto, space.model)
    checked = qdq("cache", "check", space.model, cache)
    assert checked.code == 0, checked.err
    assert "the same, another export: 5 found by values" in checked.out
    done = qdq("quantize", space.model, "--cache", cache, "-o", space.folder / "b.onnx")
    assert done.code == 0, done.err
    assert "made from another export of the network: 5 tensors" in done.err
    assert scales_of((space.folder / "b.onnx").read_bytes()) == scales_of(expected)


def test_an_export_with_one_other_weight_is_refused_and_the_weight_named(space: Workspace, cache: Path):
    proto = onnx.load(space.model)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    weight = next(
        tensor for tensor in proto.graph.initializer if tensor.name.startswith("middle") and len(tensor.dims) == 4
    )
    values = numpy_helper.to_array(weight).copy()
    values[0, 0, 0, 0] += 0.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(proto, space.model)
    for done in (
        qdq("quantize", space.model, "--cache", cache, "-o", space.folder / "b.onnx"),
        qdq("cache", "check", space.model, cache),
    ):
        assert done.code == 4
        assert f"1 weight is not that of the observed model: {weight.name}." in done.err


def scales_of(model: bytes) -> list[float]:
    tensors = onnx.load_model_from_string(model).graph.initializer
    return sorted(float(numpy_helper.to_array(t)) for t in tensors if t.name.endswith("_scale") and not t.dims)


def changed(space: Workspace) -> None:
    """Train the model's last two layers again: their outputs are new tensors."""
    proto = onnx.load(space.model)
    for tensor in proto.graph.initializer:
        if tensor.name in ("second_w", "scores_w"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.5), tensor.name))
    onnx.save(proto, space.model)


def refused(done: Outcome) -> str:
    assert (done.code, done.out) == (4, "")
    return done.err


def test_new_tensors_are_named(space: Workspace, cache: Path):
    changed(space)
    before = cache.read_bytes()
    alone = refused(qdq("quantize", space.model, "--cache", cache))
    assert "2 of 5 tensors are not in it, such as total, flat" in alone
    assert f"qdq cache check MODEL {cache} -v with the same options names all" in alone
    strict = space.quantize("--cache", cache, "--cache-missing", "error")
    assert "--cache-missing calibrate" in refused(strict)
    no_data = qdq("quantize", space.model, "--cache", cache, "--cache-missing", "calibrate")
    assert "Give --calib" in refused(no_data)
    assert cache.read_bytes() == before


def test_a_cache_that_is_not_there_is_named(space: Workspace):
    text = refused(qdq("quantize", space.model, "--cache", space.folder / "absent.qcal"))
    assert f"There is no calibration cache {space.folder / 'absent.qcal'}" in text
    assert "--calib" in text


def test_new_tensors_are_calibrated_alone_on_the_same_samples(space: Workspace, cache: Path):
    changed(space)
    options = ("--cache", cache, "--cache-missing", "calibrate")
    first = space.quantize(*options, "--samples", "10", "--json")
    assert first.code == 0, first.err
    assert any("3 tensors were calibrated on 10 samples" in note for note in first.document["notes"])
    model = space.output.read_bytes()
    assert quantized(space, "again.onnx", "--cache", cache) == model
    fresh = space.folder / "fresh.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", fresh).code == 0
    assert cache.read_bytes() == fresh.read_bytes()


def test_new_tensors_on_other_samples_leave_the_cache_alone(space: Workspace, cache: Path):
    changed(space)
    before = cache.read_bytes()
    done = space.quantize("--cache", cache, "--cache-missing", "calibrate", "--samples", "4", "--json")
    assert done.code == 0, done.err
    assert any("stays as it is" in note for note in done.document["notes"])
    assert done.document["calibration"]["from_cache"] is False
    assert cache.read_bytes() == before


def test_new_tensors_with_other_preprocessing_are_refused(space: Workspace):
    cache = space.folder / "pictures.qcal"
    assert qdq("calibrate", space.model, "--calib", space.images, "--preprocess", "unit", "-o", cache).code == 0
    changed(space)
    options = ("--calib", space.images, "--preprocess", "raw", "--cache", cache, "--cache-missing", "calibrate")
    assert "--preprocess" in refused(qdq("quantize", space.model, *options))


def test_with_data_a_cache_that_does_not_fit_is_made_again(space: Workspace, cache: Path):
    changed(space)
    done = space.quantize("--cache", cache, "--samples", "10", "--json")
    assert any("is made again: 2 of 5 tensors are not in it" in note for note in done.document["notes"])
    assert done.document["calibration"]["from_cache"] is False
    assert qdq("cache", "check", space.model, cache).code == 0


def test_samples_of_the_cache_do_not_count_as_held_back(space: Workspace, cache: Path):
    document = space.quantize("--cache", cache, "--samples", "5", "--verify", "5", "--json").document
    assert document["calibration"]["from_cache"] is True
    assert document["verification"]["held_back"] is False
    part = space.folder / "part.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "--samples", "5", "-o", part).code == 0
    document = space.quantize("--cache", part, "--samples", "5", "--verify", "5", "--json").document
    assert document["verification"]["held_back"] is True


@pytest.mark.parametrize("kind", ["tensorrt", "ort", "ort-json", "ort-text", "json", "torch-json"])
def test_ranges_of_other_tools_serve_without_data(space: Workspace, cache: Path, kind: str):
    file = space.folder / "ranges"
    assert qdq("cache", "export", cache, "--format", kind, "-o", file, "--method", "minmax").code == 0
    expected = quantized(space, "a.onnx", "--cache", cache, "--method", "minmax")
    found = quantized(space, "b.onnx", "--ranges", file)
    assert scales_of(found) == scales_of(expected)


def test_a_file_of_ranges_may_name_other_tensors(space: Workspace, cache: Path):
    table = read_cache(cache)
    amax = {name: choose_range(entry.histogram, Method("mse")).amax for name, entry in table.entries.items()}
    file = space.folder / "calibration.cache"
    file.write_text(format_tensorrt_cache(make_tensorrt_cache({**amax, "(Unnamed Layer* 4) [Constant]_output": 1.0})))
    done = qdq("quantize", space.model, "--ranges", file, "--json")
    assert done.code == 0, done.err
    assert any("of the file are used" in note for note in done.document["notes"])
    scale = float(symmetric_qparams(amax["images"]).scale)
    assert scale in scales_of(space.output.read_bytes())


def test_a_range_of_zero_is_a_dead_tensor(space: Workspace, cache: Path):
    file = space.folder / "ranges.json"
    file.write_text(json.dumps({name: 0 if name == "total" else 2.0 for name in read_cache(cache).entries}))
    done = qdq("quantize", space.model, "--ranges", file, "--json")
    assert any("Always zero" in note for note in done.document["notes"])


def test_a_file_of_ranges_for_another_model(space: Workspace):
    file = space.folder / "ranges.json"
    file.write_text('{"elsewhere": 1.0}')
    before = space.listing()
    assert "None of the 1 names in the table" in refused(space.quantize("--ranges", file))
    assert space.listing() == before


def test_a_calibration_cache_is_no_file_of_ranges(space: Workspace, cache: Path):
    assert "--cache" in refused(qdq("quantize", space.model, "--ranges", cache))
