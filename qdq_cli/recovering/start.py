"""Where recovery starts: the prepared model, how it is quantized so far, and the samples it may use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from calibrators import Range
from qdq_cli.calibrating import calibration
from qdq_cli.calibrating.calibration import Observation, groups_to_observe
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.observing import Job, run_samples
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.judging.aside import Split
from qdq_cli.model.fingerprint import tensor_digests
from qdq_cli.placement.plan import Plan
from qdq_cli.process.progress import Listener


@dataclass(frozen=True)
class Start:
    """Where recovery starts.

    Args:
        model: The prepared float model; not changed.
        plan: What is quantized.
        ranges: Of each scale group.
        observed: What calibration saw.
        samples: The calibration data.
        split: Which of it steps learn from, and which the judge keeps.
        config: How ranges are chosen.
        listener: Told about progress.
        journal: File to keep progress in while recovery works; None for none.
    """

    model: ir.Model
    plan: Plan
    ranges: tuple[Range, ...]
    observed: Observation
    samples: Samples
    split: Split
    config: RangeConfig
    listener: Listener
    journal: Path | None = None

    def learning(self) -> Start:
        """The same start with ranges from the samples to learn from alone.

        What the judge runs has to be new to the ranges too: where it is not, it never sees a value beyond them, and
        takes for a gain what cuts values off elsewhere.

        Raises:
            QdqError: The model cannot be run, or a sample cannot be used.
        """
        batches = replace(self.samples.batches, groups=self.split.learn, dropped=0)
        start = replace(self, samples=replace(self.samples, batches=batches))
        observed = start.observe(self.model)
        return replace(start, observed=observed, ranges=start.choose(observed))

    def observe(self, model: ir.Model) -> Observation:
        """Run the samples through a float model with other constants, and count what calibration counted.

        Of a tensor that these samples never compute, in a branch that others take, it is what calibration saw.
        """
        before = self.observed.histograms
        if not before:
            return self.observed
        seen = run_samples(Job(model, tuple(before)), self.samples, self.listener)
        histograms = {name: found if found.count else before[name] for name, found in seen.histograms.items()}
        return Observation(histograms, seen.samples)

    def choose(self, observed: Observation) -> tuple[Range, ...]:
        """The range of each scale group by what was observed."""
        return calibration.choose(self.plan, observed, self.config).groups

    @property
    def identity(self) -> str:
        """What recovery depends on, as a text: the network, the plan, ranges and samples."""
        tensors = sorted(tensor_digests(self.model.graph).items())
        every, chosen = self.samples.every, self.samples.selection.calibration
        held = [every.identity(index) for index in chosen]
        return repr((tensors, self.plan, self.ranges, self.split.learn, self.split.judge, self.samples.feeding, held))

    @property
    def free_groups(self) -> frozenset[int]:
        """The scale groups whose range calibration chose: those that are known or were given stay as they are."""
        free = {id(group) for group in groups_to_observe(self.plan, self.config)}
        return frozenset(number for number, group in enumerate(self.plan.groups) if id(group) in free)
