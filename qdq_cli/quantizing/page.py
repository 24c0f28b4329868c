"""The page of `qdq quantize`: the summary, the layers predicted, the ranges chosen, the weights, what stays float."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from calibrators import Histogram, profile, share_outside
from calibrators.methods.mse import sqnr_db_at
from calibrators.qtypes import INT8, QTYPES
from qdq_cli.placement.selection import Skip
from qdq_cli.quantizing.agreement import interval_text
from qdq_cli.quantizing.float_section import float_section
from qdq_cli.quantizing.low import silent_text
from qdq_cli.quantizing.page_verdict import verdict_of
from qdq_cli.quantizing.plan_text import (
    by_outputs_text,
    is_plan,
    predicted_texts,
    quantized,
    runtime_text,
    runtime_title,
)
from qdq_cli.quantizing.report import Calibration, Distance, LowOutput, Report, Verification
from qdq_cli.recovering.page import recovery_section
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.anchors import own_error_of, values_of
from qdq_cli.screen.page import (
    Badge,
    Bar,
    Bars,
    Block,
    BoxPlots,
    BoxRow,
    Cell,
    Facts,
    HistogramPlot,
    Histograms,
    Link,
    Note,
    Page,
    Section,
    Table,
    Tone,
)
from qdq_cli.screen.page_text import number
from qdq_cli.screen.sentences import count_text, some_of, type_title
from qdq_cli.timing.text import speed_text, times_of

CELLS = 80  # bars of a histogram

KEPT_FLOAT = "Operator inputs that are not quantized, and why; qdq explain CODE says more about a code."


def quantize_page(
    report: Report,
    layers: tuple[Section, ...],
    histograms: Mapping[str, Histogram],
    weights: tuple[BoxRow, ...],
    makers: Mapping[str, str],
    seen: Section | None = None,
) -> Page:
    """Compose the page of a run.

    Args:
        report: What the run found; of a dry run too.
        layers: What the target is predicted to make of the Q/DQ model, or for a dry run of a draft.
        histograms: Tensor name -> what was observed of it; others than those of the plan are left out.
        weights: The rows of `weight_rows`, measured before the model was rewritten.
        makers: Tensor name -> the operator that makes it, with its name.
        seen: What the model saw (`seen_section`); None for nothing.
    """
    observed = tuple(_observed(report, histograms))
    sections = (
        Section(
            "Summary", "", (verdict_of(report), Facts(tuple(_summary(report))), *(Note(text) for text in report.notes))
        ),
        *((verification_section(report.verification),) if report.verification else ()),
        *((seen,) if seen else ()),
        *((recovery_section(report.recovery),) if report.recovery else ()),
        *layers,
        *((_errors(report, observed), _histograms(report, observed, makers)) if report.amax else ()),
        Section(
            "Weights",
            "amax of the output channels of every weight. Where the channels of a weight differ much, one scale for "
            "all of them would waste codes. Outliers lie more than three quartile distances above the third quartile.",
            (BoxPlots("amax of a channel", weights),),
        ),
        Section("Kept float", KEPT_FLOAT, tuple(skip_blocks(report.skips))),
        *((float_section(report.float_rest),) if report.float_rest else ()),
    )
    return Page(
        "Quantization plan" if is_plan(report) else "Quantization",
        report.model,
        sections,
    )


def _summary(report: Report) -> Iterator[tuple[str, Cell]]:
    yield "model", f"{report.model} ({size_text(report.size_bytes.before)})"
    yield "quantized", quantized(report)
    if report.calibration:
        yield "calibration", _calibration(report.calibration)
    if report.predicted:
        found = report.predicted
        alone = f"stand-alone Q/DQ: {found.standalone} inside, {found.boundary} at the boundary"
        yield runtime_title(report), "\n".join([*predicted_texts(report, found), alone])
    if (ran := runtime_text(report)) is not None:
        yield runtime_title(report), ran
    if report.speed is not None:
        yield "speed", f"{speed_text(report.speed)}\n{times_of(report.speed)}"
    if report.unmet_limit is not None:
        yield "output", Badge("not written", Tone.WARNING)
    if report.output:
        yield "output", f"{report.output} (opset {report.opset}, {size_text(report.size_bytes.after or 0)})"
    if report.trt is not None:
        yield "read by", f"TensorRT {report.trt} and later"


def _calibration(found: Calibration) -> str:
    method = found.method if found.percentile is None else f"{found.method} {found.percentile:g} %"
    parts = [method, by_outputs_text(found.judged)] if found.judged else [method]
    parts += [count_text(found.samples, "sample")] if found.samples else []
    parts += [f"{count_text(found.manual_ranges, 'range')} by hand"] if found.manual_ranges else []
    lines = ["; ".join(parts)]
    if found.cache:
        lines.append(f"{'read from' if found.from_cache else 'kept in'} {found.cache}")
    if found.preprocessing:
        lines.append(found.preprocessing + (" (assumed; --preprocess chooses)" if found.assumed else ""))
    if found.few is not None:
        lines.append(found.few.text)
    return "\n".join(lines)


def verification_section(
    found: Verification, models: tuple[str, str] = ("The Q/DQ model", "the FP32 model")
) -> Section:
    """Return the section about the distance of a result from the model it was made from.

    Args:
        found: What was measured.
        models: What the two are called.
    """
    seen = "held back" if found.held_back else "that calibration saw too"
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            "equal" if distance.equal else sqnr_badge(distance.sqnr_db, name in found.low),
            f"{distance.cosine:.5f}",
            number(distance.max_error),
            agreement_cell(distance),
        )
        for name, distance in sorted(found.outputs.items(), key=lambda output: _rank(found, output[0]))
    ]
    rows += [(name, str(counted), "", "", "") for name, counted in found.rows.items()]
    rows += [(name, "not compared: its shape depends on the values", "", "", "") for name in found.not_compared]
    columns = ("output", "SQNR, dB", "cosine", "largest error", "top-1 agreement, %")
    kept = 5 if any(distance.top1_agreement is not None for distance in found.outputs.values()) else 4
    return Section(
        "Verification",
        f"{models[0]} against {models[1]} on {count_text(found.samples, 'sample')} {seen}, in ONNX Runtime"
        f"{', by a twin that rounds what kernels store' if found.twin else ''}.",
        (*_low(found), Table(columns[:kept], tuple(row[:kept] for row in rows), frozenset(range(1, kept)))),
    )


def agreement_cell(distance: Distance) -> str:
    """Top-1 agreement in percent with its interval; "" where there are no class scores."""
    if distance.top1_agreement is None or distance.top1_interval is None:
        return ""
    return f"{distance.top1_agreement:.1f} ({interval_text(distance.top1_interval)})"


def _rank(found: Verification, name: str) -> tuple[bool, float]:
    """Low outputs come first, the worst one first; the others keep the model's order."""
    low = name in found.low
    return not low, found.outputs[name].sqnr_db if low else 0.0


