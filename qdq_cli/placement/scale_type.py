"""The float type that scales are stored in."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.process.errors import ModelError


def scale_dtype(value: ir.Value) -> np.dtype[np.generic]:
    """The scale has the type of the float data (A9-A11).

    Raises:
        ModelError: That is BF16, for which ONNX Runtime has neither Q nor DQ: the result could not be run.
    """
    dtype = value.dtype if value.dtype is not None else ir.DataType.FLOAT
    if dtype == ir.DataType.BFLOAT16:
        raise ModelError(
            f"The tensor '{value.name}' is BF16, and ONNX Runtime cannot run Q and DQ of that type.",
            "Export the model in FP32 or FP16, or keep its readers float with --exclude.",
        )
    return np.dtype(dtype.numpy())
