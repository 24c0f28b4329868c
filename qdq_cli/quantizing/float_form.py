"""How what is not quantized is written: whether it gets another float type, and which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from qdq_cli.casting.formats import FORMATS
from qdq_cli.config.forms import FloatType, ScaleType
from qdq_cli.process.errors import ModelError


@dataclass(frozen=True)
class FloatForm:
    """How the float rest is written.

    Args:
        float_type: Its type.
        scales: Type of the scales beside it.
        keep_io: Whether graph inputs and outputs stay FP32.
    """

    float_type: FloatType
    scales: ScaleType = ScaleType.DATA
    keep_io: bool = True


def wanted_form(
    model: ir.Model, path: Path, asked: FloatType | None, default: FloatType, forms: tuple[ScaleType, bool]
) -> FloatForm | None:
    """Say how the float rest of a model is written; None where it stays as it is.

    Args:
        model: The prepared model.
        path: Its file.
        asked: The type that was asked for; None where nothing was said.
        default: The type then, where the model is all FP32.
        forms: Type of the scales beside the rest, and whether graph inputs and outputs stay FP32.

    Raises:
        ModelError: Another type was asked for than the 16-bit one that the model has.
    """
    found = half_type(model)
    wanted = asked or (default if found is None else FloatType.FP32)
    if asked is not None and found not in (None, asked):
        raise ModelError(
            f"{path} is {found.value.upper()} already, and cannot become {asked.value.upper()}.",
            "Start from the FP32 model, or leave --float-type out.",
        )
    return None if wanted in (FloatType.FP32, found) else FloatForm(wanted, *forms)


def half_type(model: ir.Model) -> FloatType | None:
    """Return the 16-bit float type of the first weight or graph input of a model that has one; None for none."""
    types = {form.dtype: kind for kind, form in FORMATS.items()}
    every = (*model.graph.inputs, *model.graph.initializers.values())
    return next((types[value.dtype] for value in every if value.dtype in types), None)
