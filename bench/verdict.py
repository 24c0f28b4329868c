"""`python -m bench.verdict [FOLDER]`: does the verdict of `qdq quantize` tell what a result loses of its metric?

Of each model twenty scale groups (`--places`) get a range that is too narrow or too wide, one at a time, chosen by a
seed. What verification then calls low, without a label, is held against what the metric loses on the test set. Losses
are kept, so that a run goes on where it was, and limits can be changed without measuring again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Effort, Evaluation, Figure, fingerprint, measure
from bench.kit import Subject, folder_subjects, only, sample_subjects
from bench.ledger import Entry, Ledger
from bench.spoiling import spoilings, write_spoiled
from qdq_cli import QuantizeConfig, RangeConfig, quantize_model
from qdq_cli.calibrating.calibration_data import open_data
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.data.batches import Batch, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.model import files
from qdq_cli.preparing.literal import literal
from qdq_cli.preparing.prepare import prepare
from qdq_cli.quantizing.low import low_names
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.quantizing.report import Distance
from qdq_cli.quantizing.verification import verification_runs
from qdq_cli.running.runner import Outputs, Runner

PLACES = 20
"""Ranges spoiled in each model."""

POINT, DECIBEL = 1.0, 0.5
"""What a metric may not lose unnoticed: a point of a share or an AP, half a decibel."""

SMALL = 0.25
"""What is less than this share of that should raise no alarm."""


@dataclass(frozen=True)
class Spoiled:
    """One spoiled result.

    Args:
        number: Which of the model's places.
        lost: What its metric loses to FP32, in the metric's unit.
        warned: Whether verification calls an output low.
        outputs: Output name -> how far it is from FP32.
    """

    number: int
    lost: float
    warned: bool
    outputs: dict[str, Distance] = dataclasses.field(default_factory=dict)


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


class Verdict:
    """Runs results of a model on the samples that `quantize` holds back; the float outputs are kept."""

    def __init__(self, subject: Subject) -> None:
        count = VerifyConfig().samples
        samples = open_data(prepare(files.load(subject.model).model).model, subject.data, count)
        if samples is None:
            raise ValueError(f"{subject.name} has no samples.")
        runner, unreadable = Runner(literal(subject.model)), UnreadableSamples(len(samples.every))
        batches = (
            load_readable_batch(samples.every, group, unreadable) for group in verification_runs(samples, count)[0]
        )
        self._expected: list[tuple[Outputs, Batch]] = [
            (runner.run(batch), batch) for batch in batches if batch is not None
        ]

    def distances(self, result: Path) -> dict[str, Distance]:
        """Output name -> how far a result is from FP32."""
        runner, meter = Runner(literal(result)), OutputMeter()
        for expected, batch in self._expected:
            meter.observe(expected, runner.run(batch), batch)
        return meter.distances()


@dataclass(frozen=True)
class Places:
    """Which places of a model are spoiled.

    Args:
        seed: Equal seeds spoil equal places.
        count: How many.
    """

    seed: int = 0
    count: int = PLACES


def judge(subject: Subject, work: Path, effort: Effort, places: Places) -> tuple[Figure, list[Spoiled]]:
    """Spoil one model in some places; returns its metric, and what the verdict says of each result beside its loss."""
    plain, output = work / f"{subject.name}.qdq.onnx", work / f"{subject.name}.spoiled.qdq.onnx"
    ranges = RangeConfig(cache=work / f"{subject.name}.qcal")
    report = quantize_model(QuantizeConfig(subject.model, plain, subject.data, ranges=ranges))
    ledger = Ledger(work / "losses" / f"{subject.name}.json", effort.limit)
    figure_of = _measuring(subject.name, subject.evaluation, effort, ledger)
    verdict, whole, found = Verdict(subject), figure_of(subject.model, "float"), list[Spoiled]()
    for spoiling in spoilings(report, places.seed, places.count):
        write_spoiled(plain, spoiling, output)
        lost = whole.value - figure_of(output, f"{places.seed}.{spoiling.number}").value
        outputs = verdict.distances(output)
        found.append(Spoiled(spoiling.number, round(lost, 4), bool(low_names(outputs)), outputs))
        print(
            f"{subject.name} {spoiling.number}, {spoiling.tensors[0]} x {spoiling.factor:.3g}: {_said(found[-1])}",
            file=sys.stderr,
            flush=True,
        )
    return whole, found


def _said(found: Spoiled) -> str:
    return f"{'warned' if found.warned else 'not warned'} of a loss of {found.lost:g}"


def _measuring(name: str, evaluation: Evaluation, effort: Effort, ledger: Ledger) -> Callable[[Path, str], Figure]:
    """A function that measures a model, or finds what was measured of the same file before."""

    def figure_of(model: Path, column: str) -> Figure:
        known = ledger.find(name, mark := fingerprint(model, evaluation))
        figure = known.figure if known and known.figure else measure(model, evaluation, effort)
        ledger.record(name, "", column, Entry(mark, figure))
        return figure

    return figure_of


def _as_json(found: Spoiled) -> dict[str, Any]:
    outputs = {name: dataclasses.asdict(distance) for name, distance in found.outputs.items()}
    return {"number": found.number, "lost": found.lost, "warned": found.warned, "outputs": outputs}


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
        whole, found = judge(subject, chosen.work, effort, Places(chosen.seed, chosen.places))
        document = {"metric": whole.metric, "value": whole.value, "results": [_as_json(each) for each in found]}
        path = chosen.work / f"{subject.name}.{chosen.seed}.results.json"
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        halves = [[each for each in found if each.number % 2 == half] for half in (0, 1)]
        for title, part in zip(("even", "odd"), halves, strict=True):
            print(rates_of(f"{subject.name} ({title})", whole.metric, part), flush=True)


if __name__ == "__main__":
    _main()
