"""Scales and biases that fit a layer's output best, in closed form, once its codes are chosen (AdaQuant)."""

from __future__ import annotations

import numpy as np

from calibrators.gram import Array, Gram


def fit_scale(weight: Array, codes: Array, gram: Gram) -> Array:
    """The scale of every output that minimizes ||X w - s Xq codes||^2.

    Args:
        weight: W, shape [groups, K, O].
        codes: Shape [groups, K, O].
        gram: Moments of the layer's samples.

    Returns:
        s = <Xq codes, X w> / ||Xq codes||^2, shape [groups, 1, O]; 0 or less where the codes say nothing of the output.

    Source: Hubara et al. 2020, arXiv 2006.10518, section 3.1, the scale alone.
    """
    over = np.einsum("gko,gko->go", codes, gram.cross(weight))
    under = np.einsum("gko,gko->go", codes, gram.quantized @ codes)
    scale: Array = (over / np.where(under > 0, under, np.inf))[:, None, :]
    return scale


def mean_error(weight: Array, quantized: Array, gram: Gram) -> Array:
    """Mean of X w - Xq wq over the rows, shape [groups, O]: what the bias has to make up for.

    Source: Nagel et al. 2019, arXiv 1906.04721, section 4.2, equation 14 (E[W x] - E[Wq x], with the quantized input).
    """
    expected = np.einsum("gk,gko->go", gram.sum_reference, weight)
    found = np.einsum("gk,gko->go", gram.sum_quantized, quantized)
    mean: Array = (expected - found) / max(gram.rows, 1)
    return mean
