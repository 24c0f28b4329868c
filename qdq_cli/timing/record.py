"""How fast two models run on this machine, as frozen records; they are part of `--json` documents."""

from __future__ import annotations

from dataclasses import dataclass

from qdq_cli.process.processor import Processor


@dataclass(frozen=True)
class Timing:
    """How long a run of one model takes.

    Args:
        median_ms: In milliseconds: half of the runs took longer.
        quartiles_ms: A quarter of the runs took less than the first, a quarter more than the second.
    """

    median_ms: float
    quartiles_ms: tuple[float, float]


@dataclass(frozen=True)
class Speed:
    """How fast a model is beside the one it was made from, both run in turn on this machine.

    Args:
        runtime: What ran them, with its release.
        processor: What it ran on.
        threads: Threads of a run.
        batch_size: Samples a run.
        rounds: How often both ran.
        reference: How long the float model takes.
        quantized: How long the other one takes.
        ratio: How many times as fast the other one is: the median over the rounds of the time of the first over that
            of the second. The quotient of both medians can differ from it.
        interval: The ends of the 95 % interval of that ratio.
    """

    runtime: str
    processor: Processor
    threads: int
    batch_size: int
    rounds: int
    reference: Timing
    quantized: Timing
    ratio: float
    interval: tuple[float, float]
