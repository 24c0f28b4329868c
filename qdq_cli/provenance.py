"""Where a quantized model comes from, written into its metadata; nothing that differs between two equal runs."""

from __future__ import annotations

import importlib.metadata

import onnx_ir as ir

from qdq_cli.calibration import Observation
from qdq_cli.config import QuantizeConfig


def tool_version() -> str:
    """Return the version of this tool."""
    try:
        return importlib.metadata.version("qdq")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return "0+checkout"


def record_provenance(model: ir.Model, config: QuantizeConfig, observed: Observation) -> None:
    """Write tool, method, samples and preprocessing into the model's metadata, under keys that start with `qdq.`."""
    method = config.ranges.method
    if method == "percentile":
        method += f" {config.ranges.percentile:g}"
    model.metadata_props.update(
        {
            "qdq.version": tool_version(),
            "qdq.method": method,
            "qdq.samples": str(observed.samples),
            "qdq.preprocessing": observed.preprocessing,
            "qdq.weights": config.weights.value,
            "qdq.form": config.form.value,
        }
    )