def sqnr_badge(sqnr_db: float, low: bool) -> Cell:
    """An SQNR in dB, marked where the output is low."""
    return Badge(f"{sqnr_db:.1f} low", Tone.WARNING) if low else f"{sqnr_db:.1f}"


def low_notes(outputs: Mapping[str, Distance], low: Mapping[str, LowOutput]) -> Iterator[Block]:
    """Yield why outputs are low with what helps, and how many of their samples are near-silent."""
    by_text: dict[str, list[str]] = {}
    for name, found in low.items():
        by_text.setdefault(found.text, []).append(name)
    for text, names in by_text.items():
        yield Note(f"{some_of(names)} {'is' if len(names) == 1 else 'are'} low: {text}.", warning=True)
    for name, distance in outputs.items():
        if text := silent_text(distance):
            yield Note(f"{name}: {text}.")


def _low(found: Verification) -> Iterator[Block]:
    """Why outputs are low, and what ONNX Runtime's default session makes of the result where that is less."""
    yield from low_notes(found.outputs, found.low)
    if found.default_session is not None and found.default_session.text:
        yield Note(found.default_session.text, warning=True)


def _observed(report: Report, histograms: Mapping[str, Histogram]) -> Iterator[tuple[str, Histogram, float, str]]:
    """Every observed tensor of the plan in its order: name, histogram, amax, and what shares its scale."""
    for group, amax, how in zip(report.groups, report.amax, report.chosen, strict=False):
        for tensor in group.observed:
            if tensor in histograms and histograms[tensor].count:
                others = [name for name in group.tensors if name != tensor]
                yield tensor, histograms[tensor], amax, _group_note(others, how)


