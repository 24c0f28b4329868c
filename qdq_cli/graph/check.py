"""Check a written model before it gets its name."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.checker
import onnx.shape_inference

from qdq_cli.errors import ModelError

_FAILURES = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError)


def check_written(path: Path, original: Path) -> tuple[str, ...]:
    """Run ONNX's full checker, strict shape inference included, on a written model (rule 1.10.8).

    Args:
        path: The written model.
        original: The model it was made from. Where that fails the full check itself (custom operators, wrong declared
            shapes), the structural check alone decides, and where it fails that too (outputs without a shape, which
            runtimes take), nothing does; a note says so.

    Returns:
        Notes for the user.

    Raises:
        ModelError: The written model is not valid ONNX although the original was.
    """
    failure = _failure(path, full=True)
    if failure is None:
        return ()
    if any(_failure(path, full=full) and not _failure(original, full=full) for full in (True, False)):
        raise ModelError(
            f"The quantized model does not pass ONNX's checker: {failure}.",
            "This is a defect of qdq; please report it with the model's --dry-run -v.",
        )
    return (f"The input model itself does not pass ONNX's full check, nor does the result: {failure}.",)


def _failure(path: Path, *, full: bool) -> str | None:
    try:
        onnx.checker.check_model(str(path), full_check=full)
    except _FAILURES as error:
        lines = str(error).strip().splitlines()
        return lines[0].rstrip(".") if lines else type(error).__name__
    return None
