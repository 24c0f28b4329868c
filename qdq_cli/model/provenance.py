"""Where a quantized model comes from, written into its metadata; nothing that differs between two equal runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qdq_cli.config.ranges import RangeConfig
from qdq_cli.process.version import tool_version

if TYPE_CHECKING:
    import onnx_ir as ir


def record_provenance(
    model: ir.Model, config: RangeConfig, samples: int, preprocessing: str, recovery: Iterable[str] = ()
) -> None:
    """Write tool, method, samples, preprocessing and steps of recovery into the model's metadata, under `qdq.` keys."""
    method = config.method
    if method == "percentile":
        method += f" {config.percentile:g}"
    model.metadata_props.update(
        {
            "qdq.version": tool_version(),
            "qdq.method": method,
            "qdq.samples": str(samples),
            "qdq.preprocessing": preprocessing,
            **({"qdq.recovery": steps} if (steps := ", ".join(recovery)) else {}),
        }
    )


def recovery_of(model: ir.Model) -> tuple[str, ...]:
    """Read back the steps of recovery that a model was written with; none for other models."""
    return tuple(model.metadata_props.get("qdq.recovery", "").replace("+", " ").replace(",", " ").split())
