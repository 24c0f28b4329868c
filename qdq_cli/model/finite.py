"""Find weights that hold NaN or Inf before a model is run: what they make of the activations names no culprit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.model.nodes import input_at, is_constant, is_float, is_op
from qdq_cli.process.errors import ModelError

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
_NORMALIZATIONS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization")


def require_finite_weights(model: ir.Model) -> None:
    """Refuse a model that holds NaN or Inf in a constant of a weighted operator or a normalization.

    Constants of other operators may: attention masks are written with -Inf.

    Raises:
        ModelError: One does; the sentence names it and counts its values.
    """
    for node in model.graph:
        if is_op(node, *_WEIGHTED, *_NORMALIZATIONS):
            for slot in range(1, len(node.inputs)):
                value = input_at(node, slot)
                if is_constant(value) and is_float(value):
                    _require_finite(value, node)


def _require_finite(value: ir.Value | None, node: ir.Node) -> None:
    if value is None or value.const_value is None:
        return
    array = value.const_value.numpy()
    if np.isfinite(np.sum(array, dtype=np.float64)):  # without a second array as large as the weight
        return
    wrong = ~np.isfinite(array.astype(np.float64))
    if not wrong.any():
        return
    first = np.argwhere(wrong)[0]
    count = np.count_nonzero(wrong)
    raise ModelError(
        f"The weight '{value.name}' of {node.op_type} '{node.name}' holds NaN or Inf: {count:,} of {array.size:,} "
        f"values, the first at {first.tolist()}.",
        "Export the model again, from a checkpoint whose weights are finite.",
    )
