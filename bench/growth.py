"""How cost grows: stages over the nodes of a network, and observing over the number of samples, as slopes.

A slope is that of the straight line through the points in a plot of logarithms: 1 is proportional, 2 is quadratic. What
every process pays at its start is not part of it: stages are timed inside, in CPU seconds of one thread. Beside them
stands what ONNX Runtime alone needs to make a session of the largest networks, which observing and verifying wait for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.deep import CHANNELS, build_deep
from bench.measure import call, child
from bench.results import Result
from bench.settings import Settings
from qdq_cli.running.session import SessionOptions, Source, make_session

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
        sizes = settings.growth_tuned if name == "tune" else settings.growth
        found = {nodes: _stages(name, nodes, samples, settings) for nodes in sizes}
        results += _slopes(name, found)
    return [*results, _over_samples(settings), *_sessions(settings)]


def _over_samples(settings: Settings) -> Result:
    """The slope of observing one small network on more and more samples."""
    model, seconds = build_deep("residual", settings.growth[0], settings.folder), []
    for count in settings.growth_samples:
        path = settings.folder / f"deep_{count}.npy"
        np.save(path, np.random.default_rng(0).standard_normal((count, CHANNELS, 8, 8)).astype(np.float32))
        words = [
            "--calib",
            str(path),
            "--samples",
            str(count),
            "--verify",
            "0",
            "-o",
            str(settings.folder / "deep.out.onnx"),
        ]
        seconds.append(_stages_of("quantize", model, words)["observe"])
    sizes = settings.growth_samples
    work = f"{sizes[_FIRST]:,} to {sizes[-1]:,} samples, the last {seconds[-1]:.2f} s"
    return Result("growth of observing, samples", work, slope(sizes[_FIRST:], seconds[_FIRST:]), _GOAL)


def _sessions(settings: Settings) -> Iterator[Result]:
    """The slope of ONNX Runtime's own part: a session of a float network, and one of a network with Q/DQ."""
    for quantized, optimize, what in ((False, True, "float, optimized"), (True, False, "Q/DQ, as it is")):
        seconds = []
        for nodes in (sizes := settings.growth[_FIRST:]):
            source = Source(build_deep("residual", nodes, settings.folder, quantized=quantized))
            made = partial(make_session, source, SessionOptions(threads=1, optimize=optimize))
            seconds.append(call(made).cpu_seconds)
        work = f"{sizes[0]:,} to {sizes[-1]:,} nodes, the last {seconds[-1]:.2f} s"
        yield Result(f"growth of ONNX Runtime's session, {what}", work, slope(sizes, seconds))


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
    """CPU seconds of a command's stages on a network of some size."""
    quantized = name == "fix"
    model = build_deep("residual", nodes, settings.folder, quantized=quantized)
    data = ["--calib", str(samples), "-o", str(settings.folder / "deep.out.onnx")]
    words = {
        "quantize": [*data, "--verify", "1"],
        "tune": [*data, "--verify", "1", "--min-sqnr", "-100"],
        "fix": ["--samples", "0", "-o", str(settings.folder / "deep.fixed.onnx")],
        "inspect": [],
    }[name]
    return _stages_of(name, model, words)


def _stages_of(name: str, model: Path, words: Sequence[str]) -> dict[str, float]:
    """Run a command on one thread; CPU seconds of its stages, or of all of it where it does not tell stages."""
    threads = [] if name in ("fix", "inspect") else ["--threads", "1"]
    cost, printed = child(["-m", "bench.staged", name, str(model), "--json", *threads, *words])
    stages: dict[str, float] = json.loads(printed).get("seconds", {})
    return stages or {"whole process": cost.cpu_seconds}
