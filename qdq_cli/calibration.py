"""The data side of a run: open the samples, observe the planned tensors, choose a range for each scale group."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx_ir as ir

from calibrators import Histogram, Method, MethodName, choose_range
from calibrators.methods.mse import best_sqnr_db
from qdq_cli import cache
from qdq_cli.config import DataConfig, RangeConfig
from qdq_cli.data.batches import Batch, BatchPlan, Group, load_readable_batch, plan_batches
from qdq_cli.data.image_input import choose_preprocessing
from qdq_cli.data.inputs import InputSpec, parse_input_shapes, with_shapes
from qdq_cli.data.preprocess_text import from_json, to_json
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.data.selection import Selection, select
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.errors import DataError, UsageError
from qdq_cli.graph import runner
from qdq_cli.graph.operators import is_depthwise
from qdq_cli.graph.plan import Plan, ScaleGroup
from qdq_cli.progress import Listener


@dataclass(frozen=True)
class Samples:
    """Calibration data, opened: nothing but names and headers has been read.

    Args:
        every: All samples.
        selection: Which calibrate and which are held back.
        batches: The runs that calibrate.
        roots: The paths the samples came from.
    """

    every: SampleSet
    selection: Selection
    batches: BatchPlan
    roots: tuple[Path, ...]


def open_data(model: ir.Model, config: DataConfig, hold_back: int) -> Samples | None:
    """Open the samples of `--calib`; None where none were given.

    Args:
        model: The prepared model, whose inputs say what a sample is.
        config: Paths and preprocessing.
        hold_back: How many samples verification would like to have for itself.

    Raises:
        DataError: Nothing usable is there, or it does not fit the inputs.
        UsageError: Options contradict each other or the model.
    """
    if not config.calib:
        return None
    specs = input_specs(model)
    specs = with_shapes(specs, parse_input_shapes(config.input_shape, specs))
    preprocessing = choose_preprocessing(config.preprocess, config.overrides, specs)
    every = open_samples(config.calib, specs, preprocessing)
    selection = select(len(every), config.samples, config.seed, hold_back)
    return Samples(every, selection, plan_batches(every, selection.calibration, config.batch_size), config.calib)


def input_specs(model: ir.Model) -> tuple[InputSpec, ...]:
    """Return the graph inputs as calibration data sees them.

    Raises:
        DataError: An input is no tensor (a sequence or an optional).
    """
    return tuple(_input_spec(value) for value in model.graph.inputs)


def _input_spec(value: ir.Value) -> InputSpec:
    if value.dtype is None or value.shape is None or not isinstance(value.type, ir.TensorType):
        raise DataError(f"Graph input '{value.name}' is no tensor of known type and rank, so it cannot be fed.")
    dims = tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)
    dtype = np.dtype(object) if value.dtype == ir.DataType.STRING else np.dtype(value.dtype.numpy())
    return InputSpec(value.name or "", dtype, dims)


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
    found = _run_samples(model, tensors, samples, listener, keep_digests=config.cache is not None)
    return replace(found, histograms={**known.histograms, **found.histograms})


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
    hit = cache.look_up(path, model, tensors)
    if hit.missing:
        if samples is not None:
            return None
        raise DataError(
            f"The calibration cache {path} does not fit the model: {len(hit.missing)} of {len(tensors)} tensors are "
            f"not in it, such as {_some(list(hit.missing))}. It was made for other weights, another network or other "
            "placement options.",
            "Give --calib to calibrate again.",
        )
    if samples is not None and _preprocessing_text(samples) != hit.preprocessing:
        return None
    described = from_json(hit.preprocessing).describe() if hit.preprocessing else ""
    return Observation(hit.histograms, hit.samples, from_cache=True, preprocessing=described)


def save_cache(model: ir.Model, observed: Observation, samples: Samples | None, config: RangeConfig) -> None:
    """Write the calibration cache, if one was asked for and it is not where the ranges came from."""
    if config.cache is not None and samples is not None and observed.histograms and not observed.from_cache:
        cache.save(config.cache, model, observed.histograms, _preprocessing_text(samples), observed.digests)


def _preprocessing_text(samples: Samples) -> str:
    chosen = samples.every.preprocessing
    return to_json(chosen) if chosen else ""


def _run_samples(
    model: ir.Model, tensors: Sequence[str], samples: Samples, listener: Listener, *, keep_digests: bool
) -> Observation:
    """Run the calibration samples through the prepared float model and count the values of these tensors."""
    total = len(samples.selection.calibration)
    unreadable = UnreadableSamples(total)
    digests: set[str] = set()

    def load(group: Group) -> Batch | None:
        batch = load_readable_batch(samples.every, group, unreadable)
        if batch is not None and keep_digests:
            pairs = zip(batch.digests, batch.sources, strict=True)
            digests.update(cache.sample_key(content, source, samples.roots) for content, source in pairs)
        return batch

    groups = samples.batches.groups
    with listener.progress("calibrating", len(groups)) as advance:
        histograms = runner.observe(model, tensors, groups, load, on_batch=advance)
    chosen = samples.every.preprocessing
    dropped = samples.batches.dropped
    notes = [unreadable.note()] if unreadable.errors else []
    if dropped:
        notes.append(f"{dropped} samples were left over: the model takes exactly {samples.batches.batch_size} a run.")
    return Observation(
        histograms=histograms,
        samples=total - len(unreadable.errors) - dropped,
        preprocessing=chosen.describe() if chosen else "",
        notes=tuple(notes),
        digests=frozenset(digests),
    )


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
            amax.append(choose_range(merged, method).amax)
            dead += [] if amax[-1] else [group.tensors[0]]
    notes = [f"{len(dead)} activation tensors were zero in every sample (scale 1.0): {_some(dead)}."] if dead else []
    return Ranges(
        tuple(amax), sum(bool(config.manual.keys() & set(group.tensors)) for group in plan.groups), tuple(notes)
    )


def _merged(histograms: Mapping[str, Histogram], group: ScaleGroup) -> Histogram:
    merged = Histogram()
    for tensor in group.observed:
        merged.merge(histograms[tensor])
    return merged


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _check_manual(plan: Plan, config: RangeConfig) -> None:
    known = [tensor for group in plan.groups for tensor in group.tensors]
    for name in config.manual:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.4)
            hint = f"Near names: {', '.join(near)}." if near else "List the quantized tensors with --dry-run -v."
            raise UsageError(f"--range names the tensor '{name}', which is not quantized.", hint)
