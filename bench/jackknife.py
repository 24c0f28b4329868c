"""`python -m bench.jackknife FOLDER MODEL --only NAME`: is what a result loses more than chance?

The test set is cut into groups, and NAME/eval.py measures the float model and the result without one group after the
other. What these figures scatter tells 95 % intervals of both, and of their difference, which is far more certain than
either: both see the same samples.

FOLDER is laid out as `python -m bench.accuracy` wants it. With `--files`, a pattern inside FOLDER that names the files
the evaluation goes through, any metric will do, such as an AP. Without, the metric has to be a mean over samples, and
the program to take a LIMIT.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from bench.cutting import Cuttable, Files, FirstSamples
from bench.figures import Effort, Evaluation, Figure, measure

GROUPS = 16
"""Groups, where there are as many files or samples."""


@dataclass(frozen=True)
class Estimate:
    """A figure of the whole test set, and its 95 % interval.

    Args:
        value: In the metric's own unit.
        interval: Lower and upper end.
    """

    value: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.interval[0]:.2f} to {self.interval[1]:.2f})"

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON, as the accuracy bench writes them."""
        return {"value": round(self.value, 3), "interval_95": [round(end, 3) for end in self.interval]}


@dataclass(frozen=True)
class Held:
    """A result held against the float model.

    Args:
        model: Name of the model.
        metric: Name of its metric.
        count: Size of the test set in the metric's own units.
        groups: Groups of it, each left out once.
        fp32: What the float model reaches.
        result: What the result reaches.
        difference: The result's figure less the float model's, on the same samples.
    """

    model: str
    metric: str
    count: int
    groups: int
    fp32: Estimate
    result: Estimate
    difference: Estimate

    def __str__(self) -> str:
        cells = (self.model, self.metric, self.count, self.groups, self.fp32, self.result, self.difference)
        return f"| {' | '.join(str(cell) for cell in cells)} |"

    def as_json(self) -> dict[str, Any]:
        """The fields but the name as JSON."""
        estimates = {"fp32": self.fp32, "result": self.result, "difference": self.difference}
        known = {"metric": self.metric, "n": self.count, "groups": self.groups}
        return {**known, **{name: found.as_json() for name, found in estimates.items()}}


def estimate(value: float, without: Sequence[float]) -> Estimate:
    """The 95 % interval of a figure by what it is without one group after the other.

    Args:
        value: The figure of the whole test set.
        without: The figure without each group; two groups at least.

    Source: Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17(4); Student's t with one degree
        of freedom less than there are groups.
    """
    count, values = len(without), np.asarray(without, np.float64)
    error = math.sqrt((count - 1) / count * float(np.square(values - values.mean()).sum()))
    half = float(stdtrit(count - 1, 0.975)) * error
    return Estimate(value, (value - half, value + half))


def hold(name: str, result: Path, test: Cuttable, effort: Effort, groups: int = GROUPS) -> Held:
    """Measure the float model and a result on the whole test set, and without each group of it.

    Args:
        name: Name of the model, a folder in that of the test set.
        result: The result's file.
        test: The test set.
        effort: How each evaluation runs.
        groups: How many groups.

    Raises:
        MeasureError: An evaluation failed.
    """
    with tempfile.TemporaryDirectory() as kept:

        def measured(folder: Path, model: Path, limit: int | None) -> Figure:
            program = ("-m", "bench.remembered", kept, str(folder / name / "eval.py"))
            figure = measure(model, Evaluation(program, ()), dataclasses.replace(effort, limit=limit))
            print(f"{name}, {model.stem}: {figure.value:g} of {figure.count}", file=sys.stderr, flush=True)
            return figure

        before, fp32 = test.whole_and_without(lambda at, limit: measured(at, at / name / "model.onnx", limit), groups)
        after, own = test.whole_and_without(lambda at, limit: measured(at, result.resolve(), limit), groups)
    differences = [second - first for first, second in zip(fp32, own, strict=True)]
    return Held(
        name,
        before.metric,
        before.count,
        len(fp32),
        estimate(before.value, fp32),
        estimate(after.value, own),
        estimate(after.value - before.value, differences),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.jackknife", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder of models")
    parser.add_argument("result", type=Path, metavar="MODEL", help="the result to hold against the float model")
    parser.add_argument("--only", required=True, metavar="NAME", help="which model of the folder")
    parser.add_argument("--files", metavar="GLOB", help="files of the test set, inside FOLDER")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="JSON object by names of files, inside FOLDER")
    parser.add_argument("--groups", type=int, default=GROUPS, metavar="N", help="groups of the test set, two at least")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each evaluation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the figures to this file")
    return parser


def _main() -> None:
    parser = _parser()
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    files = [path.relative_to(folder) for path in sorted(folder.glob(chosen.files))] if chosen.files else []
    if chosen.files and len(files) < 2:
        parser.error(f"{chosen.files} names {len(files)} files in {folder}; two are the least.")
    test = Files(folder, files, chosen.labels) if chosen.files else FirstSamples(folder)
    held = hold(chosen.only, chosen.result, test, Effort(None, chosen.threads, 7200.0), max(2, chosen.groups))
    print("| model | metric | test set | groups | FP32 | result | difference |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    print(held)
    if chosen.json:
        known = json.loads(chosen.json.read_text(encoding="utf-8")) if chosen.json.is_file() else {}
        known[held.model] = held.as_json()
        chosen.json.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
