"""Take out of a plan what calibration shows not to bear INT8: the plan again without these operators."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from calibrators import wide_tensors
from qdq_cli.calibrating.calibration import Observation, groups_to_observe
from qdq_cli.calibrating.judged import looked_at, with_judged
from qdq_cli.calibrating.ruined import ruined_operators
from qdq_cli.calibrating.shifted import with_shifts
from qdq_cli.calibrating.stored import depthwise_readers, never_run
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.placement.plan import Plan, make_plan

_CALIBRATED = RangeConfig()


def without_ruined(
    model: ir.Model, plan: Plan, observed: Observation, config: PlanConfig, ranges: RangeConfig = _CALIBRATED
) -> Plan:
    """Plan again without what does not bear INT8; the plan itself where there is nothing.

    These are the operators that no sample runs, the depthwise operators whose input no range serves, and then those of
    a small share of the work whose own results are too noisy under any range. Those whose range was given by hand are
    left alone.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        observed: What calibration saw of its tensors.
        config: What the plan was made from.
        ranges: Ranges that were given.
    """
    if unseen := never_run(plan, observed.histograms, groups_to_observe(plan, ranges)):
        config = replace(config, unseen=unseen)
        plan = make_plan(model, plan.target, config)
    if wide := wide_depthwise(model, plan, observed, ranges):
        config = replace(config, wide=wide)
        plan = make_plan(model, plan.target, config)
    centred = shifted(model, plan, observed, config, ranges)
    ruined = ruined_operators(model, centred, observed.histograms, groups_to_observe(plan, ranges))
    return make_plan(model, plan.target, replace(config, ruined=ruined)) if ruined else plan


def judged(model: ir.Model, plan: Plan, observed: Observation, ranges: RangeConfig) -> Plan:
    """Return the plan with what serves the outputs best as the range of each scale group, where that is asked for."""
    if ranges.method != "auto":
        return plan
    return with_judged(model, plan, observed.histograms, groups_to_observe(plan, ranges))


def shifted(model: ir.Model, plan: Plan, observed: Observation, config: PlanConfig, ranges: RangeConfig) -> Plan:
    """Return the plan with the tensors that are shifted so that they use all codes, unless that is switched off."""
    if not config.shift:
        return plan
    return with_shifts(model, plan, observed.histograms, groups_to_observe(plan, ranges))


def note_of_old_cache(model: ir.Model, plan: Plan, observed: Observation) -> tuple[str, ...]:
    """Say what cannot be looked for where a cache is from before what is needed for it was kept there."""
    there = [name for name in looked_at(model, plan) if name in observed.histograms]
    lacking = [name for name in there if not observed.histograms[name].excerpts.pieces]
    if not observed.from_cache or not lacking:
        return ()
    return (
        f"The calibration cache holds no pieces of {len(lacking)} of {len(there)} tensors, so their ranges are not "
        "judged by outputs, and operators that INT8 ruins are not looked for behind them; calibrate again with this "
        "release to have both.",
    )


def wide_depthwise(
    model: ir.Model, plan: Plan, observed: Observation, config: RangeConfig | None = None
) -> frozenset[str]:
    """Return the depthwise convolutions whose input keeps too few effective bits under any range (`wide_tensors`).

    Those whose range is known or was given by hand are left alone; of those whose range a file gives it says so.
    """
    config = config or RangeConfig()
    sorted_groups = plan.by_scheme(groups_to_observe(plan, config))
    found = (wide_tensors(observed.histograms, groups, scheme) for scheme, groups in sorted_groups.items())
    wide = frozenset[str]().union(*found)
    said = {
        tensor
        for group in plan.groups
        if group.known is None and config.manual.keys().isdisjoint(group.tensors)
        for tensor in group.read_depthwise
        if tensor in config.wide
    }
    return depthwise_readers(model, plan, wide | said)
