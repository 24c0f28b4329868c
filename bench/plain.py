"""The yardstick: nothing but ONNX Runtime's FP32 inference, the way somebody in a hurry would run it.

As a program, `python -m bench.plain MODEL SAMPLES BATCH INSIDE BESIDE`: one process that does this and nothing else;
with 0 samples only the libraries are loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from bench.pictures import pictures


@dataclass(frozen=True)
class Style:
    """How to run: samples a run, threads inside a run, and runs side by side on one session."""

    batch: int
    inside: int
    beside: int

    def __str__(self) -> str:
        return f"batch {self.batch}, {self.beside} x {self.inside} threads"


def styles(cores: int) -> list[Style]:
    """Every sensible way on so many cores."""
    ways = [(cores, 1), (1, cores)] if cores > 1 else [(1, 1)]
    return [Style(batch, inside, beside) for inside, beside in ways for batch in (1, 2, 4, 8, 16)]


def infer(model: Path, samples: Iterable[np.ndarray], style: Style) -> None:
    """Make a session and run it over batches of samples [batch, 3, side, side]."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = style.inside
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    with ThreadPoolExecutor(style.beside) as pool:
        for _ in pool.map(lambda batch: session.run(None, {"input": batch}), samples):
            pass


def _main() -> None:
    model, count, batch, inside, beside = sys.argv[1], *map(int, sys.argv[2:6])
    array = pictures(batch)
    if count:
        infer(Path(model), (array for _ in range(0, count, batch)), Style(batch, inside, beside))


if __name__ == "__main__":
    _main()
