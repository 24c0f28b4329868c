"""Take out of a plan what calibration shows not to bear INT8: the plan again without these operators."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from calibrators import wide_tensors
from qdq_cli.calibrating.calibration import Observation, groups_to_observe
from qdq_cli.calibrating.ruined import lacks_excerpts, ruined_operators
from qdq_cli.calibrating.stored import depthwise_readers
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.placement.plan import Plan, make_plan

_CALIBRATED = RangeConfig()


def without_ruined(
    model: ir.Model, plan: Plan, observed: Observation, config: PlanConfig, ranges: RangeConfig = _CALIBRATED
) -> Plan:
    """Plan again without what does not bear INT8; the plan itself where there is nothing.

    These are the depthwise operators whose input no range serves, and then those of a small share of the work whose own
    results are too noisy under any range. Those whose range was given by hand are left alone.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        observed: What calibration saw of its tensors.
        config: What the plan was made from.
        ranges: Ranges that were given.
    """
    if wide := wide_depthwise(model, plan, observed, ranges):
        config = replace(config, wide=wide)
        plan = make_plan(model, plan.target, config)
    ruined = ruined_operators(model, plan, observed.histograms, groups_to_observe(plan, ranges))
    return make_plan(model, plan.target, replace(config, ruined=ruined)) if ruined else plan


def note_of_old_cache(model: ir.Model, plan: Plan, observed: Observation) -> tuple[str, ...]:
    """Say what cannot be looked for where a cache is from before what is needed for it was kept there."""
    if not observed.from_cache or not lacks_excerpts(model, plan, observed.histograms):
        return ()
    return (
        "The calibration cache holds no pieces of tensors, so operators that INT8 ruins are not looked for; calibrate "
        "again with this release to have them left float.",
    )


def wide_depthwise(
    model: ir.Model, plan: Plan, observed: Observation, config: RangeConfig | None = None
) -> frozenset[str]:
    """Return the depthwise convolutions whose input keeps too few effective bits under any range (`wide_tensors`).

    Those whose range is known or was given by hand are left alone; of those whose range a file gives it says so.
    """
    config = config or RangeConfig()
    wide = wide_tensors(observed.histograms, groups_to_observe(plan, config), plan.target.activations)
    said = {
        tensor
        for group in plan.groups
        if group.known is None and config.manual.keys().isdisjoint(group.tensors)
        for tensor in group.read_depthwise
        if tensor in config.wide
    }
    return depthwise_readers(model, plan, wide | said)
