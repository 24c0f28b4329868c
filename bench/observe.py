"""The observe stage against plain inference of the same samples on the same cores, at the yardstick's best.

Both begin with a prepared model and end with the last sample: making sessions is part of either.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from bench.measure import Cost, alternate, call
from bench.networks import build
from bench.pictures import pictures
from bench.plain import Style, infer, styles
from bench.results import Result
from bench.settings import Settings
from bench.transformers import bert_base, sentences, vit_tiny
from calibrators import Histogram, warm_up
from qdq_cli.data.batches import Batch
from qdq_cli.model import files
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.running.runner import observe
from qdq_cli.running.watched import Watched
from qdq_cli.targets.tensorrt.table import TENSORRT

GOALS = {"mobilenet_v2": 1.4, "resnet50": 1.1, "vit_tiny": 1.3, "bert_base": 1.3}
_TRANSFORMERS = {"vit_tiny": (vit_tiny, pictures), "bert_base": (bert_base, sentences)}
_TRIAL_SAMPLES = 32
_EQUAL = 1.02  # times the fastest: no difference that a trial can tell


def planned(path: Path) -> tuple[ir.Model, Plan]:
    """A network as the observe stage gets it."""
    prepared = prepare(files.load(path).model)
    return prepared.model, make_plan(prepared.model, TENSORRT)


def observe_all(model: ir.Model, plan: Plan, samples: np.ndarray, count: int) -> dict[str, Histogram]:
    """Observe `count` samples one by one, going round `samples` [n, 3, side, side]."""

    def load(index: int) -> Batch:
        place = index % len(samples)
        return Batch({"input": samples[place : place + 1]}, (f"sample {place}",), 1)

    return observe(model, Watched(plan.observed), range(count), load).histograms


def best_style(path: Path, samples: np.ndarray, cores: int, repeats: int) -> Style:
    """The fastest way to run plain inference, by a short trial of each; of equals, the one with the smallest batch."""
    trial = samples[:_TRIAL_SAMPLES]
    works = {style: functools.partial(_infer, path, trial, style) for style in styles(cores)}
    costs = alternate(repeats, {str(style): work for style, work in works.items()})
    best = min(cost.wall_seconds for cost in costs.values())
    equals = [style for style in works if costs[str(style)].wall_seconds <= _EQUAL * best]
    return min(equals, key=lambda style: style.batch)


def _infer(path: Path, samples: np.ndarray, style: Style) -> Cost:
    batches = [samples[start : start + style.batch] for start in range(0, len(samples), style.batch)]
    return call(lambda: infer(path, batches, style))


def run(settings: Settings) -> list[Result]:
    """Measure each network."""
    warm_up()
    results = []
    for name, path, samples in _networks(settings):
        model, plan = planned(path)
        style = best_style(path, samples, settings.cores, min(3, settings.repeats))
        observed = functools.partial(observe_all, model, plan, samples, len(samples))
        works = {
            "plain": functools.partial(_infer, path, samples, style),
            "observe": functools.partial(call, observed),
        }
        costs = alternate(settings.repeats, works)
        work = f"{name}, {len(samples)} samples, {len(plan.observed)} tensors; plain: {style}"
        wall = costs["observe"].wall_seconds / costs["plain"].wall_seconds
        cpu = costs["observe"].cpu_seconds / costs["plain"].cpu_seconds
        results += [
            Result("observe, wall time x plain inference", work, wall, GOALS[name]),
            Result("observe, CPU time x plain inference", work, cpu, GOALS[name]),
            Result("plain inference, ms a sample", work, costs["plain"].wall_seconds / len(samples) * 1000),
            Result("observe, ms a sample", work, costs["observe"].wall_seconds / len(samples) * 1000),
        ]
    return results


def _networks(settings: Settings) -> Iterator[tuple[str, Path, np.ndarray]]:
    """Name, path and samples of each network; one after the other, as samples take memory."""
    for name, path in settings.models().items():
        yield name, path, pictures(settings.samples, seed=5)
    for name, (make, samples) in _TRANSFORMERS.items():
        count = max(2, settings.samples // 4)  # they take four times as long and more
        yield name, build(name, settings.folder, make), samples(count, seed=5)
