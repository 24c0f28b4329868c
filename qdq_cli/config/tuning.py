"""What `qdq sensitivity` and `qdq tune` can be told, as frozen records with working defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.records import QuantizeConfig


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


@dataclass(frozen=True)
class TuneConfig:
    """One run of `qdq tune`.

    Args:
        quantize: The model, its data, how to quantize it; `verify.min_sqnr` and `verify.min_agreement` are the target.
        evaluation: The user's own metric.
        max_drop: How much worse than the float model's its value may be, in the metric's own unit.
        min_int8_macs: Least share of the multiply-accumulates to keep in INT8, in percent.
        report: Where the HTML page goes; None for none.
    """

    quantize: QuantizeConfig
    evaluation: Evaluation | None = None
    max_drop: float | None = None
    min_int8_macs: float | None = None
    report: Path | None = None
