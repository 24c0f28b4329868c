"""Hold a migrated model against what it was made of: on samples, or on made-up data where there are none."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.fixing.fix import compare_on_random
from qdq_cli.migrating.draft import SAMPLES, Draft
from qdq_cli.migrating.record import Compared
from qdq_cli.model import files
from qdq_cli.model.opset import opset_of
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import Listener
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.quantizing.float_rest import Finished
from qdq_cli.quantizing.verification import Result, verify
from qdq_cli.quantizing.writing import with_twin
from qdq_cli.targets.tensorrt.table import TENSORRT

MADE_UP = 4
"""Random samples to compare on."""

Found = tuple[Compared | None, tuple[str, ...]]
"""How far apart two models are, and what keeps that from being known."""


def compared(draft: Draft, source: Path, staged: files.Staged, made: Finished, listener: Listener) -> Found:
    """Compare a result with what it was made of; notes say what keeps that from being done.

    Made-up data says nothing about ranges that were calibrated on real data, so without samples a model that was
    quantized by a table is compared with the same one whose float rest is FP32.

    Args:
        draft: The model before its float rest got its type.
        source: Path of the model it was made of.
        staged: The result, written.
        made: It.
        listener: Told about progress.

    Raises:
        DataError: A sample cannot be used.
    """
    seen = draft.observed
    known = Result(opset_of(made.model), seen.digests, seen.histograms, seen.samples)
    try:
        with with_twin(known, staged, made, TENSORRT.predictor) as result:
            if draft.samples is not None:
                return _on_samples(draft, (source, staged.path), result, listener)
            if draft.table is not None and made.rest is None:
                return None, (_NOT_COMPARED,)
            return _on_made_up(draft, source, result.twin or staged.path)
    except ModelError as error:
        return None, (f"The outputs were not compared: {error.message}",)


_NOT_COMPARED = "The result was not compared: made-up data says nothing about the table's ranges; --calib FOLDER does."


def _on_made_up(draft: Draft, source: Path, result: Path) -> Found:
    with ExitStack() as stack:
        against, reference = "model as it came", source
        if draft.table is not None:
            folder = stack.enter_context(scratch_folder())
            single = stack.enter_context(files.staged(draft.model, folder / "single.onnx", external=False))
            against, reference = "FP32 rest", single.path
        outputs, notes = compare_on_random(reference, result, MADE_UP)
    return (Compared(against, MADE_UP, True, outputs) if outputs else None), notes


def _on_samples(draft: Draft, models: tuple[Path, Path], result: Result, listener: Listener) -> Found:
    found = verify(models, draft.samples, VerifyConfig(samples=SAMPLES), listener, result)
    if found is None:
        return None, ("The outputs were not compared: all lie behind operators that ONNX Runtime does not know.",)
    against = "model as it came" if draft.table is None else "float model"
    default = () if found.default_session is None else (found.default_session.text,)
    return Compared(against, found.samples, False, found.outputs), tuple(filter(None, default))
