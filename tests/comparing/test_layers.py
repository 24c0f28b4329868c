"""What `--layers` says of models whose fault is known."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calibrators import sqnr_db
from qdq_cli.comparing.alignment import to_one_opset
from qdq_cli.comparing.compare import compare_models
from qdq_cli.comparing.layers import ProfileMeter
from qdq_cli.comparing.page import comparison_page
from qdq_cli.comparing.profile import make_profile
from qdq_cli.comparing.record import Kind, Origin
from qdq_cli.comparing.text import comparison_lines
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.data.batches import Batch
from qdq_cli.quantizing.pipeline import quantize_model
from qdq_cli.screen.render import render
from tests.comparing.models import CHANNELS, LAYERS, SIDE, chain, comparable, compare, layer, write_samples
from tests.foreign import make_ort_models
from tests.networks import Network
from tests.workspace import REPOSITORY, environment

FOREIGN = Path(make_ort_models.__file__).parent


@pytest.mark.parametrize("bad", LAYERS)
@pytest.mark.parametrize(
    ("broken", "origin", "kind"),
    [
        ({"weight_scales": 2.0**-4}, Origin.WEIGHTS, Kind.ROUNDING),
        ({"weight_scales": 2.0**-12}, Origin.WEIGHTS, Kind.CLIPPING),
        ({"scales": 2.0**-9}, Origin.ACTIVATION, Kind.CLIPPING),
        ({"scales": 0.5}, Origin.ACTIVATION, Kind.ROUNDING),
    ],
    ids=["coarse weights", "cut weights", "cut activation", "coarse activation"],
)
def test_the_layer_made_bad_is_first_and_its_cause_is_told(bad, broken, origin, kind, tmp_path):
    found = compare(tmp_path, chain(**{name: {bad: scale} for name, scale in broken.items()}))
    first = found.layers.ranked[0]
    assert (first.tensor, first.node, found.layers.start) == (bad, bad, bad)
    assert (first.cause.origin, first.cause.kind) == (origin, kind)
    assert first.cause.share_percent > 90
    reads = {"a": "images", "b": "a_relu", "c": "b_relu"}[bad]
    assert first.cause.tensor == (f"{bad}_w" if origin is Origin.WEIGHTS else reads)
    others = [layer(found, name).local.sqnr_db for name in LAYERS if name != bad]
    assert min(others) > first.local.sqnr_db + 6


def depthwise(*, quantized: bool) -> onnx.ModelProto:
    """A depthwise convolution of which two channels hardly move in front of it, and meet weights that make up."""
    net = Network()
    x = net.input("images", ("N", CHANNELS, SIDE, SIDE))
    faint = np.where(np.isin(np.arange(CHANNELS), (3, 7)), 2.0**-9, 1.0).astype(np.float32)[:, None, None, None]
    small = np.where(faint < 1, np.float32(2.0**6), np.float32(1.0))  # an eighth of what the other channels have
    weights = {
        "first": faint * net.weight(CHANNELS, CHANNELS, 3, 3) / 12,
        "deep": small * net.weight(CHANNELS, 1, 3, 3) / 3,
    }
    weights["last"] = net.weight(CHANNELS, CHANNELS, 1, 1) / 4
    for name, weight in weights.items():
        data = net.pair(x, 2.0**-5) if quantized else x
        groups = CHANNELS if name == "deep" else 1
        side = weight.shape[-1]
        x = net.op("Conv", data, net.constant(weight, f"{name}_w"), name=name, group=groups, pads=[side // 2] * 4)
    return net.proto(net.op("GlobalAveragePool", x, name="pool"))


def test_an_operator_that_ruins_single_channels_is_named(tmp_path):
    """The tensor as a whole looks well: the two channels are small in it, and the others hardly err."""
    onnx.save(depthwise(quantized=False), tmp_path / "float.onnx")
    onnx.save(depthwise(quantized=True), tmp_path / "quantized.onnx")
    data = DataConfig(calib=(write_samples(tmp_path / "data.npz"),))
    found = compare_models(CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True))
    deep = layer(found, "deep")
    assert (found.layers.start, found.layers.ranked[0].tensor) == ("deep", "deep")
    assert (deep.channels.count, deep.channels.ruined) == (CHANNELS, 2)
    assert deep.channels.worst in (3, 7)
    assert deep.channels.worst_sqnr_db < 3
    assert deep.channels.sqnr_db < 12
    assert deep.local.sqnr_db > 20
    text = " ".join(" ".join(comparison_lines(found, 10)).split())
    assert f"2 of 16 channels ruined, channel {deep.channels.worst} at " in text
    assert layer(found, "last").channels.ruined == 0


def test_local_error_does_not_see_what_came_before(tmp_path):
    good, bad = compare(tmp_path, chain()), compare(tmp_path, chain(scales={"a": 0.5}))
    assert layer(bad, "c").local == layer(good, "c").local
    assert layer(bad, "c").accumulated.sqnr_db < layer(good, "c").accumulated.sqnr_db - 3


def test_what_reads_a_tensor_is_named(tmp_path):
    found = compare(tmp_path, chain())
    assert [layer(found, name).feeds for name in LAYERS] == [(), (), ()], "a Relu does not only move values"
    folder = tmp_path / "moved"
    folder.mkdir()
    for name, scale in (("float", None), ("quantized", 0.25)):
        net = Network()
        x = net.input("images", (1, CHANNELS, SIDE, SIDE))
        y = net.op("Transpose", x if scale is None else net.pair(x, scale), name="turned", perm=[0, 1, 3, 2])
        onnx.save(net.proto(net.conv(net.maxpool(y, "pool"), CHANNELS, "conv", scale=scale)), folder / f"{name}.onnx")
    data = DataConfig(calib=(tmp_path / "data1.npz",))
    moved = compare_models(CompareConfig(folder / "float.onnx", folder / "quantized.onnx", data, layers=True))
    assert layer(moved, "turned").feeds == ("conv",)


def test_all_values_in_one_code(tmp_path):
    found = compare(tmp_path, chain(scales={"b": 1e6}))
    entry = layer(found, "b")
    assert (entry.cause.kind, entry.dead) == (Kind.DEAD, True)
    assert found.layers.ranked[0].tensor == "b"


def with_wide_channel(proto: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    array = numpy_helper.to_array(weight).copy()
    array[3] *= factor
    weight.CopyFrom(numpy_helper.from_array(array, name))
    return proto


def wide(tmp_path: Path, tensor: str, quantized: onnx.ModelProto):
    """Compare models whose output channel 3 of layer a is 64 times as large."""
    plain = with_wide_channel(chain(quantized=False), tensor, 64.0)
    onnx.save(plain, tmp_path / "float.onnx")
    onnx.save(with_wide_channel(quantized, tensor, 64.0), tmp_path / "quantized.onnx")
    values = np.random.default_rng(0).normal(size=(4, CHANNELS, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=values)
    data = DataConfig(calib=(tmp_path / "data.npz",))
    return compare_models(CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True))


def test_a_channel_of_an_activation_that_dwarfs_the_rest(tmp_path):
    found = wide(tmp_path, "a_w", chain(scales={"b": 2.0}, weight_scales={"a": 2.0**-4}))
    cause = layer(found, "b").cause
    assert (cause.kind, cause.channel, cause.tensor) == (Kind.WIDE_CHANNEL, 3, "a_relu")
    assert cause.ratio > 20


def test_a_channel_of_weights_that_dwarfs_the_rest(tmp_path):
    found = wide(tmp_path, "a_w", chain(weight_scales={"a": 2.0**-3}))
    cause = layer(found, "a").cause
    assert (cause.origin, cause.kind, cause.channel) == (Origin.WEIGHTS, Kind.WIDE_CHANNEL, 3)
    assert "64 times" in cause.text or cause.ratio > 32


def test_weights_that_are_others(tmp_path):
    quantized = chain()
    weight = next(tensor for tensor in quantized.graph.initializer if tensor.name == "b_w")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), "b_w"))
    cause = layer(compare(tmp_path, quantized), "b").cause
    assert (cause.origin, cause.kind) == (Origin.WEIGHTS, Kind.OTHER_WEIGHTS)


def test_weights_with_a_batch_norm_folded_in_are_those_of_the_reference(tmp_path):
    """Quantizers fold batch norms first: the weights differ from those in the float model's file, and are the same."""
    net = Network()
    x = net.op("Conv", net.input("images", ("N", 16, 8, 8)), net.constant(net.weight(16, 16, 3, 3), "w"), name="conv")
    norm = [net.constant(np.linspace(one, 9, 16, dtype=np.float32)) for one in (1, 0, 0, 0.5)]
    onnx.save(net.proto(net.relu(net.op("BatchNormalization", x, *norm, name="norm"), "out")), tmp_path / "float.onnx")
    np.savez(tmp_path / "data.npz", images=np.random.default_rng(0).normal(size=(4, 16, 8, 8)).astype(np.float32))
    data = DataConfig(calib=(tmp_path / "data.npz",))
    quantize_model(QuantizeConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data))
    found = compare_models(CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True))
    kinds = {entry.cause.kind for entry in found.layers.ranked if entry.cause is not None}
    assert kinds and Kind.OTHER_WEIGHTS not in kinds
    (row,) = make_profile(*comparable(*(onnx.load(tmp_path / f"{name}.onnx") for name in ("float", "quantized")))).rows[
        :1
    ]
    assert (row.node, row.weights.tensor, row.weights.replaced) == ("conv", "w", 0.0)


