"""One command for each of the models that pre-commit names: `python -m qdq_cli.precommit inspect --fail-on E a.onnx`.

pre-commit hands over every file at once, behind the words of its configuration; commands take one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from qdq_cli.main import end, run
from qdq_cli.process.errors import ExitCode


def run_each(words: Sequence[str]) -> int:
    """Run a command on each model, and return the largest exit code.

    Args:
        words: The command with its options, then the models.
    """
    first = len(words)
    while first and words[first - 1].endswith(".onnx"):
        first -= 1
    return max((run([*words[:first], model]) for model in words[first:]), default=int(ExitCode.DONE))


if __name__ == "__main__":
    end(run_each(sys.argv[1:]))
