"""What `qdq init` wrote, as lines for people."""

from __future__ import annotations

from qdq_cli.drafting.draft import Draft


def draft_lines(draft: Draft) -> list[str]:
    """Return the table that was written, and the command to type next."""
    next_ = f"next: qdq quantize {draft.model}" if draft.calib else f"next: name calibration data in {draft.output}"
    done = "added to" if draft.added else "written to"
    return [f"{done} {draft.output}:", "", *draft.text.rstrip("\n").split("\n"), "", next_]
