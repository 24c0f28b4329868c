"""Ask the user's own program how good a model is: run it, read the number it prints.

The rule, in words for the documentation: the last line of stdout that holds a number counts. Where that line is a JSON
object, its key "value" is the number, or its only number; otherwise the last number on the line is.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import subprocess
from pathlib import Path

from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.process.children import ended_text, ending, last_lines
from qdq_cli.process.errors import DataError, UsageError

PLACE = "{model}"
"""Stands for the path of the model in the command."""

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)")


def check_command(evaluation: Evaluation) -> None:
    """Refuse a command that could not be run.

    Raises:
        UsageError: It does not say where the model goes, or its quotes do not match.
    """
    words = words_of(evaluation.command, Path("model.onnx"))
    if PLACE not in evaluation.command or not words:
        raise UsageError(
            f"--eval '{evaluation.command}' does not say where the model goes.",
            f"Write {PLACE} in its place, as in --eval 'python eval.py {PLACE}'.",
        )


def words_of(command: str, model: Path, *, windows: bool = os.name == "nt") -> list[str]:
    r"""Split a command into words, and put the path in its place; the path stays one word whatever it holds.

    Args:
        command: As the user typed it; no shell reads it.
        model: Path of the model.
        windows: Take backslashes as they are (C:\tools\eval.exe), as Windows does.

    Raises:
        UsageError: A quote is left open.
    """
    try:
        words = shlex.split(command, posix=not windows)
    except ValueError as error:
        raise UsageError(f"--eval '{command}' cannot be read: {str(error).lower()}.", "Check its quotes.") from error
    if windows:
        words = [word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word for word in words]
    return [word.replace(PLACE, str(model)) for word in words]


def evaluate(evaluation: Evaluation, model: Path) -> float:
    """Run the user's program on a model and return the number it prints.

    There is no time limit; an interrupt ends the program, with everything it started.

    Raises:
        UsageError: The program is not there.
        DataError: It fails, or prints no finite number; what it wrote on stderr is part of the message.
    """
    words = words_of(evaluation.command, model)
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(
            f"The program of --eval, {words[0]}, cannot be started: {error.strerror}.",
            "Give its path, or the interpreter first: --eval 'python eval.py {model}'.",
        ) from error
    with ending(process):
        out, err = process.communicate()
    if process.returncode:
        raise DataError(
            f"The program of --eval {ended_text(process.returncode)}.",
            _try_it(evaluation),
            last_lines(err, "Its stderr:"),
        )
    value = number_of(out)
    if value is None or not math.isfinite(value):
        found = f"printed {value}, which is no finite number" if value is not None else "printed no number on stdout"
        said = (*last_lines(out, "Its stdout:"), *last_lines(err, "Its stderr:"))
        raise DataError(f"The program of --eval {found}.", _try_it(evaluation), said)
    return value


def number_of(text: str) -> float | None:
    """Return the number that a program printed, by the rule above; None where there is none."""
    for line in reversed(text.splitlines()):
        found = _number_of_line(line.strip())
        if found is not None:
            return found
    return None


def _number_of_line(line: str) -> float | None:
    if line.startswith("{"):
        with contextlib.suppress(ValueError):
            return _number_of_record(json.loads(line))
    if line.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return float(line)
    numbers = _NUMBER.findall(line)
    return float(numbers[-1].replace("_", "")) if numbers else None


def _number_of_record(record: object) -> float | None:
    if not isinstance(record, dict):
        return None
    numbers = {key: float(value) for key, value in record.items() if type(value) in (int, float)}
    if "value" in numbers:
        return numbers["value"]
    return next(iter(numbers.values())) if len(numbers) == 1 else None


def _try_it(evaluation: Evaluation) -> str:
    return f"Run it by hand on the float model first: {evaluation.command}"
