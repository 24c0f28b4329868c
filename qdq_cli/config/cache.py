"""Everything that `qdq cache` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import REQUIRED, OneOf, option
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import method_field, percentile_field
from qdq_cli.config.targets import target_field
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import any_of

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

CALIBRATORS = ("EntropyCalibration2", "MinMaxCalibration", "EntropyCalibration", "LegacyCalibration")
"""The calibrators of TensorRT whose name is in the head of its text cache."""


def release(text: str) -> str:
    """Check the number of a TensorRT release that reads calibration caches.

    Raises:
        UsageError: It is none.
    """
    from calibrators import ParameterError, tensorrt_version

    try:
        number = tensorrt_version(text)
    except ParameterError as error:
        raise UsageError(error.message) from None
    if number >= tensorrt_version(FIRST_WITHOUT):
        raise UsageError(
            f"TensorRT {text} reads no calibration cache, as none does from {FIRST_WITHOUT} on: ranges stand in the "
            "model, where qdq quantize --cache writes them."
        )
    return text


FIRST_WITHOUT = "11.0"
"""The first release of TensorRT that reads no calibration cache.

Source: TensorRT 11 migration guide, removed APIs (IInt8Calibrator, IBuilderConfig::setInt8Calibrator).
"""


@dataclass(frozen=True)
class ExportConfig(Checked):
    """How ranges leave a calibration cache.

    Args:
        file: The calibration cache.
        format: A key of `RANGE_FORMATS`.
        output: Where they go; None: beside the cache.
        method: How ranges are chosen.
        percentile: For `percentile`: the share kept, in percent.
        trt: The TensorRT release that will read a text cache.
        algo: The calibrator that release will use.
        model: The model to choose the ranges for; None: the one the cache was made of, quantized as it was then.
        plan: Which of its operators will be quantized.
        target: Name of what it will be quantized for.
    """

    file: Path
    format: str = option(
        REQUIRED,
        "tensorrt: its text cache. ort: ONNX Runtime's TensorRT table; ort-json and ort-text are its other forms. "
        "json: {tensor: amax}. torch-json: amax, scale and zero point.",
        metavar="NAME",
        rule=OneOf(tuple(RANGE_FORMATS)),
    )
    output: Path | None = option(
        None,
        "Where the ranges go. [default: FILE with the format's ending]",
        names=("-o", "--output"),
        metavar="FILE",
    )
    method: str = method_field()
    percentile: float = percentile_field("Share of values that the method percentile keeps.")
    trt: str = option(
        "8.6.1",
        "TensorRT release that reads the text cache; another one ignores it.",
        metavar="RELEASE",
        parse=release,
    )
    algo: str = option(
        CALIBRATORS[0],
        f"The calibrator that reads the text cache: {any_of(CALIBRATORS)}.",
        metavar="NAME",
        rule=OneOf(CALIBRATORS),
    )
    model: Path | None = option(
        None, "Choose for this model and these options. [default: those the cache was made with]", metavar="MODEL"
    )
    plan: PlanConfig = field(default_factory=PlanConfig)
    target: str = target_field()

    @property
    def destination(self) -> Path:
        """Where the ranges go."""
        return self.output or self.file.with_name(f"{self.file.stem}{RANGE_FORMATS[self.format]}")


@dataclass(frozen=True)
class MergeConfig(Checked):
    """How calibration caches become one.

    Args:
        files: The calibration caches.
        output: Where the merged one goes.
        model: The model they were made of; None: what needs it is left out.
        plan: Which of its operators will be quantized.
        target: Name of what it will be quantized for.
    """

    files: tuple[Path, ...]
    output: Path = option(REQUIRED, "The merged cache.", names=("-o", "--output"), metavar="FILE")
    model: Path | None = option(
        None,
        "The model of the shares: a depthwise convolution may have to stay float that none of them alone shows.",
        metavar="MODEL",
    )
    plan: PlanConfig = field(default_factory=PlanConfig)
    target: str = target_field()


@dataclass(frozen=True)
class CheckConfig(Checked):
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
    all_tensors: bool = option(False, "Ask for every float tensor of the model.")
    target: str = target_field()
