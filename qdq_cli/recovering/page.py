"""The section on recovery, on the pages of `qdq quantize` and `qdq tune`: its steps, each layer before and after."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.recovering.record import LayerGain, Recovery
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.page import Badge, Bar, Bars, Block, Facts, Section, Table, Tone
from qdq_cli.screen.sentences import count_text

_MOST_DB = 80.0
"""Bars end here: beyond it a layer's output is its float output for every purpose."""


def recovery_section(recovery: Recovery) -> Section:
    """Compose the section."""
    return Section(
        "Recovery",
        "What --recover changed without labels. A change stays where the error of its layer falls on samples it was "
        "not fitted to, and the noise of the model's outputs too.",
        (Facts(tuple(_summary(recovery))), _steps(recovery), *_equalized(recovery), *_layers(recovery)),
    )


def recovery_text(recovery: Recovery) -> str:
    """What it gained, in a line."""
    return f"SQNR {decibels(recovery.before_db)} before, {decibels(recovery.after_db)} after"


def _summary(recovery: Recovery) -> Iterator[tuple[str, str]]:
    yield "judged on", f"{count_text(recovery.samples, 'sample')} set aside from the calibration data"
    yield "model's outputs", recovery_text(recovery)


def _steps(recovery: Recovery) -> Table:
    rows = tuple(
        (step.step, str(step.tried), str(step.accepted), f"{step.gain_db + 0.0:+.2f}") for step in recovery.steps
    )
    columns = ("step", "tried", "accepted", "gain, dB")
    return Table(columns, rows, frozenset((1, 2, 3)), caption="gain: SQNR of the model's outputs")


def _equalized(recovery: Recovery) -> Iterator[Table]:
    """The changes that have no error of one layer: they are judged by the outputs alone."""
    rows = tuple((gain.where, _verdict(gain)) for gain in recovery.layers if gain.before_db is None)
    if rows:
        yield Table(("channels of", "verdict"), rows, caption="equalization, judged by the model's outputs alone")


def _layers(recovery: Recovery) -> Iterator[Block]:
    """A list for each step, its layers in the model's order."""
    gains = [gain for gain in recovery.layers if gain.before_db is not None]
    for step in dict.fromkeys(gain.step for gain in gains):
        rows = tuple(_bar(gain) for gain in gains if gain.step == step)
        yield Bars(f"{step}: SQNR of the layer's own output, dB", ("before", "after"), rows, _MOST_DB)


def _bar(gain: LayerGain) -> Bar:
    return Bar(gain.where, (gain.before_db, gain.after_db), "accepted" if gain.accepted else "rejected")


def _verdict(gain: LayerGain) -> Badge:
    return Badge("accepted", Tone.GOOD) if gain.accepted else Badge("rejected")
