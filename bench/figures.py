"""One measured figure of a model's task: the child process that measures it, and its 95 % interval."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

PROPORTIONS = ("top1", "top-1", "accuracy")
"""A metric whose name holds one of these is a share of right answers, whose interval follows from their number; of
others the program has to say it."""

_NORMAL_975 = 1.959963984540054


@dataclass(frozen=True)
class Figure:
    """What a model reaches on a test set.

    Args:
        metric: Name of the metric.
        value: In the metric's own unit (percent, dB).
        count: Size of the test set in the metric's own units (pictures, decisions); 0 where it is not known.
        interval: Ends of the 95 % interval; None where the metric is no proportion and the program says none.
    """

    metric: str
    value: float
    count: int
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Evaluation:
    """How to evaluate a model: `python ARGUMENTS MODEL [LIMIT]` prints one JSON line with "value".

    Args:
        arguments: What stands before the model.
        sources: Files whose content decides what is measured; part of the fingerprint.
    """

    arguments: tuple[str, ...]
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Effort:
    """How much an evaluation may use.

    Args:
        limit: Only so many test samples; None for the full test set.
        threads: Threads of ONNX Runtime.
        timeout_seconds: Longest time of one child process.
        as_written: Every Q and DQ is computed by itself, without ONNX Runtime's graph optimisations; else its default
            session evaluates, as users run a model.
    """

    limit: int | None
    threads: int
    timeout_seconds: float
    as_written: bool = True


class MeasureError(Exception):
    """A child process gave no figure; the message says why."""


def wilson_interval(percent: float, count: int) -> tuple[float, float]:
    """95 % interval of a share of right answers, in percent.

    Args:
        percent: The share, 0 to 100.
        count: How many answers there were, at least 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22(158).
    """
    share, z2 = percent / 100, _NORMAL_975**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_975 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, 100 * (center - half)), min(100.0, 100 * (center + half))


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """95 % interval of the mean of independent values, at least two: Student's t."""
    array = np.asarray(values, np.float64)
    half = float(stdtrit(array.size - 1, 0.975) * array.std(ddof=1) / math.sqrt(array.size))
    return float(array.mean()) - half, float(array.mean()) + half


def read_figure(printed: str) -> Figure:
    """Read the last JSON line that an evaluation printed: `metric`, `value`, `n` and, where it knows, `interval_95`.

    Raises:
        MeasureError: There is none with a finite number under "value".
    """
    for line in reversed(printed.splitlines()):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        value = document.get("value") if isinstance(document, dict) else None
        if isinstance(value, int | float) and math.isfinite(value):
            metric, count = str(document.get("metric", "value")), int(document.get("n", 0))
            share = count > 0 and 0 <= value <= 100 and any(word in metric.casefold() for word in PROPORTIONS)
            stated = _interval(document.get("interval_95"))
            return Figure(metric, float(value), count, stated or (wilson_interval(value, count) if share else None))
    raise MeasureError('the evaluation printed no JSON line with a finite "value"')


def _interval(stated: object) -> tuple[float, float] | None:
    """The interval that a program states, if it is one."""
    if not isinstance(stated, list) or len(stated) != 2:
        return None
    low, high = stated
    ordered = isinstance(low, int | float) and isinstance(high, int | float) and low <= high
    return (float(low), float(high)) if ordered and math.isfinite(high - low) else None


def measure(model: Path, evaluation: Evaluation, effort: Effort) -> Figure:
    """Evaluate a model in a child process.

    Raises:
        MeasureError: It failed, took too long, or printed no figure.
    """
    limit = [] if effort.limit is None else [str(effort.limit)]
    return read_figure(run_child([*evaluation.arguments, str(model), *limit], effort))


def run_child(arguments: Sequence[str], effort: Effort) -> str:
    """Run `python ARGUMENTS` and return what it printed.

    `KIT_NOOPT`, where it is not empty, and `KIT_THREADS` ask an evaluation script to run the graph as it is written,
    on so many threads.

    Raises:
        MeasureError: It failed or took too long; the message is the last line of what it said, without folders.
    """
    threads = str(effort.threads)
    settings = {"KIT_NOOPT": "1" if effort.as_written else "", "KIT_THREADS": threads, "OMP_NUM_THREADS": threads}
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=effort.timeout_seconds,
            env={**os.environ, **settings},
        )
    except subprocess.TimeoutExpired as error:
        raise MeasureError(f"no figure after {effort.timeout_seconds:g} s") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise MeasureError(_without_folders(said[-1], arguments))
    return done.stdout


def fingerprint(model: Path, evaluation: Evaluation, *facts: object) -> str:
    """Digest of everything a figure depends on: the model with what lies beside it under its name, script and facts."""
    digest = hashlib.sha256(repr(facts).encode())
    weights = sorted(path for path in model.parent.glob("*") if path.name.startswith(f"{model.name}."))
    for path in (model, *weights, *evaluation.sources):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _without_folders(text: str, arguments: Sequence[str]) -> str:
    """Leave out the folders of this machine: results are published."""
    folders = {str(Path(argument).parent) for argument in arguments if os.sep in argument}
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder + os.sep, "")
    return text[:300]
