"""entropy: TensorRT's published relative-entropy search, held back where it would clip too hard.

Why it must be held back. Clipping 1 % of the values costs the same divergence whether they are cut to a half or to a
hundredth: probability is lost, not energy. And in the tail of a histogram, where a bin holds a handful of values, their
scatter passes for information, so coarser groups look expensive and the first, finest candidates win. Where rare large
values carry the signal (gates, sparse tensors behind Relu, branches pooled to few values) both push the cut far too
low: tensors that min-max keeps at 30 dB end at 8 to 15 dB, and with every tensor of the network quantized a keyword
spotter fell from 97 to 78 % and a text classifier from 89 to 50 % (without the zero-bin rule the spotter fell to 24 %,
a plate reader from 89 to 8 %). Inside the window of `ERROR_RATIO` all of them stay within 1 to 2 points of the best
method, and most tensors of plain convolutional networks have their published minimum there anyway.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from calibrators.errors import ParameterError
from calibrators.histogram import Histogram
from calibrators.methods.affine import affine_entropy
from calibrators.methods.divergence import BINS, first_smallest, lost_information
from calibrators.methods.minmax import clip_to, minmax, require_data
from calibrators.methods.mse import candidates, mse, narrowest, squared_errors
from calibrators.qtypes import INT8, QType
from calibrators.ranges import Range
from calibrators.scheme import DEFAULT, Scheme

ERROR_RATIO = 1.5
"""A candidate may have at most this many times the smallest squared error: 1.8 dB."""


def entropy(histogram: Histogram, error_ratio: float = ERROR_RATIO, scheme: Scheme = DEFAULT) -> Range:
    """Choose the range whose levels lose the least information, among those that keep the energy.

    The published search, here for the 128 levels of |x| that INT8 has: for every i from 128 to 2048, P is the histogram
    clipped at bin i (the mass outside added to its last bin), Q the same without that mass, averaged in 128 groups over
    their non-empty bins; the first smallest Kullback-Leibler divergence of P from Q wins, amax = (i - 1/2) bins. Bin 0
    is set to bin 1, so that the zeros behind a Relu do not rule the search. Another type has a group for each of its
    own levels, as wide as the step to the next: equal ones for integers, ever wider ones for floats.

    Added to the published form: only candidates are searched whose modelled squared error (see `squared_errors`) is at
    most `error_ratio` times the smallest there is, because the divergence weighs a value by its probability, not by
    its size, and clips rare large values away that carry the signal (see the module). Where no candidate of that window
    ends at an occupied bin, `mse` decides.

    Args:
        histogram: Counts of one tensor, in the tensor's own units.
        error_ratio: >= 1; Inf is the published search.
        scheme: Its type and symmetry are read.

    Returns:
        Symmetric: the observed range clipped to [-amax, amax]. Affine: see `calibrators.methods.affine`.

    Raises:
        NoDataError: Nothing was observed.
        ParameterError: The error ratio is below 1.

    Source: Migacz 2017, "8-bit inference with TensorRT", GTC; rules, sections 5.2 and 5.3 (zero-bin rule,
        first minimum).
    """
    require_data(histogram)
    if not error_ratio >= 1.0:
        raise ParameterError(f"The error ratio of the entropy method must be at least 1, found {error_ratio}.")
    if histogram.amax < BINS * histogram.bin_width:  # nothing but subnormal values
        return minmax(histogram)
    search = _symmetric_entropy if scheme.symmetric else affine_entropy
    return search(histogram, error_ratio, scheme)


def _symmetric_entropy(histogram: Histogram, error_ratio: float, scheme: Scheme) -> Range:
    top = histogram.amax / histogram.bin_width
    low, high = _window(histogram, top, error_ratio, scheme.qtype)
    if low > BINS:  # more levels than bins
        return mse(histogram, scheme)
    best = first_smallest(divergences(resample(histogram.magnitudes(), top), low, high, scheme.qtype))
    if best is None:
        return mse(histogram, scheme)
    chosen = low + best
    part = 1.0 if chosen == BINS else (chosen - 0.5) / BINS
    return clip_to(histogram, part * histogram.amax)


def _window(histogram: Histogram, top: float, error_ratio: float, qtype: QType = INT8) -> tuple[int, int]:
    """First and last candidate whose squared error is small enough; a first above BINS where there is none."""
    least = narrowest(qtype.levels())
    if math.isinf(error_ratio) or least > BINS:
        return least, BINS
    tops = candidates(histogram, qtype)
    errors = squared_errors(histogram.magnitudes(), tops, qtype)
    allowed = tops[errors <= error_ratio * errors.min()]
    first = int(np.ceil(allowed[0] / top * BINS + 0.5))
    last = BINS if allowed[-1] == top else int(allowed[-1] / top * BINS + 0.5)
    first = min(max(first, least), BINS)
    return first, max(first, last)


def resample(magnitudes: NDArray[np.int64], top: float) -> NDArray[np.float64]:
    """Counts of 2048 equal bins over [0, top], from bins that are at most as wide, which are split evenly.

    Args:
        magnitudes: Counts of the bins of |x|, shape [n].
        top: The observed amax in bins, 2048 <= top < n; the bin it lies in ends there.

    Returns:
        Shape [2048]; the sum is kept, and what was empty stays exactly 0.
    """
    last = int(top)
    below = np.concatenate([[0], np.cumsum(magnitudes[: last + 1])]).astype(np.float64)
    edges = np.append(np.arange(last + 1.0), top)
    if top == last:  # a bin of no width: its values belong to the bin before
        below, edges = np.delete(below, last), edges[:-1]
    return np.diff(np.interp(np.linspace(0.0, top, BINS + 1), edges, below))


def divergences(counts: NDArray[np.float64], first: int, last: int, qtype: QType = INT8) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of P from Q in nats for the candidates first..last, which all begin at 0.

    Args:
        counts: Bins of |x|, shape [2048]; bin 0 is read as bin 1.
        first: Smallest candidate, >= the `narrowest` range of the type's levels.
        last: Largest candidate, <= 2048.
        qtype: Whose levels the groups are.

    Returns:
        Shape [last - first + 1].
    """
    counts = counts.copy()
    counts[0] = counts[1]
    edges = _group_edges(qtype)
    skipped = BINS + 1 - edges.shape[0]
    return lost_information(counts, edges[first - skipped : last + 1 - skipped])


@cache
def _group_edges(qtype: QType) -> NDArray[np.intp]:
    """Where the groups of each candidate begin and end, shape [candidates, groups + 1]: for INT8 [1921, 129].

    Group g of candidate i begins at the first bin from i * v[g] / v_end on, with v the levels and v_end the place of
    the level that would come next: for integers, bin j is in group j * groups // i.
    """
    levels = qtype.levels()
    ends = np.append(levels, 2 * levels[-1] - levels[-2])
    parts = np.rint(ends / levels[1]).astype(np.int64)  # whole multiples of the smallest level
    tops = np.arange(narrowest(levels), BINS + 1)[:, None]
    return np.asarray(-(-(tops * parts) // parts[-1]), np.intp)
