"""`qdq compare` on one page: load both models, open the samples, run, compare outputs and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from qdq_cli.calibrating.calibration_data import Samples, open_every
from qdq_cli.comparing.alignment import make_comparable, require_same_interface, to_one_opset
from qdq_cli.comparing.bodies import BodyRunner, shared_bodies
from qdq_cli.comparing.codes import has_codes, spell_out
from qdq_cli.comparing.layers import LayerMeter
from qdq_cli.comparing.low_outputs import can_explain, low_outputs
from qdq_cli.comparing.page import comparison_page
from qdq_cli.comparing.profile import make_profile
from qdq_cli.comparing.record import Comparison
from qdq_cli.comparing.saturation import SaturationMeter, saturation_meter
from qdq_cli.comparing.shadow import is_quantization
from qdq_cli.comparing.shifted_back import shift_back
from qdq_cli.comparing.written_as import options_of
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.data.batches import Batch, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.inspecting.drawn import sections_of
from qdq_cli.model import files
from qdq_cli.model.integer_io import with_float_io
from qdq_cli.model.opset import MIN_OPSET
from qdq_cli.model.provenance import SPREAD, recovery_of
from qdq_cli.preparing.paired import Pair, paired
from qdq_cli.process.clock import Clock
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError, ModelError
from qdq_cli.process.progress import SILENT, Listener, telling
from qdq_cli.quantizing.limits import held_limits, hold_limits
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.quantizing.speed import MORE_EFFORT, first_batch
from qdq_cli.quantizing.speed_limit import held_speed, unmet_speed
from qdq_cli.running.execution import runs_as_told
from qdq_cli.running.runner import Runner
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.page_target import check_page_target
from qdq_cli.screen.render import write_page
from qdq_cli.timing.models import time_models
from qdq_cli.timing.record import Speed
from qdq_cli.timing.runtimes import DEFAULT_RUNTIME

DEFAULT_SAMPLES = 64
"""Samples by default: enough for distances, while agreement in percent needs more."""


@runs_as_told
def compare_models(config: CompareConfig, listener: Listener = SILENT) -> Comparison:
    """Run a float model and its quantized form on the same samples, ONNX Runtime's graph optimisations off.

    Products of integers are exact on every processor; what ONNX Runtime's default session gives where they saturate is
    computed besides.

    Args:
        config: The models, the data, whether every shared tensor is compared, and where a page goes.
        listener: Told about progress and notes.

    Raises:
        ModelError: A model cannot be read or run, or the two have different inputs or outputs, or share no tensor.
        DataError: No sample can be used.
        UsageError: Options contradict each other or the model.
    """
    clock = Clock()
    if config.report is not None:
        check_page_target(config.report, (config.reference, config.quantized))
    with clock.stage("load"), telling(listener, "loading"):
        reference, quantized = files.load(config.reference), files.load(config.quantized)
        written_as = options_of(quantized.model)
        for source in (reference, quantized):
            make_comparable(source.model)
        require_same_interface(reference.model, quantized.model)
        samples = _open(reference.model, config.data)
        pair, explain = _paired(reference.path, quantized.path), can_explain(quantized.model)
    about = (*_about(quantized.model, layers=config.layers), *((_CUT,) if pair.cut else ()))
    notes = (*about, *map(str, samples.every.doubts), *samples.notes)
    for note in notes:
        listener.note(note)
    with clock.stage("load"):
        saturation = saturation_meter(quantized)
        meter = _layer_meter(reference.model, quantized.model) if config.layers else None
    meters = _Meters((pair.reference, pair.candidate), OutputMeter(), meter, saturation, clock, written_as)
    seen = _run(samples, meters.observe, listener)
    speed = _timed(config, (reference.path, quantized.path), samples, clock, listener)
    found = replace(_comparison(config, samples, seen, meters), notes=notes)
    low = low_outputs(found.outputs, pair, quantized.path, samples, explain=explain)
    found = replace(found, low=low, speed=speed, limits=(*found.limits, *held_speed(speed, config.min_speedup)))
    for note in _about_codes(found):
        listener.note(note)
        found = replace(found, notes=(*found.notes, note))
    if config.report is not None:
        write_page(comparison_page(found, sections_of(config.quantized)), config.report)
    return found


def _timed(
    config: CompareConfig, models: tuple[Path, Path], samples: Samples, clock: Clock, listener: Listener
) -> Speed | None:
    """Time both on the first batch, each as ONNX Runtime runs it by default; None where that was not asked for.

    Raises:
        ModelError: One of them does not run by default.
    """
    if not config.time and config.min_speedup is None:
        return None
    batch = first_batch(samples, samples.batches.groups)
    assert batch is not None  # it was compared
    with clock.stage("time"):
        return time_models(models, batch, DEFAULT_RUNTIME, MORE_EFFORT, listener=listener)


_CUT = "The outputs lie behind operators that ONNX Runtime does not know; what these read is compared in their place."


def _paired(reference: Path, quantized: Path) -> Pair:
    pair = paired(reference, quantized)
    if pair is None:
        raise ModelError(
            "The two models share no tensor in front of the operators that ONNX Runtime does not know.",
            "Compare models whose outputs it can compute.",
        )
    return pair


@dataclass(frozen=True)
class _Meters:
    """What a batch goes through."""

    runners: tuple[Runner, Runner]
    outputs: OutputMeter
    layers: LayerMeter | None
    saturation: SaturationMeter | None
    clock: Clock
    written_as: tuple[str, ...]

    def observe(self, batch: Batch) -> None:
        with self.clock.stage("outputs"):
            expected, given = (runner.run(batch) for runner in self.runners)
            self.outputs.observe(expected, given, batch)
            if self.saturation is not None:
                self.saturation.observe(expected, batch)
        if self.layers is not None:
            with self.clock.stage("layers"):
                self.layers.observe(batch)


def _comparison(config: CompareConfig, samples: Samples, seen: int, meters: _Meters) -> Comparison:
    preprocessing = samples.every.preprocessing
    outputs, rows = meters.outputs.distances(), meters.outputs.rows()
    return Comparison(
        schema_version=SCHEMA_VERSION,
        reference=str(config.reference),
        quantized=str(config.quantized),
        samples=seen,
        batch_size=samples.batches.batch_size,
        preprocessing="" if preprocessing is None else preprocessing.describe(),
        assumed=preprocessing is not None and preprocessing.assumed,
        outputs=outputs,
        not_compared=meters.outputs.not_compared(),
        rows=rows,
        limits=held_limits(outputs, _limits(config), rows),
        layers=None if meters.layers is None else replace(meters.layers.layers(), written_as=meters.written_as),
        seconds=meters.clock.seconds(),
        saturation=None if meters.saturation is None else meters.saturation.found(),
    )


def require_limits(found: Comparison, config: CompareConfig) -> None:
    """Hold every output against the limits.

    Raises:
        LimitError: An output misses one, no output could be held against one, or the model is too slow.
    """
    hint = "Where does it start? --layers says so." if found.layers is None else "The layers above say where it starts."
    hold_limits(found.outputs, found.not_compared, _limits(config), hint, found.rows)
    if (slow := unmet_speed(found.speed, config.min_speedup, "")) is not None:
        raise slow


def _limits(config: CompareConfig) -> VerifyConfig:
    return VerifyConfig(min_sqnr=config.min_sqnr, min_agreement=config.min_agreement)


def _open(model: ir.Model, config: DataConfig) -> Samples:
    """Open the samples to compare on: as many as asked for, else up to the default, evenly spread."""
    return open_every(model, config, DEFAULT_SAMPLES)


def _layer_meter(reference: ir.Model, quantized: ir.Model) -> LayerMeter:
    with_float_io(quantized)
    reference, quantized = to_one_opset(reference, quantized, MIN_OPSET if has_codes(quantized) else 1)
    spell_out(quantized)
    shift_back(reference, quantized)
    profile = make_profile(reference, quantized)
    bodies = shared_bodies(reference, quantized, profile)
    if not profile.rows and not bodies:
        raise ModelError(
            "The two models share no tensor besides their inputs and outputs, so layers cannot be compared.",
            "Tensors are matched by name: compare with the float model that was quantized, or leave --layers out.",
        )
    try:
        return LayerMeter(profile, bodies, BodyRunner(reference, quantized, bodies) if bodies else None)
    except ModelError as error:  # each model by itself was loaded before
        raise ModelError(f"Layers cannot be compared: {error.message}", "Leave --layers out.") from error


def _about(quantized: ir.Model, *, layers: bool) -> tuple[str, ...]:
    """What to know of the second model before its numbers are read."""
    if not any(is_quantization(node) for node in quantized.graph.all_nodes()):
        return ("The second model quantizes nothing: it has no Q, DQ or operators on codes.",)
    return tuple(sentence for sentence in _about_layers(quantized) if sentence) if layers else ()


def _about_layers(quantized: ir.Model) -> Iterator[str]:
    """Say where the insides of the second model differ from the float model's on purpose."""
    steps, known = recovery_of(quantized), quantized.metadata_props
    if SPREAD in known:
        yield (
            f"The second model has nearly dead channels made larger, in front of {known[SPREAD]}: there, tensors and "
            "weights differ from the float model's on purpose; judge it by its outputs."
        )
    if {"equalize", "smooth"}.intersection(steps):
        yield (
            f"The second model was recovered ({', '.join(steps)}): between equalized layers, tensors and weights "
            "differ from the float model's on purpose; judge it by its outputs."
        )


