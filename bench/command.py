"""The command around its observe stage, as a user starts it: whole processes."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np

from bench.measure import Cost, child
from bench.pictures import pictures
from bench.results import Result
from bench.settings import Settings

START = ["-c", "from qdq_cli.main import main; main()"]
_MODEL = "resnet50"  # 100 MB


def quantize(model: Path, samples: Path, output: Path, *options: str) -> tuple[Cost, dict[str, float]]:
    """Run `qdq quantize --verify 0`; returns its cost and the seconds of its stages."""
    arguments = ["quantize", str(model), "--calib", str(samples), "--verify", "0", "--json", "-o", str(output)]
    cost, report = child([*START, *arguments, *options])
    seconds: dict[str, float] = json.loads(report)["seconds"]
    return cost, seconds


def write_samples(settings: Settings, count: int) -> Path:
    """Write `count` pictures as one .npy file, unless it is there."""
    path = settings.folder / f"samples_{count}.npy"
    if not path.exists():
        np.save(path, pictures(count, seed=5))
    return path


def run(settings: Settings) -> list[Result]:
    """Measure `qdq --help`, and all of `qdq quantize` but observing."""
    help_cost = [child([*START, "--help"])[0].wall_seconds for _ in range(2 * settings.repeats + 1)][1:]
    model, samples = settings.models()[_MODEL], write_samples(settings, settings.few_samples)
    rest, stages, peaks = [], [], []
    for _ in range(settings.repeats):
        cost, seconds = quantize(model, samples, settings.folder / "out.qdq.onnx")
        rest.append(cost.wall_seconds - seconds["observe"])
        peaks.append(cost.peak_bytes)
        stages.append(seconds)
    work = f"{_MODEL}, {model.stat().st_size / 1e6:.0f} MB"
    each = [
        Result(f"  of it {stage}, s", work, statistics.median(seconds[stage] for seconds in stages))
        for stage in stages[0]
        if stage not in ("observe", "verify")
    ]
    return [
        Result("qdq --help, s", "whole process", statistics.median(help_cost), 0.3),
        Result("qdq quantize without observing, s", work, statistics.median(rest), 3.0),
        *each,
        Result("qdq quantize, peak MB", work, statistics.median(peaks) / 1e6),
    ]
