"""All that is known of a model before it is changed, and the same where some operators are left float after all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from calibrators import Range
from qdq_cli.calibrating import calibration
from qdq_cli.calibrating.calibration import Observation, Ranges, groups_to_observe
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.quiet_channels import with_quiet_enlarged
from qdq_cli.calibrating.spread_record import SpreadGain, SteadyGain
from qdq_cli.calibrating.steady import steady_biases
from qdq_cli.calibrating.taken_out import judged, shifted, without_ruined
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.judging.candidate import Candidate, with_constants, with_plan
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.preparing.dead_channels import Spreading
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.run import Run
from qdq_cli.recovering.record import Recovery
from qdq_cli.screen.sentences import some_of


@dataclass(frozen=True)
class Groundwork:
    """All that is known before a model is changed.

    Args:
        opened: The prepared model, and the plan that holds after calibration.
        samples: The calibration data; None where there is none.
        observed: What calibration saw.
        ranges: The range of each scale group of the plan.
        candidate: What is to be written: the same ranges, and what recovery changed.
        recovery: What recovery did; None where it was not asked for.
        spread: What making nearly dead channels larger gained.
        steady: What biases gained that make up for channels that hardly move.
    """

    opened: Opened
    samples: Samples | None
    observed: Observation
    ranges: Ranges
    candidate: Candidate
    recovery: Recovery | None = None
    spread: tuple[SpreadGain, ...] = ()
    steady: tuple[SteadyGain, ...] = ()

    @property
    def model(self) -> ir.Model:
        """The prepared model."""
        return self.opened.prepared.model

    @property
    def floats(self) -> ir.Model:
        """The float model that is quantized: the prepared one, as recovery equalized it."""
        base = self.candidate.base
        return with_constants(self.model, base) if base else self.model

    @property
    def plan(self) -> Plan:
        """What is to be quantized."""
        return self.opened.plan


def leave_float(run: Run, work: Groundwork, operators: Iterable[str]) -> Groundwork:
    """Plan again without some operators, and choose the ranges again from what was observed.

    Residual pairs and poolings move with the plan, and its scale groups may be smaller ones. What recovery found for
    the operators that both plans quantize stays.

    Args:
        run: The run; its plan's options hold for both plans.
        work: The model with these operators quantized. Every tensor that the smaller plan quantizes has to be observed
            (`graph.plan.shrinkable`).
        operators: Names or globs of nodes.

    Raises:
        UsageError: One of them matches nothing.
    """
    config = replace(run.config.plan, exclude=(*run.config.plan.exclude, *operators))
    return planned_again(replace(run, config=replace(run.config, plan=config)), work)


def planned_again(run: Run, work: Groundwork) -> Groundwork:
    """Plan by the options and the target of a run, and choose the ranges again from what was observed.

    What recovery found for the operators that both plans quantize in the same way stays.

    Args:
        run: The run.
        work: The model under another plan. Every tensor that the plan quantizes has to be observed.

    Raises:
        UsageError: An option names something that is not there.
    """
    plan = without_taken(run, make_plan(work.model, run.target, run.config.plan), work.model, work.observed)
    plan = judged(work.model, plan, work.observed, run.config.ranges)
    plan = shifted(work.model, plan, work.observed, run.config.plan, run.config.ranges)
    ranges = calibration.choose(plan, work.observed, _given(plan, run.config.ranges))
    candidate = carried_over(work.candidate, plan, ranges)
    ranges = recovered(ranges, candidate.ranges)
    again = replace(work, opened=replace(work.opened, plan=plan), ranges=ranges, candidate=candidate)
    return again if work.recovery is not None else with_steady(run, again)


def with_steady(run: Run, work: Groundwork) -> Groundwork:
    """Return the same with biases that make up for the rounding of channels that hardly move, if that is wanted."""
    if not run.config.plan.shift:
        return work
    found = steady_biases(work.model, work.plan, work.observed.histograms, work.ranges.groups)
    return replace(work, candidate=replace(work.candidate, biases=found.biases), steady=found.gains)


def without_taken(run: Run, plan: Plan, model: ir.Model, observed: Observation) -> Plan:
    """Plan again without what calibration shows not to bear INT8; the plan itself where there is nothing."""
    with run.stage("plan"):
        return without_ruined(model, plan, observed, run.config.plan, run.config.ranges)


def with_quiet(
    run: Run, model: ir.Model, plan: Plan, observed: Observation
) -> tuple[ir.Model, Observation, tuple[Spreading, ...]]:
    """Make nearly dead channels of quantized tensors larger where what calibration saw tells by how much.

    Returns:
        The model, what calibration saw as if of it, and what was done; what was given and nothing where there are none.
    """
    found = with_quiet_enlarged(model, plan, observed.histograms, groups_to_observe(plan, run.config.ranges))
    if not found.channels:
        return model, observed, ()
    return found.model, replace(observed, histograms=found.histograms, extremes={}), found.spread


def about_quiet(spread: Sequence[Spreading]) -> tuple[str, ...]:
    """Say which channels were made larger by what calibration saw."""
    channels = sum(int((each.factors != 1.0).sum()) for each in spread)
    if not channels:
        return ()
    return (
        "Nearly dead channels in front of depthwise convolutions, by what calibration saw: "
        f"{channels} made larger by powers of two ({some_of([each.operator for each in spread])}).",
    )


def carried_over(base: Candidate, plan: Plan, ranges: Ranges) -> Candidate:
    """Return the candidate of a smaller plan that keeps what a larger one has for the operators both quantize.

    Operators that became float get their own weights and biases back; scale groups that are the same in both plans
    keep their range.
    """
    known = {
        (group.tensors, base.plan.scheme_of(number)): kept
        for number, (group, kept) in enumerate(zip(base.plan.groups, base.ranges, strict=True))
    }
    kept = tuple(
        known.get((group.tensors, plan.scheme_of(number)), found)
        for number, (group, found) in enumerate(zip(plan.groups, ranges.groups, strict=True))
    )
    return with_plan(base, plan, kept)


def recovered(ranges: Ranges, groups: tuple[Range, ...]) -> Ranges:
    """Return the ranges that calibration chose with what recovery made of them."""
    chosen = (
        how if before == after else "recovery"
        for how, before, after in zip(ranges.chosen, ranges.groups, groups, strict=True)
    )
    return replace(ranges, groups=groups, chosen=tuple(chosen))


def _given(plan: Plan, config: RangeConfig) -> RangeConfig:
    """The given ranges of tensors that this plan quantizes; the larger plan used them all."""
    known = {tensor for group in plan.groups for tensor in group.tensors}
    imported = config.imported if known & config.imported.keys() else {}
    return replace(
        config, manual={name: kept for name, kept in config.manual.items() if name in known}, imported=imported
    )
