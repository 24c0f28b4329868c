"""How fast variants of a model are in the runtime of their target: the cost that `--cost measured` tunes by.

Each variant is written and run in turn with the float model, as `--time` does it. Two variants are compared by how many
times as fast as the float model they are: what other programs take of the processor changes both parts of that.
"""

from __future__ import annotations

from qdq_cli.data.batches import Batch
from qdq_cli.model import files
from qdq_cli.process.errors import UsageError
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.quantizing.groundwork import Groundwork
from qdq_cli.quantizing.pipeline import rewrite_model
from qdq_cli.quantizing.run import Run
from qdq_cli.quantizing.speed import first_batch
from qdq_cli.quantizing.verification import verification_runs
from qdq_cli.timing.measure import Effort
from qdq_cli.timing.models import time_models
from qdq_cli.timing.record import Speed
from qdq_cli.timing.runtimes import missing

EFFORT = Effort(seconds=2.0)
"""For each variant, of which there are a dozen."""


class TimeMeter:
    """Times variants of one model beside its float form.

    Args:
        run: The run; its target has a runtime that is installed.
        work: The float model, and the samples of which the first held back is run.
    """

    def __init__(self, run: Run, work: Groundwork) -> None:
        self._run, self._source = run, work.opened.source
        samples = work.samples
        self._batch: Batch | None = None if samples is None else first_batch(samples, verification_runs(samples, 1)[0])

    def speed_of(self, variant: Groundwork) -> Speed | None:
        """Write a variant and time it; None where no sample can be read.

        Raises:
            ModelError: It cannot be run.
        """
        if self._batch is None:
            return None
        model = rewrite_model(self._run, variant).model
        with (
            scratch_folder() as folder,
            files.staged(model, folder / "variant.onnx", external=self._source.external) as staged,
        ):
            models = self._source.path, staged.path
            return time_models(models, self._batch, self._run.target.runtime, EFFORT)


def require_runtime(run: Run) -> None:
    """Refuse to time variants where nothing runs them on this machine.

    Raises:
        UsageError: That is so.
    """
    if not run.target.runtime:
        raise UsageError(
            f"--cost measured times variants on this CPU, and {run.target.title} does not run on it.",
            "Take --cost predicted, or --target onnxruntime or openvino.",
        )
    if install := missing(run.target.runtime):
        raise UsageError(f"Variants for {run.target.title} are timed in it, and it is not installed.", install)
