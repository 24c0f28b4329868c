"""The page of `qdq sensitivity`: the summary, a bar for each operator and for each scale group."""

from __future__ import annotations

import math
from collections.abc import Iterator

from calibrators.metrics import sqnr_of_ratio
from qdq_cli.screen.page import Bar, Bars, Block, Cell, Facts, Note, Page, Section
from qdq_cli.screen.page_text import number
from qdq_cli.screen.sentences import some_of
from qdq_cli.sensitivity.record import OperatorSensitivity, SensitivityReport
from qdq_cli.sensitivity.text import noise_text, work_text

MOST_DB = 80.0
"""Bars end here: what is quieter does not matter to any output."""


def sensitivity_page(report: SensitivityReport) -> Page:
    """Compose the page of a run."""
    return Page(
        "Sensitivity",
        report.model,
        (
            Section("Summary", "", (Facts(tuple(_summary(report))), *(Note(text) for text in report.notes))),
            Section(
                "Operators",
                "The share each operator has in the sum of noises: its activations and weight quantized alone, all "
                "else float, measured at the outputs. In brackets its SQNR alone, and what INT8 loses of the "
                "multiply-accumulates and of the activation traffic with it in float.",
                tuple(_operators(report)),
            ),
            Section(
                "Scale groups",
                "SQNR of the outputs with the tensors of one scale quantized alone; a short bar is a noisy one.",
                (Bars("SQNR alone, dB", ("SQNR",), tuple(_groups(report)), MOST_DB),) if report.groups else (),
            ),
        ),
    )


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
    if any(operator.drop is not None for operator in report.operators):
        drops = tuple(Bar(_label(operator), (operator.drop,)) for operator in report.operators)
        yield Bars("in its own unit", ("drop of the metric",), drops)
    yield Bars("%", ("share of the noise",), tuple(_bar(operator) for operator in report.operators))


def _bar(operator: OperatorSensitivity) -> Bar:
    noise = operator.noise if operator.exact_noise is None else operator.exact_noise
    work = work_text(operator.macs_percent, operator.traffic_percent)
    return Bar(_label(operator), (operator.noise_percent,), f"({noise_text(noise)} alone; {work})")


def _label(operator: OperatorSensitivity) -> str:
    return f"{operator.op_type} {operator.name}"


def _groups(report: SensitivityReport) -> Iterator[Bar]:
    for group in report.groups:
        noise = group.noise if group.exact_noise is None else group.exact_noise
        yield Bar(some_of(group.tensors, 1), (_decibels(noise),), f"amax {number(group.amax)}")


def _decibels(noise: float) -> float:
    return sqnr_of_ratio(noise) if noise > 0 else math.inf
