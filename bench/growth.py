"""How cost grows: stages over the nodes of a network, and observing over the number of samples, as slopes.

A slope is that of the straight line through the points in a plot of logarithms: 1 is proportional, 2 is quadratic. What
every process pays at its start is not part of it: stages are timed inside.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench.command import START
from bench.deep import CHANNELS, build_deep
from bench.measure import child
from bench.results import Result
from bench.settings import Settings

_GOAL = 1.1
_LEAST_SECONDS = 0.05  # of the largest network: below, a stage is lost in noise
_FIRST = 1  # the smallest network pays for what is set up once


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of the line through the logarithms of some points, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def run(settings: Settings) -> list[Result]:
    """Measure each command over networks of growing size."""
    samples = settings.folder / "deep.npy"
    np.save(samples, np.random.default_rng(0).standard_normal((4, CHANNELS, 8, 8)).astype(np.float32))
    results = []
    for name in ("quantize", "tune", "fix", "inspect"):
        found = {nodes: _stages(name, nodes, samples, settings) for nodes in settings.growth}
        results += _slopes(name, found)
    return results


def _slopes(name: str, found: Mapping[int, Mapping[str, float]]) -> list[Result]:
    """The slope of each stage that takes long enough to have one."""
    sizes = list(found)[_FIRST:]
    results = []
    for stage, longest in found[sizes[-1]].items():
        seconds = [max(found[size].get(stage, 0.0), 1e-4) for size in sizes]
        work = f"{sizes[0]:,} to {sizes[-1]:,} nodes, the last {longest:.2f} s"
        if longest >= _LEAST_SECONDS and len(sizes) > 1:
            results.append(Result(f"growth of {name}, {stage}", work, slope(sizes, seconds), _GOAL))
    return results


def _stages(name: str, nodes: int, samples: Path, settings: Settings) -> dict[str, float]:
    """CPU or wall seconds of a command's stages, or of all of it where it does not tell stages."""
    quantized = name == "fix"
    model = build_deep("residual", nodes, settings.folder, quantized=quantized)
    data = ["--calib", str(samples), "-o", str(settings.folder / "deep.out.onnx")]
    words = {
        "quantize": [*data, "--verify", "1"],
        "tune": [*data, "--verify", "1", "--min-sqnr", "-100"],
        "fix": ["--samples", "0", "-o", str(settings.folder / "deep.fixed.onnx")],
        "inspect": [],
    }[name]
    start = time.perf_counter()
    cost, printed = child([*START, name, str(model), "--json", *words])
    stages: dict[str, float] = json.loads(printed).get("seconds", {})
    return stages or {"whole process": min(cost.cpu_seconds, time.perf_counter() - start)}
