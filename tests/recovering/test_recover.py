"""Recovery as a whole: outputs gain, nothing else changes, and odd models are left as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from calibrators import Range
from qdq_cli.calibrating.calibration import Observation
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import RECOVERY_STEPS
from qdq_cli.judging.candidate import Candidate, with_constants
from qdq_cli.judging.trials import Trials
from qdq_cli.placement.plan import restricted
from qdq_cli.process.errors import ModelError
from qdq_cli.recovering.recover import Recovered, recover
from qdq_cli.recovering.rows import layers_of
from qdq_cli.recovering.start import Start
from tests.networks import Network, as_half, run
from tests.recovering.channel_networks import Net
from tests.recovering.starts import EVERY, start_of_network, start_of_sample_model, widen_channels
from tests.tuning.networks_to_tune import with_a_bad_layer


def convnet(batch: int | str = "N", opset: int = 17) -> onnx.ModelProto:
    """A residual block and a classifier."""
    net = Net(opset=opset)
    a = net.relu(net.conv(net.input("x", (batch, 3, 6, 6)), 8, "a", scale=None), "r")
    b = net.relu(net.add(net.conv(a, 8, "b", scale=None), a, "sum"), "s")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", b, name="pool"), name="flat")
    return net.proto(net.gemm(pooled, 8, 5, "y", scale=None))


def noise(start: Start, candidate: Candidate) -> float:
    return Trials(start.model, start.split.load(start.split.judge)).noise(candidate)


def first(start: Start) -> Candidate:
    return Candidate(start.plan, start.ranges)


def assert_equal(one: Recovered, other: Recovered) -> None:
    assert one.candidate.ranges == other.candidate.ranges
    for name in ("weights", "biases", "weight_ranges", "base"):
        mine, theirs = getattr(one.candidate, name), getattr(other.candidate, name)
        assert mine.keys() == theirs.keys()
        for key, array in mine.items():
            np.testing.assert_array_equal(array, theirs[key], key)
    assert one.record == other.record


REAL = {
    "digits_resnet": ("equalize", "gptq", "bias"),
    "digits_vit": ("smooth", "adaround"),
    "superres_fsrcnn": ("equalize",),
}


@pytest.mark.parametrize("name", REAL)
def test_the_outputs_of_real_networks_gain(name: str):
    start = (
        start_of_sample_model(name, samples=16, change=widen_channels)  # as it is, there is little to gain
        if name == "digits_vit"
        else start_of_sample_model(name)
    )
    bytes_before = ir.to_proto(start.model).SerializeToString()
    found = recover(start, REAL[name])
    assert noise(start, found.candidate) < 0.9 * noise(start, first(start))
    assert found.record.after_db > found.record.before_db + 0.4
    assert found.record.samples == sum(map(len, start.split.judge))
    assert ir.to_proto(start.model).SerializeToString() == bytes_before

    equalized = with_constants(start.model, found.candidate.base)
    for one, other in zip(run(equalized), run(start.model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())


def test_the_same_start_recovers_to_the_same(tmp_path: Path):
    proto = convnet()
    once, again = (recover(start_of_network(tmp_path, proto), RECOVERY_STEPS) for _ in range(2))
    assert_equal(once, again)


@pytest.mark.parametrize("step", RECOVERY_STEPS)
def test_no_step_alone_makes_outputs_worse(tmp_path: Path, step: str):
    start = start_of_network(tmp_path, convnet())
    found = recover(start, [step])
    assert noise(start, found.candidate) <= noise(start, first(start))
    assert {gain.step for gain in found.record.steps} <= {step}
    before, after = found.record.before_db, found.record.after_db
    assert sum(gain.gain_db for gain in found.record.steps) == pytest.approx(after - before, abs=1e-3)


def test_what_the_judge_runs_is_new_to_the_ranges(tmp_path: Path):
    start = start_of_network(tmp_path, convnet())
    learning = start.learning()
    learnt = {index for group in start.split.learn for index in group}
    assert learnt.isdisjoint(index for group in start.split.judge for index in group)
    assert learning.samples.batches.groups == start.split.learn
    assert all(mine.amax <= whole.amax for mine, whole in zip(learning.ranges, start.ranges, strict=True))  # minmax
    assert learning.observed.samples == len(learnt)


def test_ranges_in_the_end_are_those_of_all_samples(tmp_path: Path):
    start = start_of_network(tmp_path, convnet())
    found = recover(start, ["gptq", "bias"])
    assert found.candidate.ranges == start.ranges
    assert found.histograms is start.observed.histograms


def test_equalizing_and_smoothing_are_told_apart():
    start = start_of_sample_model("digits_vit", samples=40)
    found = recover(start, ["equalize", "smooth"])
    assert [step.step for step in found.record.steps] == ["equalize", "smooth"]
    assert {layer.step for layer in found.record.layers} == {"smooth"}  # Gelu lets no factor pass
    gains = [step.gain_db for step in found.record.steps]
    assert gains[0] == 0.0 and sum(gains) == pytest.approx(found.record.after_db - found.record.before_db, abs=1e-3)


def test_without_steps_nothing_changes(tmp_path: Path):
    start = start_of_network(tmp_path, convnet())
    found = recover(start, [])
    assert found.candidate == first(start)
    assert found.record.before_db == found.record.after_db
    assert not found.record.steps and not found.candidate.base


def test_a_range_that_cuts_is_widened(tmp_path: Path):
    start = start_of_network(tmp_path, convnet())
    assert "x" in start.plan.groups[0].tensors
    whole = {group.tensors[0]: kept for group, kept in zip(start.plan.groups[1:], start.ranges[1:], strict=True)}
    cut = start_of_network(tmp_path, convnet(), ranges=RangeConfig("percentile", 90.0, manual=whole))
    assert cut.ranges[0].amax < 0.5 * start.ranges[0].amax and cut.ranges[1:] == start.ranges[1:]
    found = recover(cut, ["ranges"])
    assert found.candidate.ranges[0].amax > 1.2 * cut.ranges[0].amax
    assert noise(start, found.candidate) < 0.7 * noise(start, first(cut))


def test_a_range_that_was_given_stays(tmp_path: Path):
    proto = convnet()
    ranges = RangeConfig(method="minmax", manual={"r": 1.0, "x": 1.0})
    start = start_of_network(tmp_path, proto, ranges=ranges)
    found = recover(start, RECOVERY_STEPS)
    for number, group in enumerate(start.plan.groups):
        if group.tensors[0] in ranges.manual:
            assert found.candidate.ranges[number] == Range(-1.0, 1.0)


def test_a_weight_that_takes_all_codes_gives_them_back(tmp_path: Path):
    """A huge weight on a channel of zeros."""
    start = start_of_network(tmp_path, with_a_bad_layer(2))
    found = recover(start, ["weight-ranges", "gptq"])
    assert noise(start, found.candidate) < 0.5 * noise(start, first(start))


def test_a_channel_far_larger_than_the_others_is_equalized(tmp_path: Path):
    net = Net()
    x = net.input("x", (1, 3, 8, 8))
    weight, bias = net.weight(8, 3, 3, 3), net.weight(8)
    weight[0] *= 200
    a = net.op("Conv", x, net.constant(weight), net.constant(bias), name="a", pads=[1] * 4)
    net._channels[a] = 8
    reader = net.weight(4, 8, 3, 3)
    reader[:, 0] /= 200
    y = net.op("Conv", net.relu(a, "r"), net.constant(reader), name="y", pads=[1] * 4)
    start = start_of_network(tmp_path, net.proto(y))
    found = recover(start, ["equalize"])
    assert noise(start, found.candidate) < 0.1 * noise(start, first(start))
    assert [gain.where for gain in found.record.layers if gain.accepted] == ["r"]
    histogram = found.histograms["r"]
    assert histogram.amax < 0.1 * start.observed.histograms["r"].amax


def test_a_gain_far_larger_than_the_others_is_smoothed(tmp_path: Path):
    net = Net()
    x = net.input("x", (1, 6, 16))
    gain = np.ones(16, np.float32)
    gain[3] = 100.0
    n = net.op("LayerNormalization", x, net.constant(gain), net.constant(net.weight(16)), name="n")
    weight = net.weight(16, 12)
    weight[3] /= 100
    y = net.op("MatMul", n, net.constant(weight), name="y")
    start = start_of_network(tmp_path, net.proto(y))
    assert not recover(start, ["equalize"]).candidate.base
    found = recover(start, ["smooth"])
    assert noise(start, found.candidate) < 0.1 * noise(start, first(start))


def test_a_model_in_which_nothing_is_quantized(tmp_path: Path):
    net = Network()
    net.op("Exp", net.input("x", (1, 4)), name="y")
    start = start_of_network(tmp_path, net.proto("y"))
    found = recover(start, RECOVERY_STEPS)
    assert found.candidate == first(start)
    assert found.record.before_db == found.record.after_db == 200.0


def test_layers_left_float_stay_as_they_are(tmp_path: Path):
    start = start_of_network(tmp_path, convnet())
    one = replace(start, plan=restricted(start.plan, {"b"}))
    found = recover(one, ["gptq", "bias"])
    assert set(found.candidate.weights) <= {"b_w"}
    assert set(found.candidate.biases) <= {"b"}


def test_a_weight_of_two_layers_is_left_alone(tmp_path: Path):
    net = Net()
    weight = net.constant(net.weight(4, 4, 3, 3), "w")
    a = net.relu(net.op("Conv", net.input("x", (1, 4, 6, 6)), weight, name="a", pads=[1] * 4), "r")
    net.op("Conv", a, weight, name="y", pads=[1] * 4)
    start = start_of_network(tmp_path, net.proto("y"))
    assert start.plan.weights and not layers_of(start.model, start.plan)
    found = recover(start, RECOVERY_STEPS)
    assert not found.candidate.weights and not found.candidate.biases


def test_a_layer_that_reads_nothing_but_zeros(tmp_path: Path):
    net = Net()
    x = net.input("x", (1, 3, 6, 6))
    zeros = np.zeros((4, 3, 1, 1), np.float32)
    a = net.op("Conv", x, net.constant(zeros), net.constant(np.zeros(4, np.float32)), name="a")
    net._channels[a] = 4
    b = net.conv(net.relu(a, "r"), 4, "b", scale=None)
    c = net.conv(x, 4, "c", scale=None)
    start = start_of_network(tmp_path, net.proto(net.add(b, c, "y")))
    found = recover(start, RECOVERY_STEPS)
    assert noise(start, found.candidate) <= noise(start, first(start))
    assert all(np.isfinite(array).all() for array in found.candidate.weights.values())


@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5])
def test_few_samples_are_enough(tmp_path: Path, samples: int):
    start = start_of_network(tmp_path, convnet(), samples=samples)
    assert start.split.learn and start.split.judge
    found = recover(start, RECOVERY_STEPS)
    assert noise(start, found.candidate) <= noise(start, first(start))


def test_samples_that_run_together(tmp_path: Path):
    start = start_of_network(tmp_path, convnet(), batch_size=4)
    assert {len(group) for group in start.split.learn} > {1} or len(start.split.learn[0]) > 1
    found = recover(start, RECOVERY_STEPS)
    assert noise(start, found.candidate) < noise(start, first(start))


def test_a_batch_that_the_model_fixes(tmp_path: Path):
    start = start_of_network(tmp_path, convnet(batch=4), samples=41)
    found = recover(start, RECOVERY_STEPS)
    assert noise(start, found.candidate) < noise(start, first(start))


CONFIGS = (EVERY, replace(EVERY, deconv_per_channel=True), replace(EVERY, per_tensor_weights=True))


@pytest.mark.parametrize("config", CONFIGS)
def test_every_kind_of_weight_and_scale(tmp_path: Path, config: PlanConfig):
    """Grouped and depthwise (transposed) convolutions, Gemm stored both ways and MatMul with a bias behind it."""
    net = Net()
    a = net.conv(net.input("x", (1, 4, 6, 6)), 8, "a", group=2, scale=None)
    b = net.deconv(net.relu(a, "a_relu"), 8, "b", group=2)
    c = net.deconv(net.conv(net.relu(b, "b_relu"), 8, "d", group=8, scale=None), 8, "c", group=8)
    e = net.deconv(net.relu(c, "c_relu"), 4, "e")
    f = net.op("Flatten", net.op("GlobalAveragePool", e), name="f")
    g = net.relu(net.op("Gemm", f, net.constant(net.weight(4, 6)), name="g", alpha=0.5), "g_relu")
    h = net.relu(net.gemm(g, 6, 6, "h", scale=None), "h_relu")
    y = net.add(net.matmul(h, 6, 5, "m"), net.constant(net.weight(5)), "y")
    start = start_of_network(tmp_path, net.proto(y), plan=config)
    found = recover(start, RECOVERY_STEPS)
    assert {gain.where for gain in found.record.layers} >= set("abdeghm")
    assert noise(start, found.candidate) < noise(start, first(start))


def test_half_precision_models(tmp_path: Path):
    start = start_of_network(tmp_path, as_half(convnet(opset=19)))
    found = recover(start, RECOVERY_STEPS)
    assert {array.dtype for array in found.candidate.weights.values()} == {np.dtype(np.float16)}
    assert noise(start, found.candidate) < noise(start, first(start))


def test_layers_in_the_body_of_an_if_are_worked_on(tmp_path: Path):
    net = Net()
    x = net.input("x", (1, 3, 6, 6))
    a = net.relu(net.conv(x, 4, "a", scale=None), "r")
    c = net.op("Greater", net.op("ReduceMean", a, keepdims=0), net.constant(np.float32(0)))
    w = numpy_helper.from_array(net.weight(4, 4, 1, 1), "inner_w")
    info = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    other = helper.make_tensor_value_info("same", TensorProto.FLOAT, None)
    then = helper.make_graph(
        [helper.make_node("Conv", [a, "inner_w"], ["inner"], name="inner")], "then", [], [info], [w]
    )
    rest = helper.make_graph([helper.make_node("Relu", [a], ["same"], name="same")], "other", [], [other])
    net.op("If", c, name="z", then_branch=then, else_branch=rest)
    net._channels["z"] = 4
    start = start_of_network(tmp_path, net.proto(net.conv("z", 4, "y", scale=None)))
    found = recover(start, RECOVERY_STEPS)
    assert {gain.where for gain in found.record.layers if gain.step == "gptq"} == {"a", "inner", "y"}
    assert noise(start, found.candidate) < noise(start, first(start))


def test_an_exponent_under_which_the_model_overflows_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    start = start_of_network(tmp_path, convnet())
    observe = Start.observe

    def overflow(self: Start, model: ir.Model) -> Observation:
        if model is start.model:
            return observe(self, model)
        raise ModelError("The activation 'a' holds 1 values that are NaN or Inf.")

    monkeypatch.setattr(Start, "observe", overflow)
    found = recover(start, ["equalize"])
    assert found.candidate.ranges == start.ranges
    assert [gain.accepted for gain in found.record.layers] == [False] * len(found.record.layers)
