"""Everything a run of `qdq fix` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qdq_cli.config.ranges import as_ranges

if TYPE_CHECKING:
    from calibrators import Range


@dataclass(frozen=True)
class FixConfig:
    """One run of `qdq fix`.

    Args:
        model: A Q/DQ model of any tool.
        output: Where the result goes; None: `MODEL.fixed.onnx` beside the model.
        ranges: Tensor name -> range, or a number for [-amax, amax]: for residual branches without a Q on their tensor.
        samples: Random samples to compare the result with the input on; 0 for none.
    """

    model: Path
    output: Path | None = None
    ranges: Mapping[str, Range] = field(default_factory=dict)
    samples: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", as_ranges(self.ranges))

    @property
    def destination(self) -> Path:
        """Where the result goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.fixed.onnx")
