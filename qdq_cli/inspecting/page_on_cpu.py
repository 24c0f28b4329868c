"""The page of `qdq inspect --target` for a CPU: a verdict, the graph, every operator, what stays float."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qdq_cli.inspecting.record_on_cpu import CpuInspection
from qdq_cli.quantizing.page import KEPT_FLOAT, skip_blocks
from qdq_cli.quantizing.plan_text import work_text
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.page import Facts, Page, Section, Tone, Verdict
from qdq_cli.screen.render import write_page
from qdq_cli.screen.sentences import count_text
from qdq_cli.targets.known import TARGETS

_MOST_LOOKS = 3


def write_cpu_page(found: CpuInspection, sections: tuple[Section, ...], path: Path) -> None:
    """Write the page of an inspection.

    Args:
        found: What was found.
        sections: What the predictor shows of the model.
        path: Where the page goes.
    """
    title = TARGETS[found.target].title
    kind = "Q/DQ model" if found.quantized else "planned; all below is predicted for the result"
    rows = (
        ("model", f"{found.model} (opset {found.opset}, {size_text(found.size_bytes)}, {kind})"),
        ("runtime", title),
        ("work", work_text(found.predicted, "codes")),
    )
    parts = [Section("Summary", "", (verdict_of(found, title), Facts(rows))), *sections]
    if found.plan is not None:
        parts.append(Section("Kept float", KEPT_FLOAT, tuple(skip_blocks(found.plan.skips))))
    write_page(Page("Inspection" if found.quantized else "Plan and inspection", found.model, tuple(parts)), path)


def verdict_of(found: CpuInspection, title: str) -> Verdict:
    """Say what an inspection comes to: bad where nothing is on integers, good where no Q or DQ stays between."""
    looks = tuple(_looks(found))[:_MOST_LOOKS]
    on_codes = f"{found.weighted_on_codes} of {count_text(found.weighted_ops, 'weighted operator')} on integers"
    if not found.weighted_on_codes:
        return Verdict(Tone.STANDALONE, "bad", f"{title} computes no weighted operator on integers.", looks)
    if looks:
        return Verdict(Tone.WARNING, "look at these", f"{on_codes}. What is left:", looks)
    return Verdict(Tone.GOOD, "good", f"{on_codes}, and no Q or DQ stays inside the network.")


def _looks(found: CpuInspection) -> Iterator[tuple[str, str]]:
    inside = [entry for entry in found.alone if not entry.boundary]
    if inside:
        yield f"{len(inside)} Q and DQ stay operators inside the network, the first beside {inside[0].neighbour}.", ""
    for name, why in found.left.items():
        yield f"{name} reads a DQ and is computed in float: {why}.", name
