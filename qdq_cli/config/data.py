"""Where calibration samples come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.preprocess import Overrides


@dataclass(frozen=True)
class DataConfig:
    """Where calibration samples come from and how they become model inputs.

    Args:
        calib: Folders or files of samples, in order; empty where a cache or manual ranges serve.
        preprocess: Name of a preset or path of a JSON/TOML file; None lets the model's input decide.
        overrides: Single fields on top of it.
        input_shape: `NAME:1x3x224x224` for dynamic inputs.
        samples: How many samples to calibrate on; None: all up to 512, less those held back for verification.
        batch_size: Samples a run; None: what the model fixes, else 1.
        seed: Choose the samples at random with this seed instead of evenly spread.
        strict: Refuse data that looks unfit instead of warning of it.
        include_data, exclude_data: Globs of the files of folders to take, and to leave out.
    """

    calib: tuple[Path, ...] = ()
    preprocess: str | None = None
    overrides: Overrides = field(default_factory=Overrides)
    input_shape: tuple[str, ...] = ()
    samples: int | None = None
    batch_size: int | None = None
    seed: int | None = None
    strict: bool = False
    include_data: tuple[str, ...] = ()
    exclude_data: tuple[str, ...] = ()
