"""Round a weight in blocks so that what a product computes keeps, the inputs behind making up for each error.

Coarse codes leave more error than 8 bits do, so scales are chosen block by block from the weight as the errors before
have changed it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from calibrators.errors import ParameterError
from calibrators.qparams import dequantize, qparams_of, quantize
from calibrators.ranges import Ranges
from calibrators.rounding import damped, upper_factor
from calibrators.scheme import Block, Scheme
from calibrators.weight_search import least_error_ranges

Array = NDArray[np.float64]


def gptq_in_blocks(
    weight: Array, hessian: Array, scheme: Scheme, dtype: DTypeLike = np.float32
) -> tuple[NDArray[np.floating], Ranges]:
    """Round input after input, and let the inputs that are still float make up for each error.

    Args:
        weight: W, shape [K, O].
        hessian: H = X'X of the layer's inputs, shape [K, K].
        scheme: In blocks along axis 0.
        dtype: Type that the weight is stored in as a float; scales have it too.

    Returns:
        The weight as its codes have it, [K, O], and the range of each block, [blocks, O]; laid over the codes again,
        the ranges give the same codes.

    Raises:
        ParameterError: The scheme has no blocks along axis 0.

    Source: Frantar et al. 2022, arXiv 2210.17323, algorithm 1, with scales of groups of inputs found when they are
    reached (section 4, "grouping").
    """
    granularity = scheme.granularity
    if not isinstance(granularity, Block) or granularity.axis != 0:
        raise ParameterError(f"Blocks are rounded along the inputs, axis 0; found {granularity}.")
    rest, factor = weight.copy(), upper_factor(damped(hessian[None]))[0]
    rounded, errors = np.empty(weight.shape, dtype), np.empty_like(weight)
    found: list[Ranges] = []
    for start in range(0, len(weight), granularity.size):
        part = slice(start, min(start + granularity.size, len(weight)))
        kept = least_error_ranges(rest[part].astype(dtype), scheme)
        found.append(kept)
        _round_block(rest, rounded, errors, factor, (part, kept, scheme))
        rest[part.stop :] -= factor[part, part.stop :].T @ errors[part]
    return rounded, Ranges(
        np.concatenate([kept.minima for kept in found]), np.concatenate([kept.maxima for kept in found])
    )


def _round_block(
    rest: Array,
    rounded: NDArray[np.floating],
    errors: Array,
    factor: Array,
    block: tuple[slice, Ranges, Scheme],
) -> None:
    """Round the inputs of one block, in place; errors reach those behind it in the block at once."""
    part, kept, scheme = block
    qparams = qparams_of(kept, scheme, rounded.dtype)
    for k in range(part.start, part.stop):
        values = rest[k : k + 1].astype(rounded.dtype)
        rounded[k] = dequantize(quantize(values, qparams), qparams)[0]
        errors[k] = (rest[k] - rounded[k]) / factor[k, k]
        rest[k + 1 : part.stop] -= factor[k, k + 1 : part.stop, None] * errors[k]
