"""`qdq compare` on one page: load both models, open the samples, run, compare outputs and layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.calibration_data import Samples, open_every
from qdq_cli.clock import Clock
from qdq_cli.comparing.alignment import make_comparable, require_same_interface, to_one_opset
from qdq_cli.comparing.layers import LayerMeter
from qdq_cli.comparing.outputs import OutputMeter
from qdq_cli.comparing.page import comparison_page
from qdq_cli.comparing.profile import make_profile
from qdq_cli.comparing.record import Comparison
from qdq_cli.comparing.shadow import is_quantization
from qdq_cli.config import CompareConfig, DataConfig, VerifyConfig
from qdq_cli.data.batches import Batch, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.documents import SCHEMA_VERSION
from qdq_cli.errors import DataError, ModelError
from qdq_cli.graph import files
from qdq_cli.graph.runner import Runner
from qdq_cli.graph.session import Source
from qdq_cli.pages.render import check_page_target, write_page
from qdq_cli.progress import SILENT, Listener
from qdq_cli.provenance import recovery_of
from qdq_cli.verification import hold_limits

DEFAULT_SAMPLES = 64
"""Samples by default: enough for distances, while agreement in percent needs more."""


def compare_models(config: CompareConfig, listener: Listener = SILENT) -> Comparison:
    """Run a float model and its quantized form on the same samples, ONNX Runtime's graph optimisations off.

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
    with clock.stage("load"):
        reference, quantized = files.load(config.reference), files.load(config.quantized)
        for source in (reference, quantized):
            make_comparable(source.model)
        require_same_interface(reference.model, quantized.model)
        samples = _open(reference.model, config.data)
    notes = (*_about(quantized.model, layers=config.layers), *samples.every.notes)
    for note in notes:
        listener.note(note)
    outputs, meter = OutputMeter(), None
    with clock.stage("load"):
        runners = Runner(Source(reference.path)), Runner(Source(quantized.path))
        if config.layers:
            meter = _layer_meter(reference.model, quantized.model)

    def observe(batch: Batch) -> None:
        with clock.stage("outputs"):
            outputs.observe(*(runner.run(batch) for runner in runners))
        if meter is not None:
            with clock.stage("layers"):
                meter.observe(batch)

    seen = _run(samples, observe, listener)
    preprocessing = samples.every.preprocessing
    found = Comparison(
        schema_version=SCHEMA_VERSION,
        reference=str(config.reference),
        quantized=str(config.quantized),
        samples=seen,
        batch_size=samples.batches.batch_size,
        preprocessing="" if preprocessing is None else preprocessing.describe(),
        assumed=preprocessing is not None and preprocessing.assumed,
        outputs=outputs.distances(),
        not_compared=outputs.not_compared(),
        layers=None if meter is None else meter.layers(),
        seconds=clock.seconds(),
        notes=notes,
    )
    if config.report is not None:
        write_page(comparison_page(found), config.report)
    return found


def require_limits(found: Comparison, config: CompareConfig) -> None:
    """Hold every output against the limits.

    Raises:
        LimitError: An output misses one, or no output could be held against one.
    """
    limits = VerifyConfig(min_sqnr=config.min_sqnr, min_agreement=config.min_agreement)
    hint = "Where does it start? --layers says so." if found.layers is None else "The layers above say where it starts."
    hold_limits(found.outputs, found.not_compared, limits, hint)


def _open(model: ir.Model, config: DataConfig) -> Samples:
    """Open the samples to compare on: as many as asked for, else up to the default, evenly spread."""
    samples = open_every(model, config)
    if config.samples is None and len(samples.every) > DEFAULT_SAMPLES:
        samples = open_every(model, replace(config, samples=DEFAULT_SAMPLES))
    return samples


def _layer_meter(reference: ir.Model, quantized: ir.Model) -> LayerMeter:
    profile = make_profile(*to_one_opset(reference, quantized))
    try:
        return LayerMeter(profile)
    except ModelError as error:  # each model by itself was loaded before
        raise ModelError(f"Layers cannot be compared: {error.message}", "Leave --layers out.") from error


def _about(quantized: ir.Model, *, layers: bool) -> tuple[str, ...]:
    """What to know of the second model before its numbers are read."""
    if not any(is_quantization(node) for node in quantized.graph.all_nodes()):
        return ("The second model quantizes nothing: it has no Q, DQ or operators on codes.",)
    steps = recovery_of(quantized)
    if not layers or not {"equalize", "smooth"}.intersection(steps):
        return ()
    return (
        f"The second model was recovered ({', '.join(steps)}): between equalized layers, tensors and weights differ "
        "from the float model's on purpose; judge it by its outputs.",
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
