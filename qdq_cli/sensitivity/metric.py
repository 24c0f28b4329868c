"""The user's metric of quantized variants: each is written to a temporary folder and handed to the user's program."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx_ir as ir

from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.judging.candidate import Candidate, quantized_model
from qdq_cli.model import files
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.run import Run
from qdq_cli.sensitivity.evaluate import evaluate

_NAME = "model.onnx"


def metric_of(run: Run, opened: Opened, evaluation: Evaluation | None) -> Metric | None:
    """Ask the user's program about the float model, before anything takes long; None where there is no program.

    Raises:
        DataError: It fails, or prints no number.
        UsageError: It cannot be started.
    """
    if evaluation is None:
        return None
    with run.stage("evaluate"):
        return Metric(evaluation, opened.prepared.model, run.config, external=opened.source.external)


class Metric:
    """Asks the user's program about variants of one model.

    Args:
        evaluation: The program.
        model: The prepared float model; left as it is.
        config: How models are written.
        external: Keep weights in a file of their own, as the user's model does.

    Raises:
        DataError: The program fails on the float model, or prints no number.
        UsageError: It cannot be started.
    """

    def __init__(self, evaluation: Evaluation, model: ir.Model, config: QuantizeConfig, *, external: bool) -> None:
        self._evaluation = evaluation
        self._model = model
        self._config = config
        self._external = external
        self.float_value = self._of_float()

    def of(self, candidate: Candidate) -> float:
        """Write a variant and return what the program prints for it.

        Raises:
            DataError: The program fails, or prints no number.
        """
        config = self._config
        model = quantized_model(self._model, candidate, weights=config.weight_form, form=config.form).model
        with scratch_folder() as folder:
            return evaluate(self._evaluation, self._written(model, folder))

    def _of_float(self) -> float:
        """Ask about the user's model under a name of ours: a program of the user may hand the name on to a shell."""
        with scratch_folder() as folder:
            if self._external:
                return evaluate(self._evaluation, self._written(files.load(self._config.model).model, folder))
            return evaluate(self._evaluation, Path(shutil.copyfile(self._config.model, folder / _NAME)))

    def _written(self, model: ir.Model, folder: Path) -> Path:
        with files.staged(model, folder / _NAME, external=self._external) as staged:
            staged.commit()
        return staged.target

    def drop(self, value: float) -> float:
        """How much worse than the float model a value is; below 0 where it is better."""
        return value - self.float_value if self._evaluation.lower_is_better else self.float_value - value
