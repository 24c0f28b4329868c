"""Everything that `qdq cache` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.forms import DEFAULT_TARGET
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import DEFAULT_METHOD

RANGE_FORMATS = {
    "tensorrt": ".cache",
    "ort": ".flatbuffers",
    "ort-json": ".ort.json",
    "ort-text": ".ort.cache",
    "json": ".ranges.json",
    "torch-json": ".torch.json",
}
"""Formats in which ranges leave a calibration cache -> ending of the default file name: TensorRT's text cache, ONNX
Runtime's TensorRT table in its three forms, {tensor: amax}, and amax, scale and zero point for PyTorch."""


@dataclass(frozen=True)
class ExportConfig:
    """How ranges leave a calibration cache.

    Args:
        file: The calibration cache.
        format: A key of `RANGE_FORMATS`.
        output: Where they go; None: beside the cache.
        method: How ranges are chosen.
        percentile: For `percentile`: the share kept, in percent.
        trt: The TensorRT release that will read a text cache.
        algo: The calibrator that release will use.
    """

    file: Path
    format: str
    output: Path | None = None
    method: str = DEFAULT_METHOD
    percentile: float = 99.99
    trt: str = "8.6.1"
    algo: str = "EntropyCalibration2"

    @property
    def destination(self) -> Path:
        """Where the ranges go."""
        return self.output or self.file.with_name(f"{self.file.stem}{RANGE_FORMATS[self.format]}")


@dataclass(frozen=True)
class CheckConfig:
    """One run of `qdq cache check`.

    Args:
        model: The FP32 model.
        file: A calibration cache, or a file of ranges.
        plan: Which operators will be quantized.
        all_tensors: Ask for every float tensor of the prepared model.
        target: Name of what it will be quantized for.
    """

    model: Path
    file: Path
    plan: PlanConfig = field(default_factory=PlanConfig)
    all_tensors: bool = False
    target: str = DEFAULT_TARGET
