"""What every way of tuning opens first: the model, the samples and the metric, each held against what was asked."""

from __future__ import annotations

from pathlib import Path

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.config.tune import TuneConfig
from qdq_cli.model import files
from qdq_cli.quantizing.keeping import require_named
from qdq_cli.quantizing.opened import Opened, require_float
from qdq_cli.quantizing.pipeline import open_samples
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.run import Run
from qdq_cli.sensitivity.metric import Metric, metric_of


def open_for_tuning(run: Run, config: TuneConfig, target: Path) -> tuple[Opened, Samples | None, Metric | None]:
    """Open what a run of tuning works on.

    Args:
        run: The run.
        config: What to do.
        target: Absolute path of the result.

    Returns:
        The model, its samples and the user's metric; None where there are none.

    Raises:
        QdqError: The model or the data cannot be used, or the model is quantized already.
    """
    opened = open_model(run)
    require_float(opened)
    require_named(config.quantize)
    files.check_data_target(opened.source, target)
    samples = open_samples(run, opened)
    return opened, samples, metric_of(run, opened, config.evaluation)
