"""qdq: post-training INT8 quantization of ONNX models, with Q/DQ nodes placed where TensorRT wants them.

from pathlib import Path
from qdq_cli import DataConfig, QuantizeConfig, quantize_model

report = quantize_model(QuantizeConfig(Path("model.onnx"), data=DataConfig(calib=(Path("images"),))))
print(report.verification)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from qdq_cli.config import DataConfig, PlanConfig, QuantizeConfig, RangeConfig, VerifyConfig
from qdq_cli.errors import DataError, LimitError, ModelError, QdqError, UsageError

if TYPE_CHECKING:
    from qdq_cli.pipeline import quantize_model
    from qdq_cli.report import Report

__all__ = [
    "DataConfig",
    "DataError",
    "LimitError",
    "ModelError",
    "PlanConfig",
    "QdqError",
    "QuantizeConfig",
    "RangeConfig",
    "Report",
    "UsageError",
    "VerifyConfig",
    "quantize_model",
]


# ONNX Runtime's official builds send usage events, and keep a device id in the home folder, unless this is set before
# they are imported. Nothing leaves the machine because of qdq.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Import the pipeline when it is first asked for: it brings ONNX along, which `qdq --help` does not need."""
    if name == "quantize_model":
        from qdq_cli.pipeline import quantize_model

        return quantize_model
    if name == "Report":
        from qdq_cli.report import Report

        return Report
    raise AttributeError(f"module 'qdq_cli' has no attribute '{name}'")
