"""The page of `qdq sensitivity`: the summary, a bar for each operator and for each scale group."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from calibrators.metrics import sqnr_of_ratio
from qdq_cli.config.forms import QuantType
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.page import Bar, Bars, Block, Cell, Facts, Meter, Note, Page, Section, Table, Tone, Verdict
from qdq_cli.screen.page_text import number
from qdq_cli.screen.sentences import some_of
from qdq_cli.sensitivity.record import OperatorSensitivity, SensitivityReport, TypedSensitivity
from qdq_cli.sensitivity.text import work_text

MOST_DB = 80.0
"""Bars end here: what is quieter does not matter to any output."""


def sensitivity_page(report: SensitivityReport) -> Page:
    """Compose the page of a run."""
    return Page(
        "Sensitivity",
        report.model,
        (
            Section(
                "Summary",
                "",
                (verdict_of(report), Facts(tuple(_summary(report))), *(Note(text) for text in report.notes)),
            ),
            Section(
                "Operators",
                "The share each operator has in the sum of noises: its activations and weight quantized alone, all "
                "else float, measured at the outputs; its SQNR alone; and what "
                f"{report.type_title} loses of the multiply-accumulates "
                "and of the activation traffic with it in float. A click on a heading sorts.",
                tuple(_operators(report)),
            ),
            *_types(report),
            Section(
                "Scale groups",
                "SQNR of the outputs with the tensors of one scale quantized alone; a short bar is a noisy one.",
                (Bars("SQNR alone, dB", ("SQNR",), tuple(_groups(report)), MOST_DB),) if report.groups else (),
            ),
        ),
    )


def _types(report: SensitivityReport) -> Iterator[Section]:
    """The operators in each of their types, as a table that sorts."""
    if not report.by_type:
        return
    titles = [f"{QuantType(name).title}, {what}" for name in report.types for what in ("dB", "bytes")]
    columns = ("operator", "type", "FP32, bytes", *titles)
    about = (
        "SQNR of the outputs with an operator alone in each type that it can have, and the bytes of its weight there."
    )
    rows = tuple(tuple(_typed_cells(operator, report.types)) for operator in report.by_type)
    yield Section("Types", about, (Table(columns, rows, frozenset(range(2, len(columns)))),))


def _typed_cells(operator: TypedSensitivity, names: Sequence[str]) -> Iterator[Cell]:
    yield operator.name
    yield operator.op_type
    yield "" if operator.float_bytes is None else str(operator.float_bytes)
    known = {choice.type: choice for choice in operator.types}
    for name in names:
        choice = known.get(name)
        if choice is None:
            yield from ("", "")
            continue
        yield "ruined" if choice.noise is None else f"{_decibels(choice.noise):.1f}" if choice.noise > 0 else "no noise"
        yield "" if choice.weight_bytes is None else str(choice.weight_bytes)


_MOST_LOOKS = 3
_STANDS_OUT = 20.0
"""Share of the noise in percent from which on one operator is worth a look."""


def verdict_of(report: SensitivityReport) -> Verdict:
    """Name the operators that make most of the noise, where single ones stand out."""
    kept = f"All in {report.type_title}, the outputs keep {decibels(report.together.sqnr_db)}"
    loud = [operator for operator in report.operators if operator.noise_percent >= _STANDS_OUT][:_MOST_LOOKS]
    looks = tuple(
        (
            f"{entry.op_type} {entry.name} makes {entry.noise_percent:.1f} % of the noise; left float, "
            f"{report.type_title} loses {work_text(entry.macs_percent, entry.traffic_percent)}.",
            "",
        )
        for entry in loud
    )
    if not looks:
        return Verdict(Tone.GOOD, "good", f"{kept}; no operator makes {_STANDS_OUT:.0f} % of the noise alone.")
    return Verdict(Tone.WARNING, "look at these", f"{kept}.", looks)


def _summary(report: SensitivityReport) -> Iterator[tuple[str, Cell]]:
    together = report.together
    yield "samples", f"{report.samples} set aside; the estimate takes {report.estimate_samples} of them"
    yield "all quantized", f"SQNR {number(together.sqnr_db)} dB"
    if together.noise > 0:
        yield "sum of single noises", f"{number(together.sum / together.noise)} times the noise of all together"
    if together.metric is not None and together.float_metric is not None:
        yield "metric", f"{number(together.metric)} with all quantized, float {number(together.float_metric)}"
    if report.rank_correlation is not None:
        yield "rank correlation", f"{report.rank_correlation:.3f} of the estimate with what was measured"


def _operators(report: SensitivityReport) -> Iterator[Block]:
    """The operators as a table with bars, which sorts by each of its columns."""
    if not report.operators:
        return
    has_drop = any(operator.drop is not None for operator in report.operators)
    most = _Most(
        max(operator.noise_percent for operator in report.operators) or 1.0,
        max(abs(operator.drop or 0.0) for operator in report.operators) or 1.0,
    )
    columns = ["operator", "type", *(["drop of the metric"] if has_drop else []), *_COLUMNS]
    rows = tuple(tuple(_cells(operator, most, has_drop=has_drop)) for operator in report.operators)
    yield Table(tuple(columns), rows, frozenset(range(2, len(columns))))


_COLUMNS = ("share of the noise, %", "alone, dB", "of the MACs, %", "of the traffic, %")


class _Most(NamedTuple):
    """What bars are drawn beside: the largest share of the noise, and the largest drop."""

    noise_percent: float
    drop: float


def _cells(operator: OperatorSensitivity, most: _Most, *, has_drop: bool) -> Iterator[Cell]:
    noise = operator.noise if operator.exact_noise is None else operator.exact_noise
    yield operator.name
    yield operator.op_type
    if has_drop:
        drop = operator.drop
        yield "" if drop is None else Meter(number(drop), max(drop, 0.0) / most.drop)
    yield Meter(f"{operator.noise_percent:.1f}", operator.noise_percent / most.noise_percent)
    yield "no noise" if noise <= 0 else f"{sqnr_of_ratio(noise):.1f}"
    yield Meter(f"{operator.macs_percent:.1f}", operator.macs_percent / 100)
    yield Meter(f"{operator.traffic_percent:.1f}", operator.traffic_percent / 100)


def _groups(report: SensitivityReport) -> Iterator[Bar]:
    for group in report.groups:
        noise = group.noise if group.exact_noise is None else group.exact_noise
        yield Bar(some_of(group.tensors, 1), (_decibels(noise),), f"amax {number(group.amax)}")


def _decibels(noise: float) -> float:
    return sqnr_of_ratio(noise) if noise > 0 else math.inf
