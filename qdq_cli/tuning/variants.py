"""Variants of a model that differ in which operators stay float, as `qdq quantize --exclude` would make them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from qdq_cli import calibration
from qdq_cli.calibration import Ranges
from qdq_cli.config import RangeConfig
from qdq_cli.graph.plan import Plan, make_plan
from qdq_cli.pipeline import Groundwork, Run, without_wide
from qdq_cli.recover.candidate import Candidate, with_plan
from qdq_cli.tuning.stand import Stand


@dataclass(frozen=True)
class Variant:
    """A variant that can be measured and written.

    Args:
        work: The groundwork with its plan and ranges.
        candidate: The same as a value for trials.
    """

    work: Groundwork
    candidate: Candidate


def without(run: Run, stand: Stand, left_float: Iterable[str]) -> Variant:
    """Plan again without some operators, and choose the ranges again from what was observed.

    Residual pairs and poolings move with the plan, and its scale groups may be smaller ones.
    """
    config = replace(run.config.plan, exclude=(*run.config.plan.exclude, *left_float))
    smaller = replace(run, config=replace(run.config, plan=config))
    work, model = stand.work, stand.work.model
    plan = without_wide(smaller, model, make_plan(model, config), work.observed)
    ranges = calibration.choose(plan, work.observed, _given(plan, run.config.ranges))
    candidate = carried_over(stand.candidate, plan, ranges)
    ranges = replace(ranges, amax=candidate.amax)
    opened = replace(work.opened, plan=plan)
    return Variant(replace(work, opened=opened, ranges=ranges, candidate=candidate), candidate)


def carried_over(base: Candidate, plan: Plan, ranges: Ranges) -> Candidate:
    """Return the candidate of a smaller plan that keeps what a larger one has for the operators both quantize.

    Operators that became float get their own weights and biases back; scale groups that are the same in both plans
    keep their range.
    """
    known = {group.tensors: amax for group, amax in zip(base.plan.groups, base.amax, strict=True)}
    amax = tuple(known.get(group.tensors, found) for group, found in zip(plan.groups, ranges.amax, strict=True))
    return with_plan(base, plan, amax)


def _given(plan: Plan, config: RangeConfig) -> RangeConfig:
    """The given ranges of tensors that this plan quantizes; the larger plan used them all."""
    known = {tensor for group in plan.groups for tensor in group.tensors}
    imported = config.imported if known & config.imported.keys() else {}
    return replace(
        config, manual={name: amax for name, amax in config.manual.items() if name in known}, imported=imported
    )
