"""How tensors were observed on this machine, in one line for those who ask."""

from __future__ import annotations

from calibrators import counting
from qdq_cli.running.execution import current
from qdq_cli.running.outputs import TakeOut
from qdq_cli.screen.sentences import count_text


def way_text(take_out: TakeOut, threads: int) -> str:
    """Say how tensors were observed."""
    parts = [
        f"{count_text(len(take_out.tensors), 'tensor')} on {count_text(threads, 'thread')} by {current().provider_text}"
    ]
    if take_out.blocked:
        widths = {blocks.width for blocks in take_out.blocked.values()}
        parts.append(f"{len(take_out.blocked)} of them in blocks of {max(widths)} channels, as they were computed")
    else:
        parts.append("all of them in plain order")
    return f"{', '.join(parts)}, since {take_out.why}; counted by {counting()}"
