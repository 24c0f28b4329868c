"""Everything a run of `qdq tune` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.build import DEFAULT_GPU
from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import OneOf, option
from qdq_cli.config.forms import Gpu, QuantType
from qdq_cli.config.limits import int8_macs_field, report_field
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.config.types import TYPES, kinds_named, named_types

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
        gpu: Compute capability that a type is chosen for, for every operator, out of those it has units for; also what
            `built` builds for. None: `sm89` there, and no types are chosen.
        types: Types to choose from, each by its name or several with commas; none: those that `gpu` has.
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
        "Choose a type for every operator, out of those that this GPU has units for, with the least predicted time "
        f"there; also what --cost built builds for. [default: {DEFAULT_GPU} for that, and INT8 or float]",
        metavar="smNN",
        rule=OneOf(tuple(gpu.value for gpu in Gpu)),
    )
    types: tuple[str, ...] = option(
        (),
        f"Types to choose from for every operator, with commas or repeated: {', '.join(TYPES)}; float is always one. "
        "[default: those that --gpu has]",
        metavar="TYPE,...",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "types", named_types(self.types))

    @property
    def kinds(self) -> tuple[QuantType, ...]:
        """The types to choose from, in the order of `TYPES`."""
        return kinds_named(self.types)

    @property
    def data(self) -> DataConfig:
        """The samples, and what runs them."""
        return self.quantize.data
