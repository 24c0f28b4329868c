"""Ranges judged by outputs: on networks made so that one range serves and another does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from calibrators import CANDIDATES, Histogram, Method, Range, ScaleGroup, choose_range, entropy, range_of
from calibrators.distribution import energy_outside
from qdq_cli.calibrating.calibration import Observation, choose
from qdq_cli.calibrating.judged import looked_at, with_judged
from qdq_cli.calibrating.taken_out import judged
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.toy_target import TOY

CHANNELS, SIDE, SAMPLES = 16, 12, 16

Values = NDArray[np.float32]


def network(groups: int) -> Network:
    """What reads the tensor `r`: a convolution of 3 by 3."""
    net = Network()
    made = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), CHANNELS, "first", scale=None), "r")
    net.conv(net.relu(net.conv(made, CHANNELS, "reader", group=groups, scale=None), "d"), 4, "last", scale=None)
    return net


def observed(values: Values, *, kept: Values | None = None) -> dict[str, Histogram]:
    """Histograms of a network whose tensor `r` holds these values, [samples, channels, side, side].

    Args:
        values: What all samples hold.
        kept: What the samples hold of which pieces are kept.
    """
    found = {name: Histogram() for name in ("images", "r", "d")}
    for histogram in found.values():
        histogram.observe(values)
    for key, sample in enumerate(values if kept is None else kept):
        found["r"].excerpts.add(key, sample[None])
    return found


def best_of(groups: int, histograms: Mapping[str, Histogram]) -> str:
    """The method whose range serves the readers of `r` best."""
    prepared = prepare(network(groups).model("last")).model
    plan = make_plan(prepared, TENSORRT)
    again = with_judged(prepared, plan, histograms, plan.groups)
    assert replace(again, groups=plan.groups) == plan
    return next(group.judged for group in again.groups if "r" in group.tensors)


def large_values_that_carry_the_signal() -> Values:
    """The first layer of a face detector: a channel that is 0 nearly always, and says what it says when it is large."""
    random = np.random.default_rng(2)
    values = np.abs(random.laplace(0, 0.3, (SAMPLES, CHANNELS, SIDE, SIDE)))
    large = random.uniform(0, 20, values[:, 0].shape)
    values[:, 0] = np.where(random.random(large.shape) < 0.05, large, 0)
    return values.astype(np.float32)


def large_values_that_say_little() -> Values:
    """One channel wider than all others, in its rarest values alone; what reads them needs the small ones."""
    values = np.abs(np.random.default_rng(2).laplace(0, 1, (SAMPLES, CHANNELS, SIDE, SIDE)))
    values[:, 0] *= 6
    return values.astype(np.float32)


def test_what_carries_the_signal_of_a_channel_is_not_cut_off():
    histograms = observed(large_values_that_carry_the_signal())
    amax = histograms["r"].amax
    assert entropy(histograms["r"], 32.0).amax < 0.7 * amax  # a divergence alone cuts off a third of the largest value
    assert choose_range(histograms["r"], CANDIDATES[best_of(CHANNELS, histograms)]).amax > 0.85 * amax


def test_what_says_little_is_cut_off():
    histograms = observed(large_values_that_say_little())
    chosen = choose_range(histograms["r"], CANDIDATES[best_of(CHANNELS, histograms)])
    assert chosen.amax < 0.75 * histograms["r"].amax


def test_sums_over_channels_are_left_to_mse():
    assert best_of(1, observed(large_values_that_say_little())) == ""


def test_values_that_no_piece_holds_count_by_the_histogram():
    """Pieces of 16 of 400 samples; one of the others holds large values, which then carry most of the energy."""
    random = np.random.default_rng(7)
    small = np.abs(random.laplace(0, 0.1, (SAMPLES, CHANNELS, SIDE, SIDE))).astype(np.float32)
    large = small.copy()
    large[0, 0, :6] = random.uniform(40, 60, (6, SIDE))
    unseen, none = observed(large, kept=small), observed(small)
    assert energy_outside(unseen["r"], Range(0, none["r"].amax)) > 0
    kept = choose_range(unseen["r"], CANDIDATES[best_of(CHANNELS, unseen)])
    assert kept.amax > 0.8 * large.max()


def test_a_range_stays_that_no_other_is_clearly_better_than():
    values = np.abs(np.random.default_rng(1).uniform(-1, 1, (SAMPLES, CHANNELS, SIDE, SIDE))).astype(np.float32)
    assert best_of(CHANNELS, observed(values)) == "mse"


def test_order_and_shares_do_not_matter():
    values = large_values_that_say_little()
    one = observed(values)
    joined = {name: Histogram() for name in one}
    for part in (slice(8, None), slice(0, 8)):
        for key in range(SAMPLES)[part]:
            share = observed(values[key : key + 1], kept=values[:0])
            share["r"].excerpts.add(key, values[key : key + 1])
            for name, histogram in share.items():
                joined[name].merge(histogram)
    assert joined == one
    assert best_of(CHANNELS, joined) == best_of(CHANNELS, one) != ""


def test_a_method_asked_for_by_name_is_taken_for_every_tensor():
    prepared = prepare(network(CHANNELS).model("last")).model
    plan, histograms = make_plan(prepared, TENSORRT), observed(large_values_that_say_little())
    for method in ("mse", "entropy", "minmax", "percentile"):
        config = RangeConfig(method)
        assert judged(prepared, plan, Observation(histograms), config) is plan
        found = choose(plan, Observation(histograms), config)
        assert found.chosen == (method,) * len(plan.groups)
        seen = [histograms[group.observed[0]] for group in plan.groups]
        assert found.groups == tuple(choose_range(one, Method(method)) for one in seen)  # type: ignore[arg-type]


def test_without_pieces_mse_decides():
    histograms = observed(large_values_that_say_little())
    group = ScaleGroup(("d",), ("d",))
    assert range_of(histograms, group, Method()) == choose_range(histograms["d"], Method("mse"))
    kept = range_of(histograms, replace(group, judged="percentile"), Method())
    assert kept == choose_range(histograms["d"], Method("percentile", 99.999))


def test_no_piece_of_what_is_fed_is_wanted():
    net = Network()
    net.conv(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 3, "fed", group=3, scale=None), 3, "made", group=3)
    for config in (PlanConfig(channel_rules=False, group_rules=False), PlanConfig(all_int8=True)):
        prepared = prepare(net.model("made")).model
        assert "images" not in looked_at(prepared, make_plan(prepared, TENSORRT, config))


def test_a_target_with_a_zero_point_is_judged_too():
    prepared = prepare(network(CHANNELS).model("last")).model
    target = replace(TOY, obstacles=TENSORRT.obstacles)
    plan = make_plan(prepared, target)
    again = with_judged(prepared, plan, observed(large_values_that_say_little()), plan.groups)
    assert any(group.judged for group in again.groups)


def test_energy_outside_a_range_is_that_of_the_values():
    values = np.random.default_rng(0).laplace(0, 1, 50_000).astype(np.float32)
    histogram = Histogram()
    histogram.observe(values)
    for kept in (Range(-1.0, 2.0), Range.symmetric(3.0), Range(0.5, 1.0)):
        beyond = values - np.clip(values, min(kept.minimum, 0), kept.maximum)
        assert energy_outside(histogram, kept) == pytest.approx(float(np.square(beyond).mean()), rel=0.01)
    assert energy_outside(histogram, Range(float(values.min()), float(values.max()))) == 0.0
