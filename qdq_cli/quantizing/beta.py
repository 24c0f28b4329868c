"""The beta distribution, as far as intervals of shares need it: where it reaches a probability."""

from __future__ import annotations

import math

_LEAST = 1e-300
"""What stands in for zero in a denominator (Lentz's method)."""

_EXACT = 1e-15
"""How little a further term has to change a continued fraction for it to be done."""


def beta_quantile(first: float, second: float, probability: float) -> float:
    """Return the x in [0, 1] below which a beta distribution has a probability.

    Args:
        first: Its first parameter, above 0.
        second: Its second parameter, above 0.
        probability: What lies below x, 0 < probability < 1.

    Returns:
        x, by bisection to the last bit or so.
    """
    low, high = 0.0, 1.0
    while low < (middle := (low + high) / 2) < high:
        if beta_share(first, second, middle) < probability:
            low = middle
        else:
            high = middle
        if high - low <= 1e-14 * high:
            break
    return (low + high) / 2


def beta_share(first: float, second: float, x: float) -> float:
    """Return how much of a beta distribution lies below x: the regularized incomplete beta function.

    Source: DLMF 8.17.2, 8.17.4 (whichever end converges fast) and 8.17.22 (the continued fraction).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (first + 1) / (first + second + 2):
        return 1 - beta_share(second, first, 1 - x)
    log_whole = math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)
    front = math.exp(first * math.log(x) + second * math.log1p(-x) - log_whole) / first
    return front / _fraction(first, second, x)


def _fraction(first: float, second: float, x: float) -> float:
    """Return 1 + d1 / (1 + d2 / (1 + ...)), by Lentz's method as Thompson and Barnett 1986 mend it."""
    value = above = 1.0
    below, number = 0.0, 0
    while True:
        number += 1
        half = number // 2
        if number % 2:
            term = -(first + half) * (first + second + half) / ((first + number - 1) * (first + number))
        else:
            term = half * (second - half) / ((first + number - 1) * (first + number))
        below = 1 / (_away(1 + term * x * below))
        above = _away(1 + term * x / above)
        value *= above * below
        if abs(above * below - 1) < _EXACT:
            return value


def _away(value: float) -> float:
    """Keep a denominator away from zero."""
    return value if abs(value) > _LEAST else _LEAST
