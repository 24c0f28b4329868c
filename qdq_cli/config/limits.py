"""Fields that several commands have: limits on the outputs, custom operators, and the page about a run."""

from __future__ import annotations

from typing import Any

from qdq_cli.config.fields import Interval, option

PERCENT = Interval(0, 100)
"""A share in percent."""


def sqnr_field() -> Any:
    """Declare the field with the lowest SQNR in dB that every output must reach."""
    return option(None, "Fail (exit 5) below this SQNR on any output.", metavar="DB")


def agreement_field() -> Any:
    """Declare the field with the lowest top-1 agreement in percent."""
    return option(
        None,
        "Fail (exit 5) below this top-1 agreement on any output of class scores.",
        metavar="PERCENT",
        rule=PERCENT,
    )


def int8_macs_field(text: str) -> Any:
    """Declare the field with the least share of the multiply-accumulates in INT8, in percent; `text` is its help."""
    return option(None, text, metavar="PERCENT", rule=PERCENT)


def time_field(text: str) -> Any:
    """Declare the field that says whether both models are timed; None: where it says something. `text` is its help."""
    return option(None, text)


def speedup_field() -> Any:
    """Declare the field with the lowest ratio of speeds, which is a limit on what is timed."""
    return option(
        None,
        "Fail (exit 5) unless it runs RATIO times as fast as FP32 on this CPU.",
        metavar="RATIO",
        rule=Interval(0, above=True),
    )


def plugins_field() -> Any:
    """Declare the field with the custom operators that a deployment has plugins for."""
    return option(
        (),
        "Custom operator that the deployment has a plugin for: NAME in any domain, or DOMAIN::NAME. Repeatable.",
        names=("--plugin", "plugins"),
        metavar="NAME",
    )


def report_field() -> Any:
    """Declare the field that says where a page about the run goes."""
    return option(None, "Write a page about the run too: one HTML file that fetches nothing.", metavar="FILE.html")
