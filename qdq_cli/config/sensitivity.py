"""Everything a run of `qdq sensitivity` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.quantize import QuantizeConfig


@dataclass(frozen=True)
class Evaluation:
    """The user's own measure of a model.

    Args:
        command: A command line that holds `{model}`; the program prints a number.
        lower_is_better: Whether a smaller number is a better model.
    """

    command: str
    lower_is_better: bool = False


@dataclass(frozen=True)
class SensitivityConfig:
    """One run of `qdq sensitivity`.

    Args:
        quantize: The model, its data, and how it would be quantized.
        exact: Measure every operator on all samples set aside, and say how well the estimate ranks them.
        evaluation: Measure the drop of the user's own metric for every operator.
        report: Where the HTML page goes; None for none.
    """

    quantize: QuantizeConfig
    exact: bool = False
    evaluation: Evaluation | None = None
    report: Path | None = None
