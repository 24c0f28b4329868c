"""qdq: post-training INT8 quantization of ONNX models, with Q/DQ nodes placed where TensorRT wants them.

Every command is a function that takes a record of what to do and returns a record of what was found:

    from pathlib import Path
    from qdq_cli import DataConfig, QuantizeConfig, quantize_model

    report = quantize_model(QuantizeConfig(Path("model.onnx"), data=DataConfig(calib=(Path("images"),))))
    print(report.verification)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from qdq_cli.building.build import build_model
    from qdq_cli.building.gates import require_build_gates
    from qdq_cli.building.record import BuildReport
    from qdq_cli.cache.exchange import export_file
    from qdq_cli.cache.fit import check_fit
    from qdq_cli.cache.grouped import merge_caches
    from qdq_cli.calibrating.calibrate import CalibrationReport, calibrate_model
    from qdq_cli.calls.build import build
    from qdq_cli.calls.calibrate import Calibrated, calibrate
    from qdq_cli.calls.compare import compare
    from qdq_cli.calls.convert import convert
    from qdq_cli.calls.fix import fix
    from qdq_cli.calls.inspect import inspect
    from qdq_cli.calls.migrate import migrate
    from qdq_cli.calls.quantize import quantize
    from qdq_cli.calls.result import Result
    from qdq_cli.calls.sensitivities import sensitivities
    from qdq_cli.calls.tune import tune
    from qdq_cli.comparing.compare import compare_models
    from qdq_cli.comparing.record import Comparison
    from qdq_cli.config.build import BuildConfig, BuildGates
    from qdq_cli.config.cache import CheckConfig, ExportConfig, MergeConfig
    from qdq_cli.config.calibrate import CalibrateConfig, Shard
    from qdq_cli.config.compare import CompareConfig
    from qdq_cli.config.convert import ConvertConfig
    from qdq_cli.config.data import DataConfig
    from qdq_cli.config.execution import ExecutionConfig
    from qdq_cli.config.fix import FixConfig
    from qdq_cli.config.forms import FloatType, Form, ScaleType, TensorRT, WeightForm
    from qdq_cli.config.init import InitConfig
    from qdq_cli.config.inspect import Gates, InspectConfig
    from qdq_cli.config.migrate import MigrateConfig
    from qdq_cli.config.placement import PlanConfig
    from qdq_cli.config.preprocess import Overrides, Preprocessing
    from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
    from qdq_cli.config.ranges import RangeConfig
    from qdq_cli.config.recovery import DEFAULT_RECOVERY, RECOVERY_STEPS
    from qdq_cli.config.sensitivity import Evaluation, SensitivityConfig
    from qdq_cli.config.tune import TuneConfig
    from qdq_cli.converting.convert import convert_model
    from qdq_cli.converting.record import Conversion, UnmetConversionError
    from qdq_cli.drafting.draft import Draft, draft_settings
    from qdq_cli.fixing.fix import fix_model
    from qdq_cli.fixing.record import RepairReport
    from qdq_cli.inspecting.inspect import inspect_model, require_gates
    from qdq_cli.inspecting.record import Inspection
    from qdq_cli.inspecting.record_on_cpu import CpuInspection
    from qdq_cli.migrating.migrate import migrate_model
    from qdq_cli.migrating.record import MigrationReport
    from qdq_cli.process.errors import DataError, LimitError, ModelError, QdqError, UsageError
    from qdq_cli.quantizing.pipeline import quantize_model
    from qdq_cli.quantizing.report import Report, UnmetLimitError
    from qdq_cli.sensitivity.record import SensitivityReport
    from qdq_cli.sensitivity.sensitivity import find_sensitivities
    from qdq_cli.tuning.record import TuneReport
    from qdq_cli.tuning.tune import tune_model

__all__ = [
    "DEFAULT_RECOVERY",
    "RECOVERY_STEPS",
    "BuildConfig",
    "BuildGates",
    "BuildReport",
    "CalibrateConfig",
    "Calibrated",
    "CalibrationReport",
    "CheckConfig",
    "CompareConfig",
    "Comparison",
    "Conversion",
    "ConvertConfig",
    "CpuInspection",
    "DataConfig",
    "DataError",
    "Draft",
    "Evaluation",
    "ExecutionConfig",
    "ExportConfig",
    "FixConfig",
    "FloatType",
    "Form",
    "Gates",
    "InitConfig",
    "InspectConfig",
    "Inspection",
    "LimitError",
    "MergeConfig",
    "MigrateConfig",
    "MigrationReport",
    "ModelError",
    "Overrides",
    "PlanConfig",
    "Preprocessing",
    "QdqError",
    "QuantizeConfig",
    "RangeConfig",
    "RepairReport",
    "Report",
    "Result",
    "ScaleType",
    "SensitivityConfig",
    "SensitivityReport",
    "Shard",
    "TensorRT",
    "TuneConfig",
    "TuneReport",
    "UnmetConversionError",
    "UnmetLimitError",
    "UsageError",
    "VerifyConfig",
    "WeightForm",
    "build",
    "build_model",
    "calibrate",
    "calibrate_model",
    "check_fit",
    "compare",
    "compare_models",
    "convert",
    "convert_model",
    "draft_settings",
    "export_file",
    "find_sensitivities",
    "fix",
    "fix_model",
    "inspect",
    "inspect_model",
    "merge_caches",
    "migrate",
    "migrate_model",
    "quantize",
    "quantize_model",
    "require_build_gates",
    "require_gates",
    "sensitivities",
    "tune",
    "tune_model",
]

_LATER = {
    "qdq_cli.building.build": ("build_model",),
    "qdq_cli.building.gates": ("require_build_gates",),
    "qdq_cli.building.record": ("BuildReport",),
    "qdq_cli.cache.exchange": ("export_file",),
    "qdq_cli.cache.fit": ("check_fit",),
    "qdq_cli.cache.grouped": ("merge_caches",),
    "qdq_cli.calibrating.calibrate": (
        "CalibrationReport",
        "calibrate_model",
    ),
    "qdq_cli.calls.calibrate": (
        "Calibrated",
        "calibrate",
    ),
    "qdq_cli.calls.compare": ("compare",),
    "qdq_cli.calls.fix": ("fix",),
    "qdq_cli.calls.inspect": ("inspect",),
    "qdq_cli.calls.build": ("build",),
    "qdq_cli.calls.convert": ("convert",),
    "qdq_cli.calls.migrate": ("migrate",),
    "qdq_cli.calls.sensitivities": ("sensitivities",),
    "qdq_cli.calls.quantize": ("quantize",),
    "qdq_cli.calls.result": ("Result",),
    "qdq_cli.calls.tune": ("tune",),
    "qdq_cli.comparing.compare": ("compare_models",),
    "qdq_cli.comparing.record": ("Comparison",),
    "qdq_cli.config.build": (
        "BuildConfig",
        "BuildGates",
    ),
    "qdq_cli.config.cache": (
        "CheckConfig",
        "ExportConfig",
        "MergeConfig",
    ),
    "qdq_cli.config.calibrate": (
        "CalibrateConfig",
        "Shard",
    ),
    "qdq_cli.config.compare": ("CompareConfig",),
    "qdq_cli.config.convert": ("ConvertConfig",),
    "qdq_cli.config.data": ("DataConfig",),
    "qdq_cli.config.execution": ("ExecutionConfig",),
    "qdq_cli.config.fix": ("FixConfig",),
    "qdq_cli.config.forms": (
        "FloatType",
        "Form",
        "ScaleType",
        "TensorRT",
        "WeightForm",
    ),
    "qdq_cli.config.init": ("InitConfig",),
    "qdq_cli.config.inspect": (
        "Gates",
        "InspectConfig",
    ),
    "qdq_cli.config.migrate": ("MigrateConfig",),
    "qdq_cli.config.placement": ("PlanConfig",),
    "qdq_cli.config.preprocess": (
        "Overrides",
        "Preprocessing",
    ),
    "qdq_cli.config.quantize": (
        "QuantizeConfig",
        "VerifyConfig",
    ),
    "qdq_cli.config.ranges": ("RangeConfig",),
    "qdq_cli.config.recovery": (
        "DEFAULT_RECOVERY",
        "RECOVERY_STEPS",
    ),
    "qdq_cli.config.sensitivity": (
        "Evaluation",
        "SensitivityConfig",
    ),
    "qdq_cli.config.tune": ("TuneConfig",),
    "qdq_cli.converting.convert": ("convert_model",),
    "qdq_cli.converting.record": (
        "Conversion",
        "UnmetConversionError",
    ),
    "qdq_cli.drafting.draft": (
        "Draft",
        "draft_settings",
    ),
    "qdq_cli.fixing.fix": ("fix_model",),
    "qdq_cli.fixing.record": ("RepairReport",),
    "qdq_cli.inspecting.record": ("Inspection",),
    "qdq_cli.inspecting.record_on_cpu": ("CpuInspection",),
    "qdq_cli.inspecting.inspect": (
        "inspect_model",
        "require_gates",
    ),
    "qdq_cli.migrating.migrate": ("migrate_model",),
    "qdq_cli.migrating.record": ("MigrationReport",),
    "qdq_cli.process.errors": (
        "DataError",
        "LimitError",
        "ModelError",
        "QdqError",
        "UsageError",
    ),
    "qdq_cli.quantizing.pipeline": ("quantize_model",),
    "qdq_cli.quantizing.report": (
        "Report",
        "UnmetLimitError",
    ),
    "qdq_cli.sensitivity.record": ("SensitivityReport",),
    "qdq_cli.sensitivity.sensitivity": ("find_sensitivities",),
    "qdq_cli.tuning.record": ("TuneReport",),
    "qdq_cli.tuning.tune": ("tune_model",),
}
"""Module -> names that are imported from it when first asked for: who asks for none pays for none.

The functions bring ONNX along, which `qdq --help` does not need.
"""

_MODULES = {name: module for module, names in _LATER.items() for name in names}

# ONNX Runtime's official builds send usage events, and keep a device id in the home folder, unless this is set before
# they are imported. Nothing leaves the machine because of qdq.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    """Import what was left for later, without what our own libraries hardly ever use."""
    if name == "__version__":
        from qdq_cli.process.version import tool_version

        return tool_version()
    if name not in _MODULES:
        raise AttributeError(f"module 'qdq_cli' has no attribute '{name}'")
    from qdq_cli.process.startup import seldom_used_left_out

    with seldom_used_left_out():
        return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Every name, those that are still to be imported too."""
    return sorted({*globals(), *__all__, "__version__"})
