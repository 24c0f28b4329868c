"""Fields of the commands that give the float part of a model another type."""

from __future__ import annotations

from typing import Any

from qdq_cli.config.fields import option
from qdq_cli.config.forms import ScaleType


def scale_type_field() -> Any:
    """Declare the field with the type of scales beside a float rest of 16 bits."""
    return option(
        ScaleType.DATA,
        "Type of the scales beside FP16 or BF16: that of the data, or fp32 (opset 23, whose DQ say their output type).",
    )


def keep_io_types_field() -> Any:
    """Declare the field that says whether graph inputs and outputs stay FP32."""
    return option(True, "Keep graph inputs and outputs FP32, with Casts inside.")
