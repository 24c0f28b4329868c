"""The data side of a run: observe the planned tensors or find them in a cache, choose a range for each scale group."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import onnx_ir as ir

from calibrators import Histogram, Method, MethodName, choose_range, read_cache, write_cache
from calibrators.methods.mse import best_sqnr_db
from qdq_cli.cache.feeding import describe_feeding
from qdq_cli.cache.model import find, table_of
from qdq_cli.calibration_data import Samples
from qdq_cli.config import RangeConfig
from qdq_cli.errors import DataError, UsageError
from qdq_cli.graph.operators import is_depthwise
from qdq_cli.graph.plan import Plan, ScaleGroup
from qdq_cli.observing import Job, run_samples
from qdq_cli.progress import Listener


@dataclass(frozen=True)
class Observation:
    """What calibration saw.

    Args:
        histograms: Tensor name -> histogram.
        samples: How many samples were counted.
        from_cache: Whether a cache served and nothing was run.
        preprocessing: One line on how pictures became inputs; "" for arrays.
        notes: Sentences the user should read.
        digests: Digest of every sample, where a cache is to be written.
    """

    histograms: Mapping[str, Histogram]
    samples: int = 0
    from_cache: bool = False
    preprocessing: str = ""
    notes: tuple[str, ...] = ()
    digests: frozenset[str] = frozenset()


NOTHING = Observation({})


def observe(
    model: ir.Model,
    plan: Plan,
    samples: Samples | None,
    config: RangeConfig,
    listener: Listener,
    known: Observation = NOTHING,
) -> Observation:
    """Get the histogram of every tensor that the plan observes in a group without a known or manual range.

    Args:
        model: The prepared float model.
        plan: Whose tensors.
        samples: The calibration data; None where there is none.
        config: Manual ranges and the cache.
        listener: Told about progress.
        known: What was observed before; only what is missing there is run.

    Raises:
        DataError: There are neither samples nor a cache, or a sample cannot be used.
        ModelError: The model cannot be run, or makes NaN or Inf.
    """
    wanted = tuple(tensor for group in groups_to_observe(plan, config) for tensor in group.observed)
    if known.histograms.keys() >= set(wanted):
        return known
    if known is NOTHING or known.from_cache:  # never mixed: all ranges come from the cache, or all from one run
        known = NOTHING
        cached = _from_cache(model, wanted, samples, config)
        if cached is not None:
            return cached
    tensors = tuple(tensor for tensor in wanted if tensor not in known.histograms)
    if samples is None:
        raise DataError(
            f"No calibration data was given, and {len(tensors)} tensors need a range.",
            "Give a folder of images or arrays with --calib, or a calibration cache with --cache.",
        )
    seen = run_samples(Job(model, tensors), samples, listener, with_keys=config.cache is not None)
    return Observation(
        histograms={**known.histograms, **seen.histograms},
        samples=seen.samples,
        preprocessing=describe_feeding(samples.feeding),
        notes=seen.notes,
        digests=seen.keys,
    )


def _from_cache(
    model: ir.Model, tensors: Sequence[str], samples: Samples | None, config: RangeConfig
) -> Observation | None:
    """Return what the cache knows of these tensors; None where there is no cache, or where it must be made again.

    Raises:
        DataError: The cache does not fit, and there is no data to make another one.
    """
    path = config.cache
    if path is None or config.recalibrate or not path.exists():
        return None
    table = read_cache(path)
    hit = find(table, model, tensors)
    if hit.missing:
        if samples is not None:
            return None
        raise DataError(
            f"The calibration cache {path} does not fit the model: {len(hit.missing)} of {len(tensors)} tensors are "
            f"not in it, such as {_some(list(hit.missing))}. It was made for other weights, another network or other "
            "placement options.",
            "Give --calib to calibrate again.",
        )
    origin = table.provenance
    if samples is not None and samples.feeding != origin.preprocessing:
        return None
    described = describe_feeding(origin.preprocessing)
    return Observation(hit.histograms, origin.sample_count, from_cache=True, preprocessing=described)


def save_cache(model: ir.Model, observed: Observation, samples: Samples | None, config: RangeConfig) -> None:
    """Write the calibration cache, if one was asked for and it is not where the ranges came from."""
    if config.cache is not None and samples is not None and observed.histograms and not observed.from_cache:
        write_cache(table_of(model, observed.histograms, samples.feeding, observed.digests), config.cache)


@dataclass(frozen=True)
class Ranges:
    """The range of each scale group.

    Args:
        amax: In the tensors' units, one a group.
        manual: How many were given by hand.
        notes: Sentences the user should read (all-zero tensors).
    """

    amax: tuple[float, ...]
    manual: int
    notes: tuple[str, ...]


def groups_to_observe(plan: Plan, config: RangeConfig) -> tuple[ScaleGroup, ...]:
    """Return the groups that need calibration: no range is known, and none was given by hand."""
    return tuple(
        group for group in plan.groups if group.known_amax is None and not config.manual.keys() & set(group.tensors)
    )


EFFECTIVE_BITS = 4
"""What a depthwise convolution needs of its input to be quantized, under the best range there is."""

_MIN_DEPTHWISE_SQNR_DB = 6.02 * EFFECTIVE_BITS + 1.76
"""The SQNR of that many bits on uniformly distributed values."""


def wide_depthwise(model: ir.Model, plan: Plan, observed: Observation) -> frozenset[str]:
    """Return the depthwise convolutions whose input keeps fewer than four effective bits under any range.

    A depthwise convolution reads each channel alone. Where few channels hold values many times larger than the rest,
    one range for all of them leaves the rest a handful of codes, and there is no sum over channels in which the
    rounding errors would average out, as there is in every other convolution. The measure is the SQNR of the tensor at
    its mse-optimal range, so it depends on the data alone, not on the method.

    Source: measured, one such tensor takes a YOLOX-Nano detector from 32.1 to 14.9 AP (docs/accuracy.md); the relation
    of bits and SQNR is that of a uniform quantizer, 6.02 b + 1.76 dB.
    """
    nodes = {node.name: node for node in model.graph}
    wide = set()
    for target in plan.targets:
        group = plan.groups[target.group]
        readers = [use.node for use in target.uses if is_depthwise(nodes[use.node])]
        seen = observed.histograms.keys() >= set(group.observed)
        if readers and seen and best_sqnr_db(_merged(observed.histograms, group)) < _MIN_DEPTHWISE_SQNR_DB:
            wide.update(readers)
    return frozenset(wide)


def choose(plan: Plan, observed: Observation, config: RangeConfig) -> Ranges:
    """Choose a range for every scale group: by hand, known, or by the method from the group's merged histogram.

    Raises:
        UsageError: A range was given for a tensor that the plan does not quantize.
    """
    _check_manual(plan, config)
    method = Method(cast(MethodName, config.method), config.percentile)
    amax, dead = [], []
    for group in plan.groups:
        by_hand = [config.manual[tensor] for tensor in group.tensors if tensor in config.manual]
        if by_hand:
            amax.append(max(by_hand))
        elif group.known_amax is not None:
            amax.append(group.known_amax)
        else:
            merged = _merged(observed.histograms, group)
            amax.append(choose_range(merged, method, depthwise=group.depthwise).amax)
            dead += [] if amax[-1] else [group.tensors[0]]
    notes = [f"Always zero in calibration, so the scale is 1.0: {_some(dead)}."] if dead else []
    return Ranges(
        tuple(amax), sum(bool(config.manual.keys() & set(group.tensors)) for group in plan.groups), tuple(notes)
    )


def _merged(histograms: Mapping[str, Histogram], group: ScaleGroup) -> Histogram:
    merged = Histogram()
    for tensor in group.observed:
        merged.merge(histograms[tensor])
    return merged


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_manual(plan: Plan, config: RangeConfig) -> None:
    known = [tensor for group in plan.groups for tensor in group.tensors]
    for name in config.manual:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else "List the quantized tensors with --dry-run -v."
            raise UsageError(f"--range names the tensor '{name}', which is not quantized.", hint)
