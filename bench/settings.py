"""What a run of the bench is asked for, and where it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.networks import NETWORKS, build
from qdq_cli.running.session import cores as usable_cores


@dataclass(frozen=True)
class Settings:
    """Size of the work.

    Args:
        folder: Where networks and outputs are written; temporary.
        samples: Samples of the observe stage.
        repeats: Alternating repeats; medians are printed.
        few_samples: Samples of the short memory run.
        many_samples: Samples of the long memory run.
        peer_samples: Samples of the comparison with the peer, which keeps every activation of them in memory.
        cpu_samples: Samples of the comparison on this CPU.
        cpu_seconds: How long two models are run in turn there.
        nodes: Nodes of the networks that are inspected.
        growth: Nodes of the networks over which stages are followed.
        growth_tuned: The same for tuning, which writes and verifies as quantizing does.
        growth_samples: Numbers of samples over which observing is followed.
    """

    folder: Path
    samples: int = 64
    repeats: int = 3
    few_samples: int = 64
    many_samples: int = 512
    peer_samples: int = 32
    cpu_samples: int = 48
    cpu_seconds: float = 2.0
    nodes: int = 15_000
    growth: tuple[int, ...] = (50, 500, 5_000, 15_000)
    growth_tuned: tuple[int, ...] = (50, 500, 5_000)
    growth_samples: tuple[int, ...] = (16, 256, 4_096)

    @property
    def cores(self) -> int:
        """Processors all work may use."""
        return usable_cores()

    def models(self) -> dict[str, Path]:
        """Name -> path of every network, built when missing."""
        return {name: build(name, self.folder) for name in NETWORKS}


def quick(folder: Path) -> Settings:
    """Settings of a smoke run: figures mean little, everything is done once."""
    return Settings(
        folder,
        samples=8,
        repeats=1,
        few_samples=4,
        many_samples=16,
        peer_samples=2,
        cpu_samples=2,
        cpu_seconds=0.0,
        nodes=300,
        growth=(50, 100, 200),
        growth_tuned=(50, 100),
        growth_samples=(4, 16, 32),
    )