def test_a_tensor_that_is_zero_in_fp32_has_no_sqnr(tmp_path):
    """Any error is infinitely much of it, which must not make it the first; NaN is another matter."""

    def proto(shift: float, scale: float | None) -> onnx.ModelProto:
        net = Network()
        x = net.conv(net.input("images", ("N", CHANNELS, SIDE, SIDE)), CHANNELS, "a", scale=scale)
        less = net.op("Sub", net.pair(x, 1.0) if scale else x, net.constant(np.float32(shift)), name=f"less_{shift}")
        off = net.relu(less, "none")
        return net.proto(net.conv(net.op("Add", x, off, name="sum"), CHANNELS, "b", scale=scale))

    folder = tmp_path / "zero"
    folder.mkdir()
    write_samples(folder / "data.npz")
    onnx.save(proto(99.0, None), folder / "float.onnx")
    onnx.save(proto(2.0, 2.0**-4), folder / "quantized.onnx")
    data = DataConfig(calib=(folder / "data.npz",))
    found = compare_models(CompareConfig(folder / "float.onnx", folder / "quantized.onnx", data, layers=True))
    assert layer(found, "none").local.is_of_nothing
    own = [entry.tensor for entry in found.layers.ranked if entry.local is not None]
    assert own[-1] == "none" and found.layers.start != "none"
    assert any(line.split()[:2] == ["zero", "zero"] for line in comparison_lines(found, None))
    assert "all zero in FP32" in render(comparison_page(found))


