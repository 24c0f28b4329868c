"""`python -m bench.verdict [FOLDER]`: does the verdict of `qdq quantize` tell what a result loses of its metric?

Of each model twenty scale groups (`--places`) get a range that is far too narrow or far too wide, one at a time, chosen
by a seed. What verification then calls low, without a label, is held against what the metric loses on the test set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import Effort, measure
from bench.kit import Subject, folder_subjects, only, sample_subjects
from calibrators import Range
from qdq_cli import QuantizeConfig, RangeConfig, quantize_model
from qdq_cli.quantizing.report import Report

PLACES = 20
"""Ranges spoiled in each model."""

POINT, DECIBEL = 1.0, 0.5
"""What a metric may not lose unnoticed: a point of a share or an AP, half a decibel."""

SMALL = 0.25
"""What is less than this share of that should raise no alarm."""

_CHOSEN = ("known", "given")


@dataclass(frozen=True)
class Spoiled:
    """One spoiled result.

    Args:
        lost: What its metric loses to FP32, in the metric's unit.
        warned: Whether verification calls an output low.
    """

    lost: float
    warned: bool


@dataclass(frozen=True)
class Rates:
    """How often the verdict was right.

    Args:
        model: Name of the model.
        large: Results that lose much, and how many of them were warned of.
        small: Results that lose little, and how many of them were warned of.
        between: Results that lose something between the two, which count for neither.
    """

    model: str
    large: tuple[int, int]
    small: tuple[int, int]
    between: int

    def __str__(self) -> str:
        many, few = (f"{warned} of {count}" for count, warned in (self.large, self.small))
        return f"| `{self.model}` | {many} | {few} | {self.between} |"


def rates_of(model: str, metric: str, found: Sequence[Spoiled]) -> Rates:
    """Count what was warned of among results that lose much, and among those that lose little.

    Args:
        model: Name of the model.
        metric: Name of its metric; decibels have `db` in it.
        found: The results.
    """
    most = DECIBEL if "db" in metric.casefold() else POINT
    large = [each.warned for each in found if each.lost > most]
    small = [each.warned for each in found if each.lost < SMALL * most]
    return Rates(model, (len(large), sum(large)), (len(small), sum(small)), len(found) - len(large) - len(small))


def spoiled_ranges(report: Report, seed: int, count: int = PLACES) -> Iterator[tuple[str, Range]]:
    """Yield tensors and ranges for them: half to a fiftieth of what calibration chose, or twice to 128 times as wide.

    Args:
        report: What a plain run found.
        seed: Equal seeds spoil equal places.
        count: How many; a group comes twice only where there are fewer groups.
    """
    rng = np.random.default_rng(seed)
    groups = [
        (group.observed[0], amax)
        for group, amax, how in zip(report.groups, report.amax, report.chosen, strict=True)
        if group.observed and amax > 0 and how not in _CHOSEN
    ]
    order = rng.permutation(len(groups))
    for number in range(count if groups else 0):
        tensor, amax = groups[int(order[number % len(groups)])]
        narrow = rng.random() < 0.5
        yield tensor, Range.symmetric(amax * float(2 ** (-rng.uniform(0.5, 5.5) if narrow else rng.uniform(1, 7))))


@dataclass(frozen=True)
class Places:
    """Which places of a model are spoiled.

    Args:
        seed: Equal seeds spoil equal places.
        count: How many.
    """

    seed: int = 0
    count: int = PLACES


def judge(subject: Subject, work: Path, effort: Effort, places: Places) -> Rates:
    """Spoil one model in some places, and count what the verdict says of it."""
    whole = measure(subject.model, subject.evaluation, effort)
    cache, output = work / f"{subject.name}.qcal", work / f"{subject.name}.spoiled.qdq.onnx"
    plain = QuantizeConfig(subject.model, output, subject.data, ranges=RangeConfig(cache=cache))
    found = []
    for tensor, kept in spoiled_ranges(quantize_model(plain), places.seed, places.count):
        ranges = RangeConfig(cache=cache, manual={tensor: kept})
        report = quantize_model(QuantizeConfig(subject.model, output, subject.data, ranges=ranges))
        lost = whole.value - measure(output, subject.evaluation, effort).value
        found.append(Spoiled(lost, bool(report.verification and report.verification.low)))
        said = "" if report.verification is None else dict(report.verification.outputs)
        print(f"{subject.name}, {tensor} to {kept.amax:.4g}: {found[-1]}; {said}", file=sys.stderr, flush=True)
    return rates_of(subject.name, whole.metric, found)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.verdict", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder with more models")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this model; repeatable")
    parser.add_argument("--limit", type=int, metavar="N", help="so many test samples only")
    parser.add_argument("--places", type=int, default=PLACES, metavar="N", help="ranges spoiled in each model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the places and the ranges")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each evaluation")
    parser.add_argument("--work", type=Path, default=Path("build/verdict"), metavar="FOLDER", help="what is kept")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    extra = folder_subjects(chosen.folder, chosen.work) if chosen.folder else []
    effort = Effort(chosen.limit, chosen.threads, 7200.0)
    print("| model | warned of, losing much | warned of, losing little | between |\n| --- | ---: | ---: | ---: |")
    for subject in only([*sample_subjects(), *extra], chosen.only):
        print(judge(subject, chosen.work, effort, Places(chosen.seed, chosen.places)), flush=True)


if __name__ == "__main__":
    _main()
