"""What is asked of a run of samples, and what it found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from calibrators import Extremes, Histogram
from qdq_cli.data.batches import Batch
from qdq_cli.running.blocks import Laid


class Looker(Protocol):
    """Looks at tensors behind each run; called by several threads."""

    @property
    def names(self) -> Collection[str]:
        """Which; tensors that are counted, and that nodes compute."""

    def look(self, batch: Batch, tensors: Mapping[str, Sequence[Laid]], /) -> None:
        """Look at what a run gave, which is valid until this returns: in a body, what each round gave."""


@dataclass(frozen=True)
class Watched:
    """The tensors of a model that are observed.

    Args:
        counted: Names of those whose values are counted.
        extremes: Names of those whose smallest and largest value are wanted and no more, which costs far less.
        looker: Looks at some of those that are counted.
    """

    counted: Sequence[str]
    extremes: Sequence[str] = ()
    looker: Looker | None = None


@dataclass(frozen=True)
class Found:
    """What was observed; equal for any number of threads and any order.

    Args:
        histograms: Tensor name -> histogram, in the order asked for.
        extremes: Tensor name -> extremes.
        way: In one line, how that was done on this machine.
    """

    histograms: dict[str, Histogram]
    extremes: dict[str, Extremes]
    way: str = ""
