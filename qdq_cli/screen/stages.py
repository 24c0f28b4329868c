"""What the stages of a command took, in words."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.process.clock import Tally
from qdq_cli.screen.sentences import count_text

_LEAST_SECONDS = 0.005
"""What took less would read 0.00."""


def stage_lines(tally: Tally) -> Iterator[str]:
    """Yield what each stage took, a line a stage, in the order in which they began; what took nothing is left out."""
    for stage, seconds in tally.seconds.items():
        parts = tally.parts.get(stage, {}).items()
        if seconds < _LEAST_SECONDS and not parts:
            continue
        inside = ", ".join(f"{part.seconds:.2f} s making {count_text(part.count, name)}" for name, part in parts)
        yield f"{stage} took {seconds:.2f} s" + (f", of it {inside}" if inside else "")
