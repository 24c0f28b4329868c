"""Everything a run of `qdq fix` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdq_cli.config.checked import Checked
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.fields import Interval, option, ruled
from qdq_cli.config.limits import plugins_field
from qdq_cli.config.ranges import RANGE

if TYPE_CHECKING:
    from calibrators import Range
else:
    Range = Any  # NumPy is slow to load, and who asks for help needs these records


@dataclass(frozen=True)
class FixConfig(Checked):
    """One run of `qdq fix`.

    Args:
        model: A Q/DQ model of any tool.
        output: Where the result goes; None: `MODEL.fixed.onnx` beside the model.
        ranges: Tensor name -> range, or a number for [-amax, amax]: for residual branches without a Q on their tensor.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        samples: Random samples to compare the result with the input on; 0 for none.
        execution: What runs these.
    """

    model: Path
    output: Path | None = option(
        None, "Where the result goes. [default: MODEL.fixed.onnx]", names=("-o", "--output"), metavar="FILE"
    )
    ranges: Mapping[str, Range] = ruled(dict, RANGE)
    plugins: tuple[str, ...] = plugins_field()
    samples: int = option(
        4,
        "Compare the outputs before and after on N random samples; 0 for none.",
        metavar="N",
        rule=Interval(0),
    )
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    @property
    def destination(self) -> Path:
        """Where the result goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.fixed.onnx")
