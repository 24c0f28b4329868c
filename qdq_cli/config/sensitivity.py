"""Everything a run of `qdq sensitivity` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import REQUIRED, OneOf, option
from qdq_cli.config.forms import Gpu
from qdq_cli.config.limits import report_field
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.types import TYPES, named_types


@dataclass(frozen=True)
class Evaluation(Checked):
    """The user's own measure of a model.

    Args:
        command: A command line that holds `{model}`; the program prints a number.
        lower_is_better: Whether a smaller number is a better model.
    """

    command: str = option(
        REQUIRED,
        "Ask this program how good a model is: {model} becomes a path, the last number it prints counts.",
        names=("--eval", "eval_"),
        metavar='"CMD {model}"',
    )
    lower_is_better: bool = option(False, "The number of --eval is an error or a loss.")


@dataclass(frozen=True)
class SensitivityConfig(Checked):
    """One run of `qdq sensitivity`.

    Args:
        quantize: The model, its data, and how it would be quantized.
        exact: Measure every operator on all samples set aside, and say how well the estimate ranks them.
        evaluation: Measure the drop of the user's own metric for every operator.
        report: Where the HTML page goes; None for none.
        gpu: Measure every operator in each of the types that this GPU has units for, too.
        types: Measure it in these types, each by its name or several with commas; none: those that `gpu` has.
    """

    quantize: QuantizeConfig
    exact: bool = option(False, "Measure every operator on all samples set aside, not on a few of them.")
    evaluation: Evaluation | None = None
    report: Path | None = report_field()
    gpu: str | None = option(
        None,
        "Measure every operator in each type that this GPU has units for: INT8, FP8, INT8 and INT4 weights alone.",
        metavar="smNN",
        rule=OneOf(tuple(gpu.value for gpu in Gpu)),
    )
    types: tuple[str, ...] = option(
        (),
        f"Measure every operator in these types, with commas or repeated: {', '.join(TYPES)}. [default: those that "
        "--gpu has]",
        metavar="TYPE,...",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "types", named_types(self.types))

    @property
    def data(self) -> DataConfig:
        """The samples, and what runs them."""
        return self.quantize.data
