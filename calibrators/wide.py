"""Tensors that no range serves for the depthwise convolutions that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calibrators.histogram import Histogram
from calibrators.methods.mse import best_sqnr_db
from calibrators.scale_groups import ScaleGroup
from calibrators.scheme import DEFAULT, Scheme

EFFECTIVE_BITS = 4
"""What a depthwise convolution needs of its input to be quantized, under the best range there is."""

_LEAST_SQNR_DB = 6.02 * EFFECTIVE_BITS + 1.76
"""The SQNR of that many bits on uniformly distributed values."""


def wide_tensors(
    histograms: Mapping[str, Histogram], groups: Iterable[ScaleGroup], scheme: Scheme = DEFAULT
) -> frozenset[str]:
    """Find the tensors that a depthwise convolution reads and that keep fewer than four effective bits under any range.

    A depthwise convolution reads each channel alone. Where few channels hold values many times larger than the rest,
    one range for all of them leaves the rest a handful of codes, and there is no sum over channels in which the
    rounding errors would average out, as there is in every other convolution. The measure is the SQNR of the tensor at
    its mse-optimal range, so it depends on the data alone, not on the method.

    Source: measured, one such tensor takes a YOLOX-Nano detector from 32.6 to 28.6 AP (docs/accuracy.md); the relation
    of bits and SQNR is that of a uniform quantizer, 6.02 b + 1.76 dB.
    """
    return frozenset(
        tensor
        for group in groups
        if group.read_depthwise and is_seen(histograms, group)
        if best_sqnr_db(merged(histograms, group.observed), scheme) < _LEAST_SQNR_DB
        for tensor in group.read_depthwise
    )


def is_seen(histograms: Mapping[str, Histogram], group: ScaleGroup) -> bool:
    """Whether all that has to be observed of a group was."""
    return all(name in histograms and histograms[name].count for name in group.observed)


def merged(histograms: Mapping[str, Histogram], names: Iterable[str]) -> Histogram:
    """The histogram of several tensors together."""
    together = Histogram()
    for name in names:
        together.merge(histograms[name])
    return together