def _group_note(others: list[str], how: str) -> str:
    """What shares the scale of a tensor, and what chose its range."""
    notes = [f"Its scale also serves {some_of(others)}."] if others else []
    notes += [f"Range by {how}."] if how not in ("given", "known") else []
    return " ".join(notes)


def _errors(report: Report, observed: tuple[tuple[str, Histogram, float, str], ...]) -> Section:
    """How much of each activation its range keeps; lowest first."""
    qtype = QTYPES.get(report.activation_type, INT8)
    rows = [
        Bar(tensor, (sqnr_db_at(histogram, amax, qtype),), anchor=own_error_of(tensor))
        for tensor, histogram, amax, _ in observed
        if amax and histogram.amax
    ]
    rows = sorted((row for row in rows if math.isfinite(row.values[0] or 0.0)), key=lambda row: row.values[0] or 0.0)
    return Section(
        "Error of each activation",
        f"What {type_title(qtype.name)} leaves of each quantized activation alone at its range, lowest first: computed "
        "from the histograms.",
        (Bars("SQNR, dB", ("own rounding and clipping",), tuple(rows)),),
    )


def _histograms(
    report: Report, observed: tuple[tuple[str, Histogram, float, str], ...], makers: Mapping[str, str]
) -> Section:
    """Every observed tensor with the range that was chosen for it."""
    plots = tuple(
        HistogramPlot(
            tensor=tensor,
            low=histogram.minimum,
            high=histogram.maximum,
            counts=tuple(profile(histogram, CELLS).tolist()),
            amax=amax,
            share_clipped=share_outside(histogram, amax),
            note=sharing,
            maker=makers.get(tensor, ""),
            anchor=values_of(tensor),
        )
        for tensor, histogram, amax, sharing in observed
    )
    blocks: list[Block] = [Histograms(plots)] if plots else []
    rest = len(report.groups) - sum(any(name in _names(observed) for name in group.observed) for group in report.groups)
    if rest:
        blocks.append(Note(f"{count_text(rest, 'scale')} without a histogram: the range was known or given."))
    return Section(
        "Activations",
        "Values of each observed tensor, heights logarithmic; the lines are at -amax and amax, and what is shaded "
        "outside is clipped. Open one to enlarge it.",
        tuple(blocks),
    )


def _names(observed: tuple[tuple[str, Histogram, float, str], ...]) -> frozenset[str]:
    return frozenset(tensor for tensor, _, _, _ in observed)


def skip_blocks(skips: tuple[Skip, ...]) -> Iterator[Block]:
    """Yield the reasons with their counts, then every input."""
    if not skips:
        return
    reasons = Counter((skip.code, skip.op_type, skip.reason) for skip in skips).most_common()
    rows = tuple((str(count), op_type, reason, code) for (code, op_type, reason), count in reasons)
    yield Table(("inputs", "operator", "reason", "code"), rows, frozenset((0,)))
    every = tuple((Link(skip.node, skip.node), skip.op_type, skip.input, skip.code) for skip in skips)
    yield Table(("node", "operator", "input", "code"), every, caption="every input")
