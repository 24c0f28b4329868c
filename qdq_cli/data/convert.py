"""Types: what an array on disk may become silently, and the checks on its values when it does.

Floats become other floats, integers other integers, when every value fits; nothing else is converted. An integer array
for a float input is far more often pixels that still need preprocessing, or labels, than what the model was trained on.
"""

from __future__ import annotations

import numpy as np

from qdq_cli.data.inputs import InputSpec
from qdq_cli.process.errors import DataError

_BFLOAT16 = "bfloat16"


def check_type(label: str, found: np.dtype[np.generic], spec: InputSpec) -> None:
    """Check by the header that an array may be fed to an input.

    Raises:
        DataError: The types do not go together; names both.
    """
    if found == spec.dtype or _family(found) == _family(spec.dtype) or _is_unnamed_bfloat16(found, spec):
        return
    hint = f"Save array.astype(numpy.{spec.dtype.name})."
    if found == np.uint8 and _family(spec.dtype) == "float" and spec.rank in (3, 4):
        hint = (
            "If these are pixels, choose how to scale them: --preprocess imagenet, unit, signed or raw. Else: " + hint
        )
    raise DataError(f"{label} has the type {found.name}, but input '{spec.name}' takes {spec.dtype.name}.", hint)


def convert(array: np.ndarray, spec: InputSpec, source: str) -> np.ndarray:
    """Bring an array whose type passed `check_type` to the input's type, contiguous and in native byte order.

    Raises:
        DataError: NaN, or a value the input's type cannot hold.
    """
    if _is_unnamed_bfloat16(array.dtype, spec):
        array = array.view(spec.dtype)
    if _family(array.dtype) == "float":
        _check_nan(array, spec, source)
    if array.dtype == spec.dtype:
        return np.asarray(array, order="C")
    if _family(array.dtype) == "float":
        return _convert_floats(array, spec, source)
    if _family(array.dtype) == "integer" and array.size:
        _check_range(array, spec, source)
    return array.astype(spec.dtype, order="C")


def _family(dtype: np.dtype[np.generic]) -> str:
    if dtype.kind == "f" or dtype.name == _BFLOAT16:
        return "float"
    return {"i": "integer", "u": "integer", "b": "bool", "U": "text", "S": "text", "O": "text"}.get(
        dtype.kind, dtype.name
    )


def _is_unnamed_bfloat16(found: np.dtype[np.generic], spec: InputSpec) -> bool:
    """NumPy writes bfloat16 as two bytes without a type."""
    return found.kind == "V" and found.itemsize == 2 and spec.dtype.name == _BFLOAT16 and found != spec.dtype


def _check_nan(array: np.ndarray, spec: InputSpec, source: str) -> None:
    if count := int(np.isnan(array).sum()):
        raise DataError(
            f"{source}: input '{spec.name}' holds NaN ({count:,} of {array.size:,} values).",
            "Remove the sample, or repair what wrote it.",
        )


def _convert_floats(array: np.ndarray, spec: InputSpec, source: str) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        result = array.astype(spec.dtype, order="C")
    if array.dtype.itemsize >= spec.dtype.itemsize and (lost := np.isinf(result) & ~np.isinf(array)).any():
        raise DataError(
            f"{source}: input '{spec.name}' holds {float(array[lost][0]):.6g}, too large for {spec.dtype.name}.",
            "Check the units of the array.",
        )
    return result


def _check_range(array: np.ndarray, spec: InputSpec, source: str) -> None:
    bounds = np.iinfo(spec.dtype.name)
    for value in (int(array.min()), int(array.max())):
        if not bounds.min <= value <= bounds.max:
            raise DataError(
                f"{source}: input '{spec.name}' holds {value}, "
                f"but {spec.dtype.name} goes from {bounds.min} to {bounds.max}.",
                "Check the array.",
            )
