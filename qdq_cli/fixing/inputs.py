"""Random data that a model accepts, for comparing two models with each other when no samples are at hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from qdq_cli.data.batches import Batch
from qdq_cli.process.errors import ModelError

SEED = 0
OPEN_SIZE = 8
"""Size of an open dimension that is not the batch."""

MAX_ELEMENTS = 1 << 26


def random_batches(model: ir.Model, samples: int) -> Iterator[Batch]:
    """Yield seeded batches of one sample: normal floats, integers 0 and 1.

    Args:
        model: The model as it was loaded; its graph inputs say what a sample is.
        samples: How many.

    Raises:
        ModelError: An input has no shape, or is no tensor of numbers.
    """
    rng = np.random.default_rng(SEED)
    constants = model.graph.initializers
    inputs = [value for value in model.graph.inputs if value.name not in constants]
    for number in range(samples):
        arrays = {value.name or "": _array(value, rng) for value in inputs}
        yield Batch(arrays, (f"random sample {number}",), 1)


def _array(value: ir.Value, rng: np.random.Generator) -> np.ndarray:
    if value.shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        raise ModelError(f"The input '{value.name}' has no shape or holds text, so no random data fits it.")
    sizes = [size if isinstance(size, int) else 1 if axis == 0 else OPEN_SIZE for axis, size in enumerate(value.shape)]
    elements = math.prod(max(size, 1) for size in sizes)  # an array of no elements has to fit as well
    if min(sizes, default=0) < 0 or elements > MAX_ELEMENTS:
        raise ModelError(f"The input '{value.name}' of shape {sizes} is not one to compare on.")
    dtype = value.dtype.numpy()
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(sizes).astype(dtype)
    return rng.integers(0, 2, sizes).astype(dtype)
