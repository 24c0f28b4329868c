"""What is said of a tensor that cannot be counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdq_cli.data.batches import Batch
from qdq_cli.process.errors import DataError, ModelError, QdqError
from qdq_cli.screen.sentences import some_of


def not_finite_error(name: str, array: NDArray[Any], batch: Batch, *, is_input: bool) -> QdqError:
    """The error for a tensor that holds NaN or Inf: which values, how many, and from which files."""
    bad = ~np.isfinite(array)
    has_samples = array.ndim > 0 and array.shape[0] == batch.samples
    rows = [row for row in range(batch.samples) if bad[row].any()] if has_samples else range(batch.samples)
    values = "NaN" if np.isnan(array).any() else "Inf"
    where = some_of([batch.sources[row] for row in rows])
    found = f"holds {np.count_nonzero(bad):,} values that are NaN or Inf, the first {values}, for {where}."
    if is_input:
        return DataError(f"The model's input '{name}' {found}", "Take the sample out, or repair it.")
    return ModelError(
        f"The activation '{name}' {found}",
        "Does the float model give sane outputs for that sample? Is the preprocessing the one it was trained with?",
    )
