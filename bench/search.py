"""Choosing a range: milliseconds a tensor, on histograms of a real run."""

from __future__ import annotations

import functools

from bench.measure import alternate, call
from bench.observe import observe_all, planned
from bench.pictures import pictures
from bench.results import Result
from bench.settings import Settings
from calibrators import Method, choose_range

METHODS = ("entropy", "mse", "percentile", "minmax")


def run(settings: Settings) -> list[Result]:
    """Measure every method on the tensors of the smaller network."""
    model, plan = planned(settings.models()["mobilenet_v2"])
    histograms = list(observe_all(model, plan, pictures(8, seed=5), 8).values())

    def choose(name: str) -> None:
        for histogram in histograms:
            choose_range(histogram, Method(name))

    works = {name: functools.partial(call, functools.partial(choose, name)) for name in METHODS}
    costs = alternate(settings.repeats + 1, works)
    work = f"{len(histograms)} tensors"
    return [
        Result(
            f"{name}, ms a tensor", work, cost.wall_seconds / len(histograms) * 1000, 5.0 if name == "entropy" else None
        )
        for name, cost in costs.items()
    ]
