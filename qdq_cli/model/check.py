"""Check a written model before it gets its name."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.checker
import onnx.shape_inference

from qdq_cli.model.inference import may_crash
from qdq_cli.model.wire import first_line
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import stepping

_FAILURES = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError)


def check_written(path: Path, original: Path) -> tuple[str, ...]:
    """Run ONNX's full checker, strict shape inference included, on a written model (rule 1.10.8).

    Args:
        path: The written model.
        original: The model it was made from. Where that fails a check itself (custom operators, wrong declared shapes,
            outputs without a shape), the result is not held against it, and a note says so.

    Returns:
        Notes for the user.

    Raises:
        ModelError: The written model is not valid ONNX although the original was.
    """
    with stepping(1) as step:
        failure = _failure(path, full=True)
        step()
    if failure is None:
        return ()
    for full in (True, False):  # the full check needs what the structural check makes sure of
        if _failure(path, full=full) is not None and _failure(original, full=full) is None:
            raise ModelError(
                f"The quantized model does not pass ONNX's checker: {failure}.",
                "This is a defect of qdq; please report it with the model's --dry-run -v.",
            )
    return (f"The input model itself does not pass ONNX's full check, nor does the result: {failure}.",)


def _failure(path: Path, *, full: bool) -> str | None:
    try:
        onnx.checker.check_model(str(path), full_check=full and not may_crash(path))
    except _FAILURES as error:
        return first_line(error)
    return None
