"""What an inspection for a CPU found, as a frozen record; it is the `--json` document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.placement.prediction import Alone, Fused, Prediction
from qdq_cli.quantizing.report import Report


@dataclass(frozen=True)
class CpuInspection:
    """What the default session of a runtime makes of a model.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        target: Name of the runtime.
        opset: Opset of the model.
        size_bytes: Its size, external data included.
        quantized: Whether the model holds Q/DQ; if not, everything is about the result of `plan`.
        weighted_ops: Weighted operators of the model.
        weighted_on_codes: Those that are computed on integers.
        fused: Operators on integers, in the order of the graph.
        left: Operators that read a DQ and are computed in float -> why.
        alone: Qs and DQs that stay operators of their own.
        dropped: Relu and Clip that the codes behind them make superfluous.
        merged: Operators that the kernel of the one before them computes.
        predicted: The same in numbers, and how much of the work is on integers.
        plan: For a model without Q/DQ: the report of `qdq quantize --dry-run`.
    """

    schema_version: int
    model: str
    target: str
    opset: int
    size_bytes: int
    quantized: bool
    weighted_ops: int
    weighted_on_codes: int
    fused: tuple[Fused, ...]
    left: Mapping[str, str]
    alone: tuple[Alone, ...]
    dropped: tuple[str, ...]
    merged: tuple[str, ...]
    predicted: Prediction
    plan: Report | None = None
