"""Everything a run of `qdq calibrate` can be told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import Interval, option, ruled
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.targets import target_field
from qdq_cli.process.errors import UsageError
from qdq_cli.process.extras import install_line

_COUNT = re.compile("[0-9]{1,9}")


@dataclass(frozen=True)
class Shard(Checked):
    """One of several equal shares of the calibration runs.

    Args:
        number: From 1 on.
        total: How many there are.
    """

    number: int = ruled(1, Interval(1))
    total: int = ruled(1, Interval(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.number > self.total:
            raise UsageError(f"Shard.number is {self.number}; expected 1 to {self.total}, which is its total.")

    @classmethod
    def of(cls, text: str) -> Shard:
        """Parse `I/N`: share I of N, counted from 1.

        Raises:
            UsageError: The text is something else, or I is not one of 1 to N.
        """
        number, slash, total = text.partition("/")
        counts = [int(part) if _COUNT.fullmatch(part) else 0 for part in (number, total)]
        if slash and 1 <= counts[0] <= counts[1]:
            return cls(*counts)
        raise UsageError(f"'{text}' is not I/N with I from 1 to N (2/8 is the second of eight shares).")

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclass(frozen=True)
class CalibrateConfig(Checked):
    """One run of `qdq calibrate`.

    Args:
        model: The FP32 model.
        output: The calibration cache; None: `MODEL.qcal` beside the model.
        data: Where samples come from; without `samples` every one calibrates, none is held back.
        plan: Which operators `quantize` will quantize: their tensors are observed.
        all_tensors: Observe every float tensor of the prepared model.
        every_target: Observe what every target needs, so that the file serves all of them.
        append: Add to the cache that is there.
        shard: Which share of the runs.
        dask: Address of a Dask scheduler whose workers do the work; None for this process.
        target: Name of what `quantize` will quantize for.
    """

    model: Path
    output: Path | None = option(
        None, "Where the calibration cache goes. [default: MODEL.qcal]", names=("-o", "--output"), metavar="FILE"
    )
    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    all_tensors: bool = option(
        False, "Observe every float tensor, for the implicit mode of TensorRT up to 10. [default: those quantize needs]"
    )
    every_target: bool = option(False, "Observe what every --target needs: one file serves all of them.")
    append: bool = option(
        False, "Add to the calibration cache that is there; samples it has seen are not counted again."
    )
    shard: Shard = option(
        Shard,
        "Run share I of N only; qdq cache merge puts the shares together. [default: 1/1]",
        metavar="I/N",
        parse=Shard.of,
    )
    dask: str | None = option(
        None,
        f"Let the workers of this Dask scheduler do the work (needs: {install_line('dask')}).",
        metavar="ADDRESS",
    )
    target: str = target_field()

    @property
    def destination(self) -> Path:
        """Where the calibration cache goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.qcal")
