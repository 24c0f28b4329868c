"""The data side of a run: observe the planned tensors or find them in a cache, choose a range for each scale group."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import onnx_ir as ir

from calibrators import (
    CalibrationTable,
    Extremes,
    Histogram,
    Range,
    ScaleGroup,
    Scheme,
    chosen_by,
    range_of,
    read_cache,
    write_cache,
)
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.feeding import describe_feeding
from qdq_cli.calibrating.judged import looked_at
from qdq_cli.calibrating.magnitudes import extremes_to_watch
from qdq_cli.calibrating.observing import Job, Seen, run_samples
from qdq_cli.calibrating.ruined import small_readers
from qdq_cli.calibrating.sample_keys import SampleKeys
from qdq_cli.calibrating.stored import find, portrait_for, provider_of, table_of, with_groupings
from qdq_cli.calibrating.unfit import OTHER_OPTIONS, ends_of, way_out
from qdq_cli.config.execution import ON_CPU
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.data.doubts import Doubt, few_samples
from qdq_cli.data.fitness import constant_note
from qdq_cli.data.ranges import unmatched
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.target import Target
from qdq_cli.placement.topology import float_tensors
from qdq_cli.process.errors import DataError, UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.process.writable import check_writable
from qdq_cli.running.execution import current
from qdq_cli.screen.sentences import count_text, some_of


@dataclass(frozen=True)
class Observation:
    """What calibration saw.

    Args:
        histograms: Tensor name -> histogram.
        samples: How many samples were counted.
        from_cache: Whether a cache served and nothing was run.
        preprocessing: One line on how samples became inputs; "" for arrays.
        notes: Sentences the user should read.
        digests: Key of every sample, where a cache is read or to be written.
        served: The cache that serves some of the tensors while the others are run; None where it serves all or none.
        stored: Whether the cache is to stay as it is.
        doubts: What makes the samples that were run look unfit.
        extremes: Tensor name -> its smallest and largest value, of tensors without a histogram: for what a conversion
            of the floats needs to know.
        provider: Execution providers that ran the model.
    """

    histograms: Mapping[str, Histogram]
    samples: int = 0
    from_cache: bool = False
    preprocessing: str = ""
    notes: tuple[str, ...] = ()
    digests: frozenset[str] = frozenset()
    served: CalibrationTable | None = None
    stored: bool = False
    doubts: tuple[Doubt, ...] = ()
    extremes: Mapping[str, Extremes] = field(default_factory=dict)
    provider: str = ON_CPU.provider_text

    @property
    def known_extremes(self) -> dict[str, Extremes]:
        """The smallest and the largest value of every tensor that was observed in either way."""
        counted = {name: Extremes.of(found) for name, found in self.histograms.items() if found.count}
        seen = {name: found for name, found in self.extremes.items() if not found.is_empty}
        return {**seen, **counted}


NOTHING = Observation({})


def observe(
    model: ir.Model,
    plan: Plan,
    samples: Samples | None,
    config: RangeConfig,
    listener: Listener,
    known: Observation = NOTHING,
) -> Observation:
    """Get the histogram of every tensor that the plan observes in a group without a known or given range.

    All histograms come from the cache, or all from one run, but where `--cache-missing calibrate` asks for both. A run
    observes what a smaller plan may need too, as `qdq calibrate` would.

    Args:
        model: The prepared float model.
        plan: Whose tensors.
        samples: The calibration data; None where there is none.
        config: Given ranges and the cache.
        listener: Told about progress.
        known: What was observed before; only what is missing there is run.

    Raises:
        DataError: There are neither samples nor a cache that fits, or a sample cannot be used; or no given range is one
            of the plan's.
        UsageError: A range was given by hand for a tensor that the plan does not quantize.
        ModelError: The model cannot be run, or makes NaN or Inf.
    """
    _check_given(plan, config)
    wanted = tuple(tensor for group in groups_to_observe(plan, config) for tensor in group.observed)
    if not known.histograms.keys() >= set(wanted):
        known = _with_cache(known, (model, plan), wanted, samples, config)
    missing = tuple(tensor for tensor in wanted if tensor not in known.histograms)
    if not missing:
        return known
    if samples is None:
        raise _no_data(config, len(missing))
    if config.cache is None:
        there = {*known.histograms, *plan.observed}
        spare = (name for name in plan.candidates if name not in there)
        job = _job(model, plan, (*missing, *spare), known)
        if config.method != "auto":  # no cache that may be asked for it later
            job = replace(job, readers=small_readers(model, plan))
        return _with_seen(known, run_samples(job, samples, listener), samples)
    check_writable(config.cache, "--cache", "--cache")  # it was there, and does not serve
    return _for_cache(known, _job(model, plan, _lacking(model, plan, known), known), samples, listener)


def _lacking(model: ir.Model, plan: Plan, known: Observation) -> tuple[str, ...]:
    """Name what a cache of the plan needs, and neither the one that serves nor this run has."""
    there = known.histograms if known.served is None else find(known.served, model, plan.calibrated).histograms
    return tuple(name for name in plan.calibrated if name not in there and name not in known.histograms)


def _job(model: ir.Model, plan: Plan, tensors: Sequence[str], known: Observation) -> Job:
    """What to run samples for: histograms, and the extremes that are not known yet."""
    watched = extremes_to_watch(model, plan.calibrated)
    unknown = [name for name in watched if name not in known.extremes]
    return Job(model, tensors, extremes=unknown, readers=looked_at(model, plan))


def observe_extremes(
    model: ir.Model, tensors: Sequence[str], samples: Samples | None, listener: Listener, known: Observation
) -> Observation:
    """Run samples for the extremes of tensors that were not observed before; nothing is run where there are none.

    Args:
        model: The prepared float model.
        tensors: Names.
        samples: The calibration data; None where there is none.
        listener: Told about progress.
        known: What was observed before.

    Raises:
        DataError: A sample cannot be used.
        ModelError: The model cannot be run.
    """
    missing = [name for name in tensors if name not in known.histograms and name not in known.extremes]
    if not missing or samples is None:
        return known
    seen = run_samples(Job(model, (), extremes=missing), samples, listener)
    if known is NOTHING:
        return _with_seen(known, seen, samples)
    return replace(known, extremes={**known.extremes, **seen.extremes})


def _for_cache(known: Observation, job: Job, samples: Samples, listener: Listener) -> Observation:
    """Run the samples, with the keys by which a cache knows them."""
    keys = SampleKeys(samples.every, samples.selection.calibration, listener)
    return _with_seen(known, run_samples(job, samples, listener, keys=keys), samples)


def _with_cache(
    known: Observation,
    planned: tuple[ir.Model, Plan],
    wanted: Sequence[str],
    samples: Samples | None,
    config: RangeConfig,
) -> Observation:
    """Add what the cache knows of these tensors; where all came from it so far, they all do or none does."""
    if known is NOTHING or known.from_cache:
        return _from_cache(planned, wanted, samples, config)
    if known.served is None:
        return known
    return replace(known, histograms={**find(known.served, planned[0], wanted).histograms, **known.histograms})


def _no_data(config: RangeConfig, needed: int) -> DataError:
    """The error where there is neither data nor a cache."""
    if config.cache is not None and not config.cache.exists():
        return DataError(
            f"There is no calibration cache {config.cache}, and no calibration data to make it from was given.",
            "Check the path, or give a folder of images or arrays with --calib.",
        )
    verb = "needs" if needed == 1 else "need"
    return DataError(
        f"No calibration data was given, and {count_text(needed, 'tensor')} {verb} a range.",
        "Give a folder of images or arrays with --calib, or a calibration cache with --cache.",
    )


def _with_seen(known: Observation, seen: Seen, samples: Samples) -> Observation:
    """Add what was run to what was known."""
    histograms, extremes = {**known.histograms, **seen.histograms}, {**known.extremes, **seen.extremes}
    doubts = (*few_samples(samples.rows()), *samples.expectations.doubts(seen.values))
    if known.served is None:
        described, constant = describe_feeding(samples.feeding), constant_note(seen.values)
        notes = (*known.notes, *seen.notes, *([constant] if constant else []))
        return Observation(
            histograms,
            seen.samples,
            False,
            described,
            notes,
            seen.keys,
            doubts=doubts,
            extremes=extremes,
            provider=current().provider_text,
        )
    same = seen.keys == known.digests
    rest = "." if same else f" and its {known.samples}, which are not the same: the cache stays as it is."
    note = f"{len(seen.histograms)} tensors were calibrated on {seen.samples} samples; others come from the cache{rest}"
    notes = (*known.notes, *seen.notes, note)
    return replace(known, histograms=histograms, notes=notes, stored=not same, doubts=doubts, extremes=extremes)


def _from_cache(
    planned: tuple[ir.Model, Plan], tensors: Sequence[str], samples: Samples | None, config: RangeConfig
) -> Observation:
    """Return what the cache knows of these tensors; nothing where there is no cache, or where it is to be made again.

    Raises:
        DataError: The cache does not fit, and there is no data to make another one or it was forbidden.
    """
    path = config.cache
    if path is None or config.recalibrate or not path.exists():
        return NOTHING
    table, (model, plan) = read_cache(path), planned
    origin = table.provenance
    hit = find(table, model, tensors, (*plan.calibrated, *extremes_to_watch(model, plan.calibrated)))
    made = describe_feeding(origin.preprocessing)
    notes = (_by_values_note(len(hit.by_values)),) if hit.by_values else ()
    found = Observation(
        hit.histograms,
        origin.sample_count,
        True,
        made,
        notes,
        origin.samples,
        stored=True,
        extremes=hit.extremes,
        provider=provider_of(table),
    )
    fed_alike = samples is None or samples.feeding == origin.preprocessing
    if hit.missing:
        problem = (
            f"{len(hit.missing)} of {len(tensors)} tensors are not in it, such as {some_of(list(hit.missing), 10)}"
        )
        problem = ". ".join((problem, *hit.differences)).removesuffix(".")
    elif not fed_alike:
        problem = f"it was made with other preprocessing ({made or 'arrays'})"
    elif current().provider and current().provider_text != found.provider:
        problem = f"the model ran on the provider {found.provider} for it"
    elif not origin.samples:
        problem = "it holds no sample"
    else:
        return found
    if samples is not None and config.cache_missing is None:
        why = f" {OTHER_OPTIONS}" if hit.missing and hit.same_network else ""
        return replace(NOTHING, notes=(f"The calibration cache {path} is made again: {problem}.{why}",))
    if samples is not None and config.cache_missing == "calibrate" and fed_alike and hit.missing:
        return replace(found, from_cache=False, served=table, stored=False)
    raise DataError(
        f"The calibration cache {path} does not fit the model: {problem}.",
        way_out(samples, config, hit.missing, ends_of(model, plan), same_network=hit.same_network),
    )


def _by_values_note(count: int) -> str:
    return (
        f"The calibration cache was made from another export of the network: {count} tensors were found in it by their "
        "weights and by the values they take on made-up samples."
    )


def save_cache(
    model: ir.Model,
    observed: Observation,
    samples: Samples | None,
    config: RangeConfig,
    placement: tuple[Target, PlanConfig],
) -> None:
    """Write the calibration cache, if one was asked for and what was observed belongs into it."""
    if config.cache is None or samples is None or observed.stored or not observed.histograms:
        return
    histograms = dict(observed.histograms)
    if observed.served is not None:
        histograms |= find(observed.served, model, float_tensors(model.graph)).histograms
    portrait = portrait_for(model, samples)
    table = table_of(model, histograms, samples.feeding, observed.digests, portrait, observed.extremes)
    write_cache(with_groupings(table, model, *placement), config.cache)


@dataclass(frozen=True)
class Ranges:
    """The range of each scale group.

    Args:
        groups: One for each, in the tensors' units.
        manual: How many were given by hand.
        notes: Sentences the user should read (all-zero tensors).
        chosen: What chose each: a method, `known` or `given`.
    """

    groups: tuple[Range, ...]
    manual: int
    notes: tuple[str, ...]
    chosen: tuple[str, ...] = ()


def groups_to_observe(plan: Plan, config: RangeConfig) -> tuple[ScaleGroup, ...]:
    """Return the groups that need calibration: no range is known, and none was given."""
    return tuple(group for group in plan.groups if group.known is None and _given_range(group, config) is None)


def _given_range(group: ScaleGroup, config: RangeConfig) -> Range | None:
    """Return the range the user gave: by hand, else in a file; what holds all where tensors have several."""
    for ranges in (config.manual, config.imported):
        given = [ranges[tensor] for tensor in group.tensors if tensor in ranges]
        if given:
            return reduce(Range.joined, given)
    return None


def choose(plan: Plan, observed: Observation, config: RangeConfig, listener: Listener = SILENT) -> Ranges:
    """Choose a range for every scale group: by hand, known, or by the method from the group's merged histogram.

    Raises:
        UsageError: A range was given for a tensor that the plan does not quantize.
    """
    _check_given(plan, config)
    found, groups = [], len(plan.groups)
    with listener.progress("choosing ranges", groups) as advance:
        for number, group in enumerate(plan.groups):
            found.append(_choose(group, observed, plan.scheme_of(number), config))
            advance(number + 1, groups)
    dead = [group.tensors[0] for group, (kept, _) in zip(plan.groups, found, strict=True) if not kept.amax]
    notes = [f"Always zero in calibration, so the scale is 1.0: {some_of(dead)}."] if dead else []
    chosen = tuple(how for _, how in found)
    return Ranges(
        tuple(kept for kept, _ in found), chosen.count("given"), (*notes, *_imported_note(plan, config)), chosen
    )


def _choose(group: ScaleGroup, observed: Observation, scheme: Scheme, config: RangeConfig) -> tuple[Range, str]:
    """Choose the range of one scale group; returns what chose it, too."""
    given = _given_range(group, config)
    if given is not None and (group.known is None or config.manual.keys() & set(group.tensors)):
        return given, "given"
    if group.known is not None:
        return group.known, "known"
    method = config.chooser
    return range_of(observed.histograms, group, method, scheme), chosen_by(group, method, scheme)


def _imported_note(plan: Plan, config: RangeConfig) -> tuple[str, ...]:
    """Say how many ranges of a file are used, where that is not all of them."""
    used = config.imported.keys() & {tensor for group in plan.groups for tensor in group.tensors}
    if len(used) == len(config.imported):
        return ()
    return (
        f"{len(used)} of the {len(config.imported)} ranges of the file are used; the others name no quantized tensor.",
    )


def _check_given(plan: Plan, config: RangeConfig) -> None:
    known = [tensor for group in plan.groups for tensor in group.tensors]
    for name in config.manual:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else "List the quantized tensors with --dry-run -v."
            raise UsageError(f"--range names the tensor '{name}', which is not quantized.", hint)
    if (problem := unmatched(config.imported, known)) is not None:
        raise DataError(*problem)
