"""What runs the models of a command."""

from __future__ import annotations

from dataclasses import dataclass

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import Interval, option


@dataclass(frozen=True)
class ExecutionConfig(Checked):
    """What ONNX Runtime runs the models of a command with.

    Args:
        threads: Threads that models run on, and that samples are read and counted by; None: one a core.
    """

    threads: int | None = option(
        None,
        "Threads that models run on, and that samples are read and counted by. [default: one a core]",
        metavar="N",
        rule=Interval(least=1),
    )
