"""Slow plain versions of what was published."""

from __future__ import annotations

import math
from itertools import pairwise


def plain_divergence(counts: list[float], edges: list[int]) -> float:
    """One candidate as it was published, bin by bin, in Python floats; with mass outside on both sides."""
    start, end = edges[0], edges[-1]
    p = counts[start:end]
    p[0] += sum(counts[:start])
    p[-1] += sum(counts[end:])
    q = [0.0] * (end - start)
    for first, last in pairwise(edges):
        occupied = [j for j in range(first, last) if counts[j] > 0]
        for j in occupied:
            q[j - start] = sum(counts[first:last]) / len(occupied)
    total_p, total_q = math.fsum(p), math.fsum(q)
    if total_q == 0.0:
        return math.inf
    divergence = 0.0
    for p_j, q_j in zip(p, q, strict=True):
        if p_j > 0.0:
            divergence += math.inf if q_j == 0.0 else p_j / total_p * math.log((p_j / total_p) / (q_j / total_q))
    return divergence
