"""`python -m bench.cpu_draws [FOLDER]`: `qdq` and its peer on CPUs over several draws of the calibration samples.

Which samples calibrate moves a result by more than tools differ. So all quantize from all samples (draw 0), and again
from two thirds of them, drawn at random, the same for each; the metric is of whole test sets, in ONNX Runtime's default
session. What is told is the mean of each tool, and how far the peer's lie from that of `qdq`, draw by draw, with the
standard error of it.

What is done is kept in the folder of `--work`; started again, a run does what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.cpu_table import make, subjects_of
from bench.figures import Effort, MeasureError, measure
from bench.kit import Subject
from bench.peer_models import CPU_PEERS, write_samples

OWN = "qdq-onnxruntime"
TOOLS = (OWN, *CPU_PEERS)
_SHARE = 2 / 3

Figures = dict[str, dict[str, Any]]
"""Draw -> tool -> what its file reaches."""


def drawn(samples: Path, draw: int, output: Path) -> None:
    """Write the samples of a draw: all of them for number 0, else two thirds in their order, seeded by the number."""
    with np.load(samples, allow_pickle=False) as arrays:
        numbers = sorted({key.partition("/")[0] for key in arrays.files})
        count = len(numbers) if draw == 0 else max(1, round(_SHARE * len(numbers)))
        chosen = set(np.random.default_rng(draw).permutation(numbers)[:count])
        np.savez(output, **{key: arrays[key] for key in arrays.files if key.partition("/")[0] in chosen})


def run_draw(subject: Subject, work: Path, draw: int, found: dict[str, Any], effort: Effort) -> None:
    """Quantize with each tool from the samples of a draw, and evaluate; what is known already is left as it is."""
    every, samples = work / f"{subject.name}.every.npz", work / f"{subject.name}.npz"
    if not every.exists():
        write_samples(subject.model, subject.data, every)
    drawn(every, draw, samples)
    for tool in TOOLS:
        if tool in found:
            continue
        output = work / f"{subject.name}.{tool}.onnx"
        try:
            told = make(subject, tool, output, effort)
            figure = measure(output, subject.evaluation, effort)
            found[tool] = {**told, "metric": figure.metric, "value": figure.value}
        except MeasureError as error:
            found[tool] = {"failure": str(error)}
        print(f"{subject.name:20} draw {draw} {tool:16} {json.dumps(found[tool])}", flush=True)


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The mean difference of paired figures, and its standard error; NaN where there is one pair alone."""
    apart = [one - other for one, other in zip(first, second, strict=True)]
    error = statistics.stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    return statistics.fmean(apart), error


def lines(name: str, figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what was found of a network: the mean of each tool, and how far `qdq` lies from the others."""
    draws = [each for each in figures.values() if all("value" in each.get(tool, {}) for tool in TOOLS)]
    if not draws:
        return [f"{name}: no draw has a figure of every tool"]
    values = {tool: [each[tool]["value"] for each in draws] for tool in TOOLS}
    seconds = {tool: statistics.fmean(each[tool]["cpu_seconds"] for each in draws) for tool in TOOLS}
    told = [f"{name}, {draws[0][OWN]['metric']}, {len(draws)} draws"]
    for tool in TOOLS:
        told.append(f"  {tool:16} mean {statistics.fmean(values[tool]):.3f}, {seconds[tool]:.1f} CPU s")
        if tool != OWN:
            apart, error = difference(values[OWN], values[tool])
            told[-1] += f"; {OWN} is {apart:+.3f} from it (standard error {error:.3f})"
    return told


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cpu_draws", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder with more models")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this model; repeatable")
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="of two thirds, beside all samples")
    parser.add_argument("--work", type=Path, default=Path("build/cpu-draws"), metavar="FOLDER", help="what is kept")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    ledger = chosen.work / "draws.json"
    figures: dict[str, Figures] = json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else {}
    effort = Effort(None, 1, 7200.0, as_written=False)
    subjects = subjects_of(chosen, parser)
    for subject in subjects:
        known = figures.setdefault(subject.name, {})
        for draw in range(chosen.draws + 1):
            run_draw(subject, chosen.work, draw, known.setdefault(str(draw), {}), effort)
            ledger.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print("\n".join(line for subject in subjects for line in lines(subject.name, figures[subject.name])))


if __name__ == "__main__":
    _main()
