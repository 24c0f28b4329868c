"""Everything a run of `qdq tune` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.build import DEFAULT_GPU, GPUS
from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import OneOf, option
from qdq_cli.config.limits import int8_macs_field, report_field
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.sensitivity import Evaluation

PREDICTED = "predicted"
BUILT = "built"
MEASURED = "measured"
COSTS = (PREDICTED, BUILT, MEASURED)


@dataclass(frozen=True)
class TuneConfig(Checked):
    """One run of `qdq tune`.

    Args:
        quantize: The model, its data, how to quantize it; `verify.min_sqnr` and `verify.min_agreement` are the target.
        evaluation: The user's own metric.
        max_drop: How much worse than the float model's its value may be, in the metric's own unit.
        min_int8_macs: Least share of the multiply-accumulates to keep in INT8, in percent.
        report: Where the HTML page goes; None for none.
        cost: What is kept low: `predicted` keeps most work in INT8 as predicted; `built` has the fewest bytes moved by
            the kernels that NVIDIA's compiler builds; `measured` is the fastest on this CPU, in the runtime of the
            target. None: `measured` where that runs on it and is installed, else `predicted`.
        gpu: Compute capability that it builds for, and that must have units for the type; None for `sm89`, and any.
    """

    quantize: QuantizeConfig
    evaluation: Evaluation | None = None
    max_drop: float | None = option(
        None,
        "Most that the number of --eval may be worse than that of the float model, in its own unit.",
        metavar="X",
    )
    min_int8_macs: float | None = int8_macs_field(
        "Keep at least this share of the multiply-accumulates in INT8; where that takes it, products of two "
        "activations are quantized too."
    )
    report: Path | None = report_field()
    cost: str | None = option(
        None,
        "What to keep low: what is lost of the work in INT8 as predicted, the bytes that kernels move as NVIDIA's "
        "compiler builds them (as qdq build does), or the time of a run on this CPU. [default: measured for targets on "
        "CPUs, else predicted]",
        metavar="|".join(COSTS),
        rule=OneOf(COSTS),
    )
    gpu: str | None = option(
        None,
        f"Refuse types that this GPU has no units for; what --cost built builds for: {', '.join(GPUS)}. "
        f"[default: {DEFAULT_GPU}]",
        metavar="smNN",
        rule=OneOf(GPUS),
    )

    @property
    def data(self) -> DataConfig:
        """The samples, and what runs them."""
        return self.quantize.data