def test_accumulated_at_an_output_is_the_plain_comparison(tmp_path):
    found = compare(tmp_path, chain(scales={"b": 0.1}))
    at_end, plain = layer(found, "scores").accumulated, found.outputs["scores"]
    assert at_end.sqnr_db == pytest.approx(plain.sqnr_db, abs=1e-3)
    assert at_end.max_error == pytest.approx(plain.max_error, rel=1e-5)
    assert at_end.cosine == pytest.approx(plain.cosine, abs=1e-5)


def test_a_float_model_against_itself_is_equal(tmp_path):
    found = compare(tmp_path, chain(quantized=False))
    assert found.outputs["scores"].equal
    assert all(entry.accumulated.sqnr_db == 200 and entry.local is None for entry in found.layers.ranked)
    assert found.layers.start is None
    assert "quantizes nothing" in found.notes[0]


def test_the_order_of_samples_does_not_matter(tmp_path):
    one, two = (compare(tmp_path, chain(scales={"b": 0.1}), order=order) for order in (1, -1))
    assert dataclasses.replace(one, seconds={}) == dataclasses.replace(two, seconds={})


def test_a_run_hands_out_numbers_alone_however_many_samples_there_are():
    """Constant memory: what is kept between runs and what a run gives does not grow with tensors or samples."""
    profile = make_profile(*comparable(chain(quantized=False), chain()))
    meter = ProfileMeter(profile)
    feeds = np.random.default_rng(0).normal(size=(20, 1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    kept = []
    for array in feeds:
        meter.observe(Batch({"images": array}, ("x",), 1))
        kept.append(sum(value.size for value in meter.readings._values.values()))
    assert set(kept) == {kept[0]}
    assert kept[0] <= len(profile.gauges) * CHANNELS


DEEP = """
import resource, sys
import numpy as np
from qdq_cli.comparing.layers import LayerMeter
from qdq_cli.comparing.profile import make_profile
from qdq_cli.data.batches import Batch
from tests.comparing.models import comparable
from tests.networks import Network
from tests.workspace import REPOSITORY, environment

def deep(scale):
    net = Network()
    x = net.input("x", (1, 4, 512, 512))
    for number in range(40):
        x = net.op("LeakyRelu", x if scale is None else net.pair(x, scale), name=f"layer{number}", alpha=0.5)
    return net.proto(x)

meter = LayerMeter(make_profile(*comparable(deep(None), deep(0.03125))))
batch = Batch({"x": np.zeros((1, 4, 512, 512), np.float32)}, ("x",), 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
meter.observe(batch)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_run_does_not_hold_the_tensors_of_all_layers():
    """Each of the 40 layers has tensors of 4 MB: those of all three models together would take 480 MB."""
    done = subprocess.run(
        [sys.executable, "-c", DEEP], cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 150e6


def test_samples_in_one_run_or_in_several(tmp_path):
    one = compare(tmp_path, chain(scales={"b": 0.1}))
    data = DataConfig(calib=(tmp_path / "data1.npz",), batch_size=6)
    two = compare_models(CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True))
    for entry in one.layers.ranked:
        assert layer(two, entry.tensor).accumulated.sqnr_db == pytest.approx(entry.accumulated.sqnr_db, abs=0.01)


@pytest.mark.parametrize("name", ["ort_defaults", "ort_tensorrt"])
def test_models_of_onnx_runtime(name, tmp_path):
    onnx.save(make_ort_models.float_model(), tmp_path / "float.onnx")
    values = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=values)
    data = DataConfig(calib=(tmp_path / "data.npz",))
    found = compare_models(CompareConfig(tmp_path / "float.onnx", FOREIGN / f"{name}.onnx", data, layers=True))
    own = [entry for entry in found.layers.ranked if entry.local is not None]
    assert {"conv1", "conv2", "conv3", "fc"} <= {entry.node for entry in own}
    assert all(entry.local.sqnr_db > 10 for entry in own), "a piece that computes something else would be far off"
    assert all(entry.accumulated.sqnr_db <= entry.local.sqnr_db + 3 for entry in own)


def test_operators_on_codes_have_an_error_but_no_cause(tmp_path):
    """As dynamic quantization writes them: DynamicQuantizeLinear and ConvInteger."""

    def net(*, quantized: bool) -> onnx.ModelProto:
        net = Network()
        x = net.input("images", (1, CHANNELS, SIDE, SIDE))
        weight = net.weight(CHANNELS, CHANNELS, 1, 1)
        if not quantized:
            return net.proto(net.relu(net.op("Conv", x, net.constant(weight, "w"), name="conv"), "out"))
        net._nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", [x], ["codes", "step", "zero"], name="q"))
        codes = net.constant((weight * 8).astype(np.int8), "w_codes")
        sums = net.op("Cast", net.op("ConvInteger", "codes", codes, "zero"), to=TensorProto.FLOAT)
        scaled = net.op("Mul", net.op("Mul", sums, "step"), net.constant(np.float32(1 / 8)), name="conv")
        return net.proto(net.relu(scaled, "out"))

    onnx.save(net(quantized=False), tmp_path / "float.onnx")
    onnx.save(net(quantized=True), tmp_path / "quantized.onnx")
    values = np.random.default_rng(0).normal(size=(4, CHANNELS, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=values)
    data = DataConfig(calib=(tmp_path / "data.npz",))
    found = compare_models(CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True))
    entry = layer(found, "conv")
    assert 30 < entry.local.sqnr_db < 60
    assert (entry.cause.origin, entry.cause.kind) == (Origin.EITHER, Kind.UNKNOWN)


def test_half_precision(tmp_path):
    net = Network(opset=19)
    x = net.input("images", ("N", CHANNELS, SIDE, SIDE), TensorProto.FLOAT16)
    weight = net.constant((net.weight(CHANNELS, CHANNELS, 1, 1) / 8).astype(np.float16), "w")
    proto = net.proto(
        net.relu(net.op("Conv", x, weight, name="conv"), "out"), output_types={"out": TensorProto.FLOAT16}
    )
    onnx.save(proto, tmp_path / "float.onnx")
    scale = numpy_helper.from_array(np.float16(2.0**-5), "s")
    quantized = onnx.ModelProto.FromString(proto.SerializeToString())
    zero = numpy_helper.from_array(np.int8(0), "z")
    quantized.graph.initializer.extend([scale, zero])
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["images", "s", "z"], ["codes"]),
        onnx.helper.make_node("DequantizeLinear", ["codes", "s", "z"], ["image"]),
    ]
    quantized.graph.node[0].input[0] = "image"
    rest = list(quantized.graph.node)
    del quantized.graph.node[:]
    quantized.graph.node.extend([*nodes, *rest])
    onnx.save(quantized, tmp_path / "quantized.onnx")
    values = np.random.default_rng(0).normal(size=(4, CHANNELS, SIDE, SIDE)).astype(np.float16)
    np.savez(tmp_path / "data.npz", images=values)
    data = DataConfig(calib=(tmp_path / "data.npz",))
    found = compare_models(CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True))
    assert 30 < layer(found, "conv").local.sqnr_db < 60
    assert layer(found, "conv").cause.kind is Kind.ROUNDING


def test_an_older_reference_is_raised_to_the_opset_of_the_quantized_model():
    net = Network(opset=11)
    old = net.proto(net.relu(net.input("x", (1, 4)), "out"))
    net = Network(opset=17)
    new = net.proto(net.relu(net.pair(net.input("x", (1, 4))), "out"))
    reference, quantized = to_one_opset(*comparable(old, new))
    assert reference.opset_imports[""] == quantized.opset_imports[""] == 17


def test_gauges_agree_with_the_library(tmp_path):
    found = compare(tmp_path, chain(scales={"a": 0.25}))
    values = np.load(tmp_path / "data1.npz")["images"]
    rounded = np.clip(np.rint(values / 0.25), -128, 127) * 0.25
    assert f"SQNR of {sqnr_db(values, rounded):.1f} dB" in layer(found, "a").cause.text
