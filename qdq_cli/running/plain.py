"""Outputs that are no tensors, as tensors: what sequences and maps hold can be compared like anything else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def plain(output: Any) -> Any:
    """Return an output as one tensor where it is a sequence of tensors or of maps, or a map, of numbers.

    Args:
        output: A tensor, a sequence (list), a map (dict), an optional value that is absent (None).

    Returns:
        A sequence of tensors of one shape, stacked, and of others, flattened one behind the other; one row a map, its
        values in the order of its keys. Anything else as it is.
    """
    if isinstance(output, dict):
        return _values(output)
    if not isinstance(output, list):
        return output
    rows = [_values(found) if isinstance(found, dict) else found for found in output]
    if not all(isinstance(row, np.ndarray) and row.dtype.kind in "fiub" for row in rows):
        return output
    if len({(row.shape, row.dtype) for row in rows}) == 1:
        return np.stack(rows)
    return np.concatenate([row.reshape(-1) for row in rows]) if rows else np.zeros(0, np.float32)


def _values(found: dict[Any, Any]) -> NDArray[Any]:
    return np.array([found[key] for key in sorted(found)])
