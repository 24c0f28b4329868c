"""What a run of `qdq quantize` comes to, in one function: the verdict on top of its page."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.quantizing.agreement import interval_text
from qdq_cli.quantizing.plan_text import is_plan, work_text
from qdq_cli.quantizing.report import Report
from qdq_cli.running.few_samples import VERY_FEW
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.page import Tone, Verdict
from qdq_cli.screen.sentences import count_text, some_of

_MOST_LOOKS = 3


def verdict_of(report: Report) -> Verdict:
    """Say what a run comes to: bad where nothing can be used, else what to look at, else good.

    What is low is what verification calls low: no limit of its own is drawn here.
    """
    looks = tuple((text, "") for text in _looks(report))[:_MOST_LOOKS]
    work = "" if report.predicted is None else _sentence(work_text(report.predicted, report.computed_title))
    if report.unmet_limit is not None:
        return Verdict(Tone.STANDALONE, "bad", f"No model was written. {report.unmet_limit}", looks)
    if not report.weighted_ops.quantized:
        return Verdict(Tone.STANDALONE, "bad", "Nothing is quantized.", looks)
    if looks:
        return Verdict(Tone.WARNING, "look at these", _distance(report) or work, looks)
    return Verdict(Tone.GOOD, "good", " ".join(filter(None, (_distance(report), work))))


def _distance(report: Report) -> str:
    found = report.verification
    if found is None or not found.outputs:
        return "" if not is_plan(report) else "A plan: nothing was measured."
    name = next(iter(found.low), None) or min(found.outputs, key=lambda output: found.outputs[output].sqnr_db)
    worst = found.outputs[name]
    if worst.equal:
        return "Every output is equal to FP32."
    ends = "" if worst.top1_interval is None else f" ({interval_text(worst.top1_interval)})"
    agreement = (
        "" if worst.top1_agreement is None else f", {worst.top1_agreement:.1f} %{ends} of the first classes agree"
    )
    which = "Output" if len(found.outputs) == 1 else "The worst output,"
    return f"{which} {name} keeps {decibels(worst.sqnr_db)}{agreement}."


def _looks(report: Report) -> Iterator[str]:
    """Yield low outputs, very few samples, what ONNX Runtime's default session loses, and kernels of Q or DQ alone."""
    found = report.verification
    by_text: dict[str, list[str]] = {}
    for name, low in ({} if found is None else found.low).items():
        by_text.setdefault(low.text, []).append(name)
    for text, names in by_text.items():
        yield f"{some_of(names)} {'is' if len(names) == 1 else 'are'} low: {text}."
    if found is not None and found.default_session is not None and found.default_session.text:
        yield found.default_session.text
    few = None if report.calibration is None else report.calibration.few
    if few is not None and few.level == VERY_FEW:
        yield few.text
    if report.predicted is not None and report.predicted.standalone:
        kernels = count_text(report.predicted.standalone, "stand-alone Q/DQ kernel")
        yield f"{kernels} inside the network: red in the graph, with what would remove them."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."  # capitalize() would write int8 and macs
