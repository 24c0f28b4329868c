"""Everything a run of `qdq convert` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import option
from qdq_cli.config.floats import keep_io_types_field, scale_type_field
from qdq_cli.config.forms import FloatType, ScaleType
from qdq_cli.config.limits import report_field
from qdq_cli.config.quantize import VerifyConfig


@dataclass(frozen=True)
class ConvertConfig(Checked):
    """One run of `qdq convert`.

    Args:
        model: An FP32 model, with Q/DQ or without.
        float_type: Type of its floats in the result.
        output: Where the result goes; None: `MODEL.fp16.onnx` or `MODEL.bf16.onnx` beside the model.
        data: Samples that say how large the tensors get; without any, or a cache, nothing is observed.
        cache: A calibration cache that says it.
        verify: How the result is compared with the model as it came.
        scale_type: Type of the scales of Q/DQ.
        keep_io_types: Whether graph inputs and outputs stay FP32.
        report: Where a page about the run goes; None for none.
    """

    model: Path
    float_type: FloatType = option(
        FloatType.FP16, "Type of the floats; what would overflow or vanish in it stays FP32."
    )
    output: Path | None = option(
        None, "Where the result goes. [default: MODEL.fp16.onnx or MODEL.bf16.onnx]", names=("-o", "--output"),
        metavar="FILE",
    )  # fmt: skip
    data: DataConfig = field(default_factory=DataConfig)
    cache: Path | None = option(
        None,
        "Calibration cache that says how large the tensors get: no data is needed then, and none is run for what is in "
        "it.",
        metavar="FILE",
    )
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    scale_type: ScaleType = scale_type_field()
    keep_io_types: bool = keep_io_types_field()
    report: Path | None = report_field()

    @property
    def destination(self) -> Path:
        """Where the result goes."""
        return self.output or self.model.with_name(f"{self.model.stem}.{self.float_type.value}.onnx")
