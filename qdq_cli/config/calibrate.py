"""Everything a run of `qdq calibrate` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.data import DataConfig
from qdq_cli.config.forms import DEFAULT_TARGET
from qdq_cli.config.placement import PlanConfig


@dataclass(frozen=True)
class Shard:
    """One of several equal shares of the calibration runs.

    Args:
        number: From 1 on.
        total: How many there are.
    """

    number: int = 1
    total: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


@dataclass(frozen=True)
class CalibrateConfig:
    """One run of `qdq calibrate`.

    Args:
        model: The FP32 model.
        output: The calibration cache; None: `MODEL.qcal` beside the model.
        data: Where samples come from; without `samples` every one calibrates, none is held back.
        plan: Which operators `quantize` will quantize: their tensors are observed.
        all_tensors: Observe every float tensor of the prepared model.
        append: Add to the cache that is there.
        shard: Which share of the runs.
        dask: Address of a Dask scheduler whose workers do the work; None for this process.
        target: Name of what `quantize` will quantize for.
    """

    model: Path
    output: Path | None = None
    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
    all_tensors: bool = False
    append: bool = False
    shard: Shard = field(default_factory=Shard)
    dask: str | None = None
    target: str = DEFAULT_TARGET

    @property
    def destination(self) -> Path:
        """Where the calibration cache goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.qcal")
