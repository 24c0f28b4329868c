"""One run of a command: its options, its target, its clock and its notes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir as ir

from calibrators.scheme import Block
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.recovery import OF_ACTIVATIONS, OF_ONE_SCALE, ON_INTEGERS, RECOVERY_STEPS
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.target import Target
from qdq_cli.process.clock import Clock
from qdq_cli.process.collector import collector_paused
from qdq_cli.process.interrupts import insist
from qdq_cli.process.progress import Listener, telling
from qdq_cli.quantizing.report import Report, Seconds
from qdq_cli.screen.sentences import any_of

if TYPE_CHECKING:  # what runs models and what draws pages is loaded by those who do
    from qdq_cli.calibrating.calibration import Observation
    from qdq_cli.calibrating.calibration_data import Samples
    from qdq_cli.screen.page import Page


_BUILDING = frozenset({"load", "prepare", "plan", "choose", "rewrite", "cast", "predict", "save"})
"""Stages that make graphs and records, and hardly any garbage. Models run in the others."""

_TITLES = {
    "load": "loading",
    "prepare": "preparing",
    "plan": "planning",
    "rewrite": "writing Q and DQ",
    "cast": "writing Casts",
    "check": "checking",
    "repair": "repairing",
    "predict": "predicting",
    "verify": "verifying",
    "save": "saving",
}
"""Stages whose loops tell how far they are, and what that is called. The others say it themselves."""


@dataclass
class Outcome:
    """What a run leaves for those who want more of it than its report; filled in as it goes on.

    Args:
        plan: What is quantized in the end.
        model: The prepared float model.
        samples: The calibration data.
        observed: What calibration saw, before recovery changed anything.
        placement: What for, and with which options, for the table of it.
        page: The page about it, where one was asked for.
    """

    plan: Plan | None = None
    model: ir.Model | None = None
    samples: Samples | None = None
    observed: Observation | None = None
    placement: tuple[Target, PlanConfig] | None = None
    page: Page | None = None


class Course:
    """What the runs of all commands do: they keep their time, and pass notes on while they keep them for the report."""

    listener: Listener
    clock: Clock
    notes: list[str]

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to a stage; one that builds what stays does it without the cycle collector.

        That is so the first time alone: commands that make one model after the other leave cycles behind.
        """
        insist()
        builds = name in _BUILDING and not self.clock.has_run(name)
        title = _TITLES.get(name)
        told = contextlib.nullcontext() if title is None else telling(self.listener, title)
        with self.clock.stage(name), told, collector_paused() if builds else contextlib.nullcontext():
            yield

    def say(self, *notes: str) -> None:
        """Keep notes for the report, and pass them on at once."""
        for note in self._new(notes):
            self.listener.note(note)

    def warn(self, *warnings: str) -> None:
        """Keep warnings among the notes of the report, and pass them on at once, to quiet users too."""
        for warning in self._new(warnings):
            self.listener.warning(warning)

    def _new(self, texts: Sequence[str]) -> list[str]:
        """Keep the texts that were not said before; returns them."""
        new = [text for text in dict.fromkeys(texts) if text not in self.notes]
        self.notes += new
        return new


@dataclass
class PlainRun(Course):
    """The clock and the notes of a run that says by other means what it is to do."""

    listener: Listener
    clock: Clock = field(default_factory=Clock)
    notes: list[str] = field(default_factory=list)


@dataclass
class Run(Course):
    """The clock and the notes of one run."""

    config: QuantizeConfig
    listener: Listener
    target: Target
    clock: Clock = field(default_factory=Clock)
    notes: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def useful_steps(self, asked: Sequence[str]) -> tuple[str, ...]:
        """Return those of the steps of recovery that the type of the weights has a use for; says which are left out."""
        found = [_useless(part) for part in self.target.parts or (self.target,)]
        useless, reason = frozenset.intersection(*(steps for steps, _ in found)), found[0][1]
        left = [step for step in asked if step in useless]
        if left:
            self.say(f"Recovery leaves out {any_of(left)}: {reason}.")
        return tuple(step for step in asked if step not in left)

    def finish(self, report: Report) -> Report:
        """Complete the report with the times and notes."""
        known = {item.name for item in dataclasses.fields(Seconds)}  # a run of another command has further stages
        seconds = {name: value for name, value in self.clock.seconds().items() if name in known}
        return dataclasses.replace(report, seconds=Seconds(**seconds), notes=tuple(self.notes))


def _useless(target: Target) -> tuple[frozenset[str], str]:
    """Return the steps of recovery that a target's type has no use for, and why."""
    if target.in_blocks:
        return frozenset(RECOVERY_STEPS), f"blocks of {target.type_title} find their scales while the network runs"
    if target.weights.qtype.grid is not None:
        return ON_INTEGERS, f"{target.type_title} has no even steps to round to"
    if target.weights_alone:
        blocks = isinstance(target.weights.granularity, Block)
        return OF_ACTIVATIONS | (OF_ONE_SCALE if blocks else frozenset()), "weights alone are quantized"
    return frozenset(), ""
