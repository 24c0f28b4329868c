"""Trials measure what the written model would do; noise adds up; constants change in the clone alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from calibrators import Range
from calibrators.noise import ChannelNoise
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.data.batches import Batch
from qdq_cli.judging.candidate import Candidate
from qdq_cli.judging.trials import Trials, channel_axis
from qdq_cli.model.nodes import initializer_array
from qdq_cli.placement.bias_place import bias_place
from qdq_cli.placement.plan import make_plan, restricted
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import DataError
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source
from qdq_cli.targets.tensorrt.table import TENSORRT

SAMPLE_MODELS = Path(__file__).parents[2] / "sample_models"


def _prepared(name: str) -> ir.Model:
    return prepare(ir.load(str(SAMPLE_MODELS / f"{name}.onnx"))).model


def _batches(model: ir.Model, count: int = 4) -> list[Batch]:
    rng = np.random.default_rng(7)
    value = model.graph.inputs[0]
    assert value.shape is not None
    dims = [dim if isinstance(dim, int) else 1 for dim in value.shape]
    return [Batch({value.name or "": rng.random(dims, np.float32)}, (str(number),), 1) for number in range(count)]


@pytest.mark.parametrize("name", ["digits_resnet", "digits_vit", "digits_gru"])
def test_a_trial_computes_what_the_written_model_computes(name: str) -> None:
    model = _prepared(name)
    plan = make_plan(model, TENSORRT)
    ranges = tuple(Range.symmetric(1.0 + 0.1 * number) for number in range(len(plan.groups)))
    batches = _batches(model)
    outcome = Trials(model, batches).measure(Candidate(plan, ranges))

    written = rewrite(model, plan, ranges, weights=WeightForm.FP32, form=Form.PAIRS).model
    float_runner = Runner(Source(ir.to_proto(model).SerializeToString()))
    int8_runner = Runner(Source(ir.to_proto(written).SerializeToString()))
    noise = {name: ChannelNoise(None) for name in outcome.sqnr_db}
    for batch in batches:
        expected, found = float_runner.run(batch), int8_runner.run(batch)
        for output, sums in noise.items():
            sums.observe(expected[output], found[output])
    ratios = {output: 10.0 ** (-sqnr / 10.0) for output, sqnr in outcome.sqnr_db.items()}
    assert ratios == pytest.approx({output: sums.ratio for output, sums in noise.items()}, rel=1e-6)


def test_nothing_quantized_has_no_noise_and_the_model_stays_as_it_is() -> None:
    model = _prepared("digits_resnet")
    before = ir.to_proto(model).SerializeToString()
    plan = make_plan(model, TENSORRT)
    trials = Trials(model, _batches(model))
    weight = plan.weights[0].tensor
    changed = 0.5 * initializer_array(model.graph, weight)
    bias = np.linspace(-1.0, 1.0, changed.shape[0])

    assert trials.measure(Candidate(restricted(plan, set()), (Range(-1.0, 1.0),) * len(plan.groups))).noise == 0.0
    nothing = restricted(plan, set())
    ranges = (Range(-1.0, 1.0),) * len(plan.groups)
    assert trials.measure(Candidate(nothing, ranges, weights={weight: changed})).noise > 0.0
    assert trials.measure(Candidate(nothing, ranges, biases={plan.weights[0].use.node: bias})).noise > 0.0
    assert ir.to_proto(model).SerializeToString() == before


def test_what_batches_contribute_adds_up_to_the_noise() -> None:
    model = _prepared("digits_resnet")
    plan = make_plan(model, TENSORRT)
    candidate = Candidate(plan, (Range(-1.0, 1.0),) * len(plan.groups))
    trials = Trials(model, _batches(model))
    parts = trials.noise_by_batch(candidate)
    assert len(parts) == trials.batches == 4
    assert sum(parts) == pytest.approx(trials.measure(candidate).noise)
    assert trials.values == 4 * 10
    assert trials.measure(candidate, only=(0, 1, 2)) == trials.measure(candidate, limit=3)
    assert trials.measure(candidate, only=(3,)) != trials.measure(candidate, limit=1)


def test_a_restricted_plan_quantizes_these_nodes_alone() -> None:
    plan = make_plan(_prepared("digits_resnet"), TENSORRT)
    one = restricted(plan, {plan.quantized[2]})
    assert one.quantized == (plan.quantized[2],)
    assert {use.node for target in one.targets for use in target.uses} == {plan.quantized[2]}
    assert [target.use.node for target in one.weights] == [plan.quantized[2]]
    assert one.groups == plan.groups


def test_bias_place_of_a_model_has_one_number_a_channel() -> None:
    model = _prepared("digits_resnet")
    node = next(node for node in model.graph if node.op_type == "Conv")
    channels = node.inputs[1].const_value.shape[0]  # type: ignore[union-attr]
    place = bias_place(node, channels)
    assert place is not None
    assert place.value.shape == (channels,)
    assert bias_place(node, channels + 1) is None


def test_noise_is_told_apart_along_the_shortest_axis() -> None:
    assert channel_axis([(1, 3549, 85)]) == 2
    assert channel_axis([(1, 3, 64, 64)]) == 1
    assert channel_axis([(8, 10)]) is None


def test_an_axis_whose_length_changes_holds_no_channels() -> None:
    assert channel_axis([(1, 32, 16, 16), (1, 32, 18, 18)]) == 1
    assert channel_axis([(1, 5, 4), (1, 6, 4), (2, 7, 4)]) == 2
    assert channel_axis([(1, 5, 4), (1, 6, 3)]) is None


def test_channels_count_alike_and_portions_do_not_matter() -> None:
    reference = np.stack([np.full(50, 100.0), np.full(50, 0.1)], axis=1)
    other = reference + np.stack([np.full(50, 1.0), np.full(50, 0.05)], axis=1)
    whole, parts = ChannelNoise(1), ChannelNoise(1)
    whole.observe(reference, other)
    for start in range(0, 50, 7):
        parts.observe(reference[start : start + 7], other[start : start + 7])
    assert whole.ratio == pytest.approx((0.01**2 + 0.5**2) / 2)
    assert parts.ratio == pytest.approx(whole.ratio)


@pytest.mark.parametrize(("other", "ratio"), [(0.0, 1.0), (5.0, 1.0), (1.0, 0.0), (np.nan, 1.0), (np.inf, 1.0)])
def test_noise_is_at_most_the_signal(other: float, ratio: float) -> None:
    noise = ChannelNoise()
    noise.observe(np.ones(4), np.full(4, other))
    assert noise.ratio == ratio


def test_an_output_of_zeros_that_stays_zero_has_no_noise() -> None:
    noise = ChannelNoise()
    noise.observe(np.zeros(4), np.zeros(4))
    assert noise.ratio == 0.0


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError, match="nothing to compare"):
        Trials(_prepared("digits_resnet"), [])


def test_a_race_is_given_up_where_the_batches_so_far_say_enough() -> None:
    model = _prepared("digits_resnet")
    plan = make_plan(model, TENSORRT)
    trials = Trials(model, _batches(model, 12))
    wide, narrow = (Candidate(plan, (Range.symmetric(amax),) * len(plan.groups)) for amax in (8.0, 0.5))
    rival = trials.noise_by_batch(wide)
    lost = trials.race(narrow, rival, 0.002)
    assert (lost.noise, lost.parts) == (None, None)
    assert lost.ratio > 1.5
    won = trials.race(wide, trials.noise_by_batch(narrow), 0.002)
    assert won.noise == pytest.approx(trials.noise(wide), rel=1e-12)
    assert won.parts == pytest.approx(rival, rel=1e-12)
    assert won.ratio == pytest.approx(sum(rival) / sum(trials.noise_by_batch(narrow)))
    even = trials.race(wide, rival, 0.0)
    assert even.ratio == pytest.approx(1.0), "what is as good runs to the end"
    assert even.parts is not None
