"""One command for each of the models that pre-commit names: `python -m qdq_cli.precommit inspect --fail-on E a.onnx`.

pre-commit hands over every file at once, behind the words of its configuration; commands take one. Of a model that
fails the name and the error are shown, as among many files nobody reads whole reports; of others nothing is.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Sequence

from qdq_cli.main import end, run
from qdq_cli.process.errors import ExitCode
from qdq_cli.screen.console import Console


def run_each(words: Sequence[str]) -> int:
    """Run a command on each model, and return the largest exit code.

    Args:
        words: The command with its options, then the models.
    """
    first = len(words)
    while first and words[first - 1].endswith(".onnx"):
        first -= 1
    return max((_run_one([*words[:first], model]) for model in words[first:]), default=int(ExitCode.DONE))


def _run_one(words: Sequence[str]) -> int:
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = run(words)
    if code:
        told = (f"  {line}" for line in said.getvalue().splitlines())
        Console().write([words[-1], *told, f"  all of it: {shlex.join(['qdq', *words])}"])
    return code


if __name__ == "__main__":
    end(run_each(sys.argv[1:]))
