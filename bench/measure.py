"""Measuring: the wall and CPU time of a call, and the cost of a whole child process; medians of alternating repeats."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What some work took; `peak_bytes` is the largest resident size of a child process, 0 inside this one."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int = 0


def call(work: Callable[[], object]) -> Cost:
    """Measure a call in this process, all its threads included."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def child(arguments: Sequence[str]) -> tuple[Cost, str]:
    """Measure a Python process from its start to its end: `python ARGUMENTS`; returns its cost and what it printed.

    Raises:
        RuntimeError: It failed.
    """
    with tempfile.TemporaryDirectory(prefix="qdq-bench-") as folder:
        report = Path(folder) / "cost.json"
        command = [sys.executable, "-m", "bench.launcher", str(report), sys.executable, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return Cost(**json.loads(report.read_text())), done.stdout


def alternate(repeats: int, works: Mapping[str, Callable[[], Cost]]) -> dict[str, Cost]:
    """Measure all works in turn, A B C A B C ..., so that a slow minute hits all of them; returns medians."""
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            costs[name].append(work())
    return {name: median(measured) for name, measured in costs.items()}


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        statistics.median(cost.wall_seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        int(statistics.median(cost.peak_bytes for cost in costs)),
    )
