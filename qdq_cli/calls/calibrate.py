"""`qdq_cli.calibrate`: what `qdq calibrate` does, for models and samples in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from calibrators import CalibrationTable, read_cache, write_cache
from qdq_cli.calibrating.calibrate import CalibrationReport, calibrate_model
from qdq_cli.calls.forms import Calib, FilePath, Model
from qdq_cli.calls.keywords import CalibrateKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import DATA_RECORDS, data_of, record_of
from qdq_cli.calls.signature import Signature
from qdq_cli.config.calibrate import CalibrateConfig, Shard
from qdq_cli.config.placement import PlanConfig
from qdq_cli.process.writable import check_writable


@dataclass(frozen=True)
class Calibrated:
    """What `calibrate` saw.

    Args:
        table: The histograms: `quantize` takes it in place of samples, and `calibrators.merge_tables` merges several.
        report: What was done.
    """

    table: CalibrationTable
    report: CalibrationReport

    def save(self, path: FilePath) -> Path:
        """Write the calibration cache; returns its absolute path.

        Raises:
            UsageError: The file cannot be written.
        """
        target = check_writable(Path(path), "path", "path")
        write_cache(self.table, target)
        return target


_SIGNATURE = Signature(CalibrateKeywords, (CalibrateConfig, *DATA_RECORDS, PlanConfig), {})


@_SIGNATURE.shown_by
def calibrate(model: Model, calib: Calib, **given: Unpack[CalibrateKeywords]) -> Calibrated:
    """Observe the tensors of a model on all samples, for `quantize` to choose ranges from.

    Args:
        model: As `quantize` takes it.
        calib: Samples, as `quantize` takes them; all of an iterable are taken, unless `samples` says how many.
        given: What the options of `qdq calibrate` say (`CalibrateKeywords`).

    Returns:
        The table and the report.

    Raises:
        QdqError: The model or the samples cannot be used.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        output = place.folder / "table.qcal"
        fixed = {
            "model": place.model(model),
            "output": output,
            "data": data_of(calib, keywords),
            "plan": record_of(PlanConfig, keywords),
            "shard": keywords["shard"] or Shard(),
        }
        report = calibrate_model(record_of(CalibrateConfig, keywords, fixed), told_of(keywords))
        return Calibrated(read_cache(output), place.unsaved(report))
