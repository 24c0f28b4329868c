"""qdq: post-training INT8 quantization of ONNX models, with Q/DQ nodes placed where TensorRT wants them.

from pathlib import Path
from qdq_cli import DataConfig, QuantizeConfig, quantize_model

report = quantize_model(QuantizeConfig(Path("model.onnx"), data=DataConfig(calib=(Path("images"),))))
print(report.verification)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from qdq_cli.config.calibrate import CalibrateConfig
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fix import FixConfig
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import DEFAULT_RECOVERY, RECOVERY_STEPS
from qdq_cli.config.sensitivity import Evaluation, SensitivityConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.process.errors import DataError, LimitError, ModelError, QdqError, UsageError

if TYPE_CHECKING:
    from qdq_cli.calibrating.calibrate import CalibrationReport, calibrate_model
    from qdq_cli.comparing.compare import compare_models
    from qdq_cli.comparing.record import Comparison
    from qdq_cli.fixing.fix import fix_model
    from qdq_cli.fixing.record import RepairReport
    from qdq_cli.inspecting.inspect import Inspection, inspect_model
    from qdq_cli.quantizing.pipeline import quantize_model
    from qdq_cli.quantizing.report import Report, UnmetLimitError
    from qdq_cli.sensitivity.record import SensitivityReport
    from qdq_cli.sensitivity.sensitivity import find_sensitivities
    from qdq_cli.tuning.record import TuneReport
    from qdq_cli.tuning.tune import tune_model

__all__ = [
    "DEFAULT_RECOVERY",
    "RECOVERY_STEPS",
    "CalibrateConfig",
    "CalibrationReport",
    "CompareConfig",
    "Comparison",
    "DataConfig",
    "DataError",
    "Evaluation",
    "FixConfig",
    "InspectConfig",
    "Inspection",
    "LimitError",
    "ModelError",
    "PlanConfig",
    "QdqError",
    "QuantizeConfig",
    "RangeConfig",
    "RepairReport",
    "Report",
    "SensitivityConfig",
    "SensitivityReport",
    "TuneConfig",
    "TuneReport",
    "UnmetLimitError",
    "UsageError",
    "VerifyConfig",
    "calibrate_model",
    "compare_models",
    "find_sensitivities",
    "fix_model",
    "inspect_model",
    "quantize_model",
    "tune_model",
]

_LATER = {
    "CalibrationReport": "qdq_cli.calibrating.calibrate",
    "Comparison": "qdq_cli.comparing.record",
    "Inspection": "qdq_cli.inspecting.inspect",
    "RepairReport": "qdq_cli.fixing.record",
    "Report": "qdq_cli.quantizing.report",
    "SensitivityReport": "qdq_cli.sensitivity.record",
    "TuneReport": "qdq_cli.tuning.record",
    "UnmetLimitError": "qdq_cli.quantizing.report",
    "calibrate_model": "qdq_cli.calibrating.calibrate",
    "compare_models": "qdq_cli.comparing.compare",
    "find_sensitivities": "qdq_cli.sensitivity.sensitivity",
    "fix_model": "qdq_cli.fixing.fix",
    "inspect_model": "qdq_cli.inspecting.inspect",
    "quantize_model": "qdq_cli.quantizing.pipeline",
    "tune_model": "qdq_cli.tuning.tune",
}
"""What brings ONNX along, which `qdq --help` does not need: name -> module it is imported from when first asked for."""


# ONNX Runtime's official builds send usage events, and keep a device id in the home folder, unless this is set before
# they are imported. Nothing leaves the machine because of qdq.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Import what was left for later."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'qdq_cli' has no attribute '{name}'")
