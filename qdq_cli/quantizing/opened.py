"""A model that was loaded, prepared and planned."""

from __future__ import annotations

from dataclasses import dataclass

from qdq_cli.config.forms import TensorRT
from qdq_cli.model import files
from qdq_cli.model.quantized import already_quantized
from qdq_cli.placement.optimized import require_originals
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.target import Refused
from qdq_cli.preparing.prepare import Preparation
from qdq_cli.quantizing.float_form import FloatForm


@dataclass(frozen=True)
class Opened:
    """A model that was loaded, prepared and planned; `prepared.model` is as the plan found it.

    Args:
        source: The file; its model is the prepared one.
        prepared: The same, prepared.
        trt: Oldest TensorRT release that reads the result; None for other targets.
        plan: What to quantize.
        holds_quantization: Whether the model came with Q/DQ, or operators on codes.
        refused: What of the model releases of the target refuse.
        form: How what is not quantized is written; None where it stays as it is.
    """

    source: files.ModelFile
    prepared: Preparation
    trt: TensorRT | None
    plan: Plan
    holds_quantization: bool = False
    refused: tuple[Refused, ...] = ()
    form: FloatForm | None = None

    @property
    def has_half(self) -> bool:
        """Whether floats of the result are FP16 or BF16."""
        return self.prepared.half or self.form is not None

    @property
    def already_quantized(self) -> bool:
        """Whether some tool quantized the model, and the plan finds nothing to add."""
        return self.holds_quantization and not self.plan.quantized


def require_float(opened: Opened) -> None:
    """Refuse a model that is quantized already where a float one is needed, and one of nothing but fused operators.

    Raises:
        ModelError: It is one of these.
    """
    if opened.already_quantized:
        raise already_quantized(opened.source.path)
    require_originals(opened.source.path, opened.prepared.model, opened.plan)
