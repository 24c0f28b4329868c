"""A model that came with Q/DQ, from training or another tool, keeps them as far as TensorRT 11 reads them."""

from __future__ import annotations

from qdq_cli.calibrating.calibration import NOTHING
from qdq_cli.calibrating.calibration_data import open_data
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.data.doubts import tell_doubts
from qdq_cli.fixing.fix import repaired
from qdq_cli.migrating.draft import SAMPLES, Draft
from qdq_cli.model import files
from qdq_cli.preparing.prepare import prepare
from qdq_cli.preparing.reading import make_readable
from qdq_cli.process.progress import Listener
from qdq_cli.quantizing.report import WeightedOps
from qdq_cli.running.unknown import notes_about
from qdq_cli.targets.tensorrt.simulate import simulate


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
    notes = (*prepared.notes, *notes_about(prepared.unknown), *(() if samples is None else samples.notes))
    for note in notes:
        listener.note(note)
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
