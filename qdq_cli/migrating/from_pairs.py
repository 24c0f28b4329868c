"""A model that came with Q/DQ, from training or another tool, keeps them as far as TensorRT 11 reads them."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.calibrating.calibration import NOTHING
from qdq_cli.calibrating.calibration_data import open_data
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.data.doubts import tell_doubts
from qdq_cli.fixing.fix import repaired
from qdq_cli.migrating.draft import SAMPLES, Draft
from qdq_cli.model import files
from qdq_cli.model.provenance import forget_target
from qdq_cli.preparing.prepare import prepare
from qdq_cli.preparing.reading import make_readable
from qdq_cli.process.progress import Listener
from qdq_cli.quantizing.report import WeightedOps
from qdq_cli.running.unknown import notes_about
from qdq_cli.targets.known import written_for
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.table import TENSORRT


def draft_from_pairs(source: files.ModelFile, config: MigrateConfig, listener: Listener) -> Draft:
    """Repair what TensorRT refuses in the pairs of a model; where they stand stays as it was trained.

    Args:
        source: The Q/DQ model; it is used up.
        config: What to do.
        listener: Told about progress and notes.

    Raises:
        ModelError: The model is malformed, or cannot be prepared.
        DataError: The samples cannot be used.
    """
    model = source.model
    make_readable(model)
    model, repairs, left = repaired(model, {}, placement=False)
    prepared = prepare(model, runs=bool(config.data.calib), copy=False)
    samples = open_data(prepared.model, config.data, SAMPLES)
    if samples is not None:
        tell_doubts(samples.every.doubts, listener.warning, strict=config.data.strict)
    said = () if samples is None else samples.notes
    notes = (*_of_another_target(source.model), *prepared.notes, *notes_about(prepared.unknown), *said)
    for note in notes:
        listener.note(note)
    forget_target(prepared.model)
    simulation = simulate(prepared.model)
    return Draft(
        model=prepared.model,
        floats=prepared.model,
        weighted_ops=WeightedOps(simulation.weighted_total, simulation.weighted_quantized),
        samples=samples,
        observed=NOTHING,
        repairs=tuple(repairs),
        left=tuple(dict.fromkeys(left)),
        notes=notes,
    )


def _of_another_target(model: ir.Model) -> tuple[str, ...]:
    """Say that the Q/DQ of a model were placed for another runtime, where its file tells that."""
    written = written_for(model)
    if written is None or written.name == TENSORRT.name:
        return ()
    return (
        f"The file says that it was written for {written.title}, and its Q/DQ stay where they are: quantize the float "
        f"model for {TENSORRT.title} if there is one.",
    )
