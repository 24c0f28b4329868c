"""Everything a run of `qdq migrate` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import option
from qdq_cli.config.floats import keep_io_types_field, scale_type_field
from qdq_cli.config.forms import FloatType, ScaleType, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.config.ranges import RangeConfig

if TYPE_CHECKING:
    from calibrators import Range
else:
    Range = Any  # NumPy is slow to load, and who asks for help needs these records


@dataclass(frozen=True)
class MigrateConfig(Checked):
    """One run of `qdq migrate`.

    Args:
        model: The float model that the old build calibrated, or a Q/DQ model of any tool.
        cache: The calibration table of the old build, for a float model.
        output: Where the result goes; None: `MODEL.trt11.onnx` beside the model.
        float_type: Type of what is not quantized; None: FP16, and that of a model of 16-bit floats.
        scale_type: Type of the scales beside a float rest of 16 bits.
        keep_io_types: Whether graph inputs and outputs stay FP32.
        weights: How the weights of a float model are stored.
        data: Samples that say what the table does not, and that the result is compared on.
        plan: Which operators of a float model are quantized.
    """

    model: Path
    cache: Path | None = option(
        None,
        "Calibration table that TensorRT 8 to 10 wrote for the float MODEL, or ranges of another tool.",
        metavar="FILE",
    )
    output: Path | None = option(
        None, "Where the result goes. [default: MODEL.trt11.onnx]", names=("-o", "--output"), metavar="FILE"
    )
    float_type: FloatType | None = option(
        None,
        "Type of what is not quantized; what would overflow or vanish in it stays FP32. [default: fp16, or the type "
        "of a model that is FP16 or BF16]",
    )
    scale_type: ScaleType = scale_type_field()
    keep_io_types: bool = keep_io_types_field()
    weights: WeightForm = option(
        WeightForm.FP32, "How quantized weights are stored: fp32, int8 (a quarter of the size), int8-compat."
    )
    data: DataConfig = field(default_factory=DataConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)

    @property
    def destination(self) -> Path:
        """Where the result goes."""
        return self.output or self.model.with_name(f"{self.model.stem.removesuffix('.qdq')}.trt11.onnx")

    @property
    def reads(self) -> tuple[Path, ...]:
        """Files and folders besides the model that the run reads."""
        return (*self.data.calib, *(() if self.cache is None else (self.cache,)))

    def quantizing(self, ranges: Mapping[str, Range]) -> QuantizeConfig:
        """Return the run of `qdq quantize` that writes the pairs; its float rest stays FP32 until it is known.

        Args:
            ranges: What the table says, for tensors of the model.
        """
        return QuantizeConfig(
            model=self.model,
            output=self.destination,
            data=self.data,
            plan=self.plan,
            ranges=RangeConfig(imported=ranges),
            weights=self.weights,
        )
