"""How much information the levels of a range lose: the Kullback-Leibler divergence of many candidates at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 2048
"""Bins that are searched, over [0, amax] or over the observed interval."""

_TIE = 1e-10  # divergences this close (nats) are equal: the last bits of a logarithm differ between processors
_ROWS = 96  # candidates computed at a time: temporaries stay in the second-level cache


def lost_information(counts: NDArray[np.float64], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of P from Q in nats for each candidate.

    P is the histogram within the candidate's range, the mass outside added to its first and last bin; Q the same
    without that mass, averaged in each group over its non-empty bins. All sums over bins come out of three prefix sums,
    so a candidate costs one step a group: with C the mass, Z the non-empty bins and A = sum h log h below a bin, and
    m_g, n_g the mass and the non-empty bins of group g, sum P log Q = sum_g m_g log(m_g / n_g), and the mass outside
    times the logarithms of the first and the last group.

    Args:
        counts: Shape [BINS].
        edges: Where the groups of each candidate begin and end, in bins, shape [m, groups + 1], ascending; a first or
            last group beyond which mass lies holds a bin.

    Returns:
        Shape [m]; Inf where an end bin is empty but mass lies outside (Q cannot express P).
    """
    information = counts * np.log(np.maximum(counts, 1e-300))
    mass, occupied, content = (
        np.concatenate([[0.0], np.cumsum(values)]) for values in (counts, counts > 0, information)
    )
    starts, ends = edges[:, 0], edges[:, -1]
    kept, below, beyond = mass[ends] - mass[starts], mass[starts], mass[-1] - mass[ends]
    first_bin, end_bin = counts[starts] + below, counts[ends - 1] + beyond
    p_log_p = content[ends - 1] + end_bin * np.log(np.maximum(end_bin, 1e-300))
    p_log_p += first_bin * np.log(np.maximum(first_bin, 1e-300)) - information[starts] - content[starts]
    p_log_q = np.concatenate(
        [_p_log_q(mass, occupied, edges[start : start + _ROWS]) for start in range(0, ends.size, _ROWS)]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        result = (p_log_p - p_log_q) / mass[-1] - np.log(mass[-1]) + np.log(kept)
    unexpressed = ((counts[ends - 1] == 0) & (beyond > 0)) | ((counts[starts] == 0) & (below > 0))
    result[unexpressed | (kept == 0)] = np.inf
    return np.asarray(result)


def _p_log_q(mass: NDArray[np.float64], occupied: NDArray[np.float64], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum of P log Q before normalisation, for each candidate."""
    group_mass, group_occupied = np.diff(mass[edges]), np.diff(occupied[edges])
    level = np.log(np.maximum(group_mass, 1e-300) / np.maximum(group_occupied, 1.0))
    outside = (mass[-1] - mass[edges[:, -1]]) * level[:, -1] + mass[edges[:, 0]] * level[:, 0]
    return np.asarray((group_mass * level).sum(axis=1) + outside)


def first_smallest(divergence: NDArray[np.float64]) -> int | None:
    """Position of the first candidate with the smallest divergence; None where all are infinite."""
    if np.isinf(divergence).all():
        return None
    return int(np.argmax(divergence <= divergence.min() + _TIE))