_NOISELESS_DB = 60.0
"""Differences between outputs that are this good are roundings."""

_SAME_DB = 1.0
"""Integer operators and the floats they stand for agree this well where they mean the same."""


def _about_codes(found: Comparison) -> Iterator[str]:
    """Say where operators on codes give something else than the DQ, float operator and Q as which layers are run."""
    for layer in () if found.layers is None else found.layers.ranked:
        output, inside = found.outputs.get(layer.tensor), layer.accumulated.sqnr_db
        if (
            output is not None
            and min(output.sqnr_db, inside) < _NOISELESS_DB
            and abs(output.sqnr_db - inside) > _SAME_DB
        ):
            yield (
                f"Layers are run in floats, where the output '{layer.tensor}' reaches {decibels(inside)}; the model "
                f"itself reaches {decibels(output.sqnr_db)}: its operators on codes add an error "
                "of their own."
            )


def _run(samples: Samples, observe: Callable[[Batch], None], listener: Listener) -> int:
    """Load one batch after the other and let it be observed; returns how many samples that were."""
    unreadable = UnreadableSamples(len(samples.every))
    groups, seen = samples.batches.groups, 0
    with listener.progress("comparing", len(groups)) as advance:
        for number, group in enumerate(groups, start=1):
            batch = load_readable_batch(samples.every, group, unreadable)
            if batch is not None:
                observe(batch)
                seen += batch.samples
            advance(number, len(groups))
    if not seen:
        raise DataError("None of the samples could be read, so nothing was compared.", "Check the files of --data.")
    return seen
