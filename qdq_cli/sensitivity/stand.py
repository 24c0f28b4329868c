"""What sensitivities and tuning start from: a calibrated model, all it may need observed, and samples to judge on."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.config.placement import PlanConfig
from qdq_cli.judging.aside import split
from qdq_cli.judging.candidate import Candidate
from qdq_cli.judging.trials import Trials
from qdq_cli.placement.plan import shrinkable
from qdq_cli.process.errors import DataError
from qdq_cli.quantizing.groundwork import Groundwork
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.pipeline import lay_groundwork
from qdq_cli.quantizing.run import Run
from qdq_cli.sensitivity.measure import operators_of
from qdq_cli.sensitivity.shapes import shapes_in
from qdq_cli.sensitivity.work import WorkMeter


@dataclass(frozen=True)
class Stand:
    """A model that is ready for trials.

    Args:
        work: The model, its plan and the ranges; histograms serve every smaller plan too.
        trials: Runs variants on samples set aside from the calibration data.
        operators: The nodes with quantized inputs.
        meter: Predicts how much work a plan puts into INT8.
    """

    work: Groundwork
    trials: Trials
    operators: tuple[ir.Node, ...]
    meter: WorkMeter

    @property
    def candidate(self) -> Candidate:
        """The model with all of the plan quantized."""
        return self.work.candidate

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the operators."""
        return tuple(node.name or "" for node in self.operators)


def set_up(run: Run, opened: Opened, samples: Samples | None, every: PlanConfig | None = None) -> Stand:
    """Calibrate a model and run its float version on the samples to judge on.

    Args:
        run: The run.
        opened: The model.
        samples: The calibration data, as `pipeline.open_samples` found it.
        every: The options of all plans that may take the place of that of the run; None for its own.

    Raises:
        DataError: There are no samples, or nothing of the model is quantized.
    """
    model = opened.prepared.model
    work = lay_groundwork(run, opened, samples, shrinkable(model, run.target, every or run.config.plan))
    if work.samples is None:
        raise DataError(
            "There are no samples to run quantized variants of the model on.",
            "Give a folder of images or arrays with --calib; a calibration cache saves calibrating, not measuring.",
        )
    operators = operators_of(model, work.plan)
    if not operators:
        raise DataError("Nothing of this model is quantized.", "List the reasons with qdq quantize --dry-run -v.")
    with run.stage("judge"):
        parts = split(work.samples)
        trials = Trials(model, parts.load(parts.judge))
    meter = WorkMeter(model, shapes_in(model, trials.example), run.target)
    return Stand(work, trials, operators, meter)
