"""Round a layer's weight so that its output keeps, instead of rounding every weight to the nearest code.

Both searches look at the layer's samples only through their second moments (`Gram`).
"""

from __future__ import annotations

import numpy as np

from calibrators.errors import ParameterError
from calibrators.gram import Array, Gram
from calibrators.qtypes import INT8, QType

_MAX_SWEEPS = 8
_DAMPING = 0.01
"""Share of the mean diagonal added to H, as in GPTQ (arXiv 2210.17323, section 3.3, step 3)."""

_BLOCK_INPUTS = 32
"""Inputs whose errors reach those behind them in one product of matrices (GPTQ, section 3.3, step 2)."""

_GROUP_VALUES = 1 << 20
"""Values of H and of the weight that are worked on at once, of a layer with many groups."""


def nearest(weight: Array, scale: Array, qtype: QType = INT8) -> Array:
    """The codes plain quantization gives, as float64.

    Args:
        weight: Shape [groups, K, O].
        scale: Shape [groups, 1, O] or one that broadcasts.
        qtype: Where codes end.

    Raises:
        ParameterError: The type does not store signed integers.
    """
    _check_signed(qtype)
    return np.clip(np.rint(weight / scale), qtype.qmin, qtype.qmax)


def adaround(weight: Array, scale: Array, gram: Gram, qtype: QType = INT8) -> Array:
    """Choose for every weight the code below or above it, so that the layer's squared error falls.

    Starts from the nearest codes and flips one input after the other in all outputs where that lowers the error; the
    change is exact: flipping code k by d steps changes ||X w - Xq wq||^2 by 2 d s (H wq - C w)_k + (d s)^2 H_kk.
    Sweeps until nothing flips.

    Args:
        weight: W, shape [groups, K, O].
        scale: Of every output, shape [groups, 1, O].
        gram: Moments of the layer's samples.
        qtype: Where codes end.

    Returns:
        Codes as float64, each floor(w / s) or ceil(w / s); the error is at most that of the nearest codes.

    Raises:
        ParameterError: The type does not store signed integers.

    Source: the objective is equation 11 of Nagel et al. 2020, arXiv 2004.10568 (no activation function, so that the
    samples enter through their Gram matrix); coordinate descent takes the place of its relaxation.
    """
    low = np.clip(np.floor(weight / scale), qtype.qmin, qtype.qmax)
    high = np.clip(np.ceil(weight / scale), qtype.qmin, qtype.qmax)
    codes = nearest(weight, scale, qtype)
    wide = np.broadcast_to(scale, weight.shape)
    slope = gram.quantized @ (codes * wide - weight) - gram.mixed @ weight
    for _ in range(_MAX_SWEEPS):
        if not _sweep(codes, (low, high), wide, slope, gram.quantized):
            break
    return codes


def _check_signed(qtype: QType) -> None:
    """Codes are whole numbers around 0 here: floats have others, and unsigned integers another zero."""
    if qtype.grid is not None or qtype.zero_code != 0:
        raise ParameterError(
            f"Weights are rounded by a layer's outputs to signed integers, found {qtype.name}.",
            "Take INT8, INT4 or INT16, or quantize the weight plainly.",
        )


def _sweep(codes: Array, ends: tuple[Array, Array], scale: Array, slope: Array, curvature: Array) -> bool:
    """Flip where the error falls, input by input, in place; returns whether anything flipped."""
    low, high = ends
    flipped = False
    for k in range(codes.shape[1]):
        step = (low[:, k] + high[:, k] - 2 * codes[:, k]) * scale[:, k]  # [groups, O]
        change = step * (2 * slope[:, k] + step * curvature[:, k, k, None])
        step = np.where(change < 0, step, 0.0)
        if step.any():
            flipped = True
            codes[:, k] += np.rint(step / scale[:, k])
            slope += curvature[:, :, k, None] * step[:, None, :]
    return flipped


def gptq(weight: Array, scale: Array, gram: Gram, qtype: QType = INT8) -> Array:
    """Round input after input, and let the inputs that are still float make up for each error.

    What is rounded is the weight that answers the quantized inputs best, (H + d)^-1 (C + d) W with the damping d; it
    equals W where Xq = X.

    Args:
        weight: W, shape [groups, K, O].
        scale: Of every output, shape [groups, 1, O].
        gram: Moments of the layer's samples.
        qtype: Where codes end.

    Returns:
        Codes as float64.

    Raises:
        ParameterError: The type does not store signed integers.

    Source: Frantar et al. 2022, arXiv 2210.17323, algorithm 1 (columns left to right, Cholesky factor of the inverse);
    the weight for quantized inputs as in its follow-ups, from the normal equations.
    """
    _check_signed(qtype)
    groups, size, outputs = weight.shape
    codes = np.empty_like(weight)
    portion = max(1, _GROUP_VALUES // (size * (size + outputs)))  # as many at once as stay in the processor's cache
    for start in range(0, groups, portion):
        part = np.s_[start : start + portion]
        scale_part = np.broadcast_to(scale, (groups, 1, outputs))[part]
        codes[part] = _gptq_groups(weight[part], scale_part, gram.quantized[part], gram.mixed[part], qtype)
    return codes


def _gptq_groups(weight: Array, scale: Array, hessian: Array, mixed: Array, qtype: QType) -> Array:
    """Algorithm 1 for groups side by side: errors reach the rest of a block at once, the inputs behind it together."""
    size = hessian.shape[1]
    held = damped(hessian)
    rest = weight + np.linalg.solve(held, mixed @ weight)
    factor = upper_factor(held)
    codes, errors = np.empty_like(rest), np.empty_like(rest)
    for start in range(0, size, _BLOCK_INPUTS):
        end = min(start + _BLOCK_INPUTS, size)
        for k in range(start, end):
            codes[:, k] = np.clip(np.rint(rest[:, k] / scale[:, 0]), qtype.qmin, qtype.qmax)
            errors[:, k] = (rest[:, k] - codes[:, k] * scale[:, 0]) / factor[:, k, k, None]
            rest[:, k + 1 : end] -= factor[:, k, k + 1 : end, None] * errors[:, k, None]
        rest[:, end:] -= factor[:, start:end, end:].transpose(0, 2, 1) @ errors[:, start:end]
    return codes


def damped(hessian: Array) -> Array:
    """H with a share of its mean diagonal added, group by group; inputs that are all zero leave the nearest codes.

    Args:
        hessian: H, shape [groups, K, K].
    """
    size = hessian.shape[1]
    trace = np.trace(hessian, axis1=1, axis2=2)[:, None, None] / max(1, size)
    return np.asarray(hessian + _DAMPING * np.where(trace > 0, trace, 1.0) * np.eye(size))


def upper_factor(held: Array) -> Array:
    """The upper triangular factor of the inverse, by which the inputs behind make up for an error, group by group.

    Args:
        held: As `damped` gives it, shape [groups, K, K].

    Source: Frantar et al. 2022, arXiv 2210.17323, algorithm 1.
    """
    inverse = np.asarray(np.linalg.inv(held), np.float64)
    return np.asarray(np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2).transpose(0, 2, 1))
