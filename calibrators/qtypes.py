"""QType: which integers a quantized tensor is stored as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class QType:
    """A stored type: its codes and how a symmetric range is laid over them.

    Args:
        name: The ONNX name of the type, lower case: "int8".
        qmin: Smallest code.
        qmax: Largest code.
        dtype: NumPy type of the stored codes.
        zero_code: Code of 0.0 in a symmetric quantization.
        steps: Steps between 0.0 and amax: scale = amax / steps (127 for INT8; the clamp is the full [qmin, qmax] all
            the same; rules, section 1.1 and A1).

    A further type is one more row (rules, section 7: FP8 has steps 448, INT4 has 7).
    """

    name: str
    qmin: int
    qmax: int
    dtype: np.dtype[np.generic]
    zero_code: int
    steps: int


def _integers(name: str, dtype: DTypeLike) -> QType:
    limits = np.iinfo(np.dtype(dtype))
    zero_code = (limits.min + limits.max + 1) // 2
    return QType(name, int(limits.min), int(limits.max), np.dtype(dtype), zero_code, int(limits.max) - zero_code)


INT8 = _integers("int8", np.int8)
"""[-128, 127], 0.0 at 0: what TensorRT takes (rule A13)."""

UINT8 = _integers("uint8", np.uint8)
"""[0, 255], 0.0 at 128: ONNX Runtime's other type; TensorRT refuses it (rule A16)."""

INT16 = _integers("int16", np.int16)
"""[-32768, 32767], 0.0 at 0 (ONNX opset 21)."""

QTYPES = {qtype.name: qtype for qtype in (INT8, UINT8, INT16)}
"""By name."""
