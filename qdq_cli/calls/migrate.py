"""`qdq_cli.migrate`: what `qdq migrate` does, for models and samples in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.calls.forms import Calib, Model
from qdq_cli.calls.keywords import MigrateKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import DATA_RECORDS, data_of, record_of
from qdq_cli.calls.result import Result
from qdq_cli.calls.signature import Signature
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.migrating.migrate import migrate_model
from qdq_cli.migrating.record import MigrationReport

_SIGNATURE = Signature(MigrateKeywords, (MigrateConfig, *DATA_RECORDS, PlanConfig), {})


@_SIGNATURE.shown_by
def migrate(model: Model, calib: Calib | None = None, **given: Unpack[MigrateKeywords]) -> Result[MigrationReport]:
    """Make a model for TensorRT 11 from what an older build was made of; nothing is written.

    Args:
        model: As `quantize` takes it: the float model that `cache` was made for, or a model with Q/DQ.
        calib: Samples, as `quantize` takes them, that say what the table does not, and that the result is compared on.
        given: What the options of `qdq migrate` say (`MigrateKeywords`).

    Returns:
        The model with its report; its plan and table are None.

    Raises:
        QdqError: The model and the table do not go together, or one of them or the samples cannot be used.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        output = place.folder / "result.trt11.onnx"
        fixed = {
            "model": place.model(model),
            "output": output,
            "data": data_of(calib, keywords),
            "plan": record_of(PlanConfig, keywords),
        }
        report = migrate_model(record_of(MigrateConfig, keywords, fixed), told_of(keywords))
        return Result(place.unsaved(report), output, place)
