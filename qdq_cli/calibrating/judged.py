"""Which range of a tensor serves the outputs of the depthwise convolutions that read it best.

A depthwise convolution reads each channel alone. The squared error of the whole tensor, in which the largest channels
outvote all others, says little of what its channels keep, so its outputs are looked at. Where others read the tensor
too, whose sums over channels average the errors out, `mse` did better (docs/accuracy.md).

Every range that one of `CANDIDATES` chooses is tried: the operators that read the tensor run on pieces of it, as they
are and as the range stores them, with all else in float (`readers`). That of `mse`, which looks at the histogram of all
samples, stays where no other is clearly better. What a range cuts off is rare, and pieces of few
samples may hold none or little of it. So it counts by the histogram, which holds all samples: the pieces say which
channels the noise falls on, and the histogram how much of it there is at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import CANDIDATES, Histogram, Range, ScaleGroup, Scheme, choose_range
from calibrators.distribution import energy_outside
from calibrators.parts import PARTS
from calibrators.wide import is_seen, merged
from qdq_cli.calibrating.curves import curves_of
from qdq_cli.calibrating.readers import Floats, Layer, Reader, as_stored, noise_ratio, readers_of
from qdq_cli.calibrating.ruined import small_readers
from qdq_cli.model.linear import Linear
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.target import Kernels

_LEAST_GAIN = 10 ** (0.5 / 10)
"""So much less noise than `mse` another range must leave, half a decibel: pieces tell no less than that apart."""

_MOST_RARER = 30.0
"""What the pieces show of the values that a range cuts off is taken this many times at most."""


def looked_at(model: ir.Model, *plans: Plan) -> dict[str, list[Linear]]:
    """Return the tensors that pieces are needed of, with what reads them: to judge ranges, or what INT8 ruins."""
    found: dict[str, list[Linear]] = {}
    for plan in plans:
        judged = ((reader.tensor, reader.linear) for reader in readers_of(model, plan) if reader.group.depthwise)
        small = ((tensor, linear) for tensor, linears in small_readers(model, plan).items() for linear in linears)
        for tensor, linear in (*small, *judged):
            if linear not in found.setdefault(tensor, []):
                found[tensor].append(linear)
    return found


def with_judged(model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram], groups: Sequence[ScaleGroup]) -> Plan:
    """Return the plan whose scale groups say which range serves them best, as far as that can be told.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        histograms: Of its tensors, with their excerpts.
        groups: Those of its scale groups whose range calibration chooses.
    """
    readers: dict[ScaleGroup, list[Reader]] = {}
    free = frozenset(groups)
    for reader in readers_of(model, plan):
        seen = histograms.get(reader.tensor)
        if reader.group.depthwise and reader.group in free and seen is not None and seen.excerpts.pieces:
            readers.setdefault(reader.group, []).append(reader)
    best = {
        group: _best(group, readers[group], histograms, scheme)
        for scheme, alike in plan.by_scheme(plan.groups).items()
        for group in alike
        if group in readers
    }
    if plan.target.kernels is Kernels.READING_AND_WRITING:  # there alone groups have parts (`placement.groups`)
        best |= {group: PARTS for group in groups if len(group.observed) > 1 and not best.get(group)}
    curves = curves_of(model, plan)
    best |= {group: curves[name] for group in groups for name in group.tensors if name in curves}
    return replace(plan, groups=tuple(replace(group, judged=best.get(group, "")) for group in plan.groups))


def _best(group: ScaleGroup, readers: Sequence[Reader], histograms: Mapping[str, Histogram], scheme: Scheme) -> str:
    """Name the candidate whose range leaves the outputs of all readers the least noise; "" where there is no choice."""
    if not is_seen(histograms, group):
        return ""
    together = merged(histograms, group.observed)
    ranges = {name: choose_range(together, method, scheme) for name, method in CANDIDATES.items()}
    noise = dict.fromkeys(ranges, 0.0)
    for reader in readers:
        trial = _Trial(reader.layer(histograms[reader.tensor].excerpts.pieces), together, scheme)
        known: dict[Range, float] = {}
        for name, kept in ranges.items():
            if kept not in known:
                known[kept] = trial.noise_of(kept)
            noise[name] += known[kept]
    best = min(noise, key=noise.__getitem__)
    return best if noise[best] * _LEAST_GAIN < noise["mse"] else "mse"


class _Trial:
    """An operator on pieces of its input, and the histogram of all that shares the scale of that."""

    def __init__(self, layer: Layer, histogram: Histogram, scheme: Scheme) -> None:
        self._layer = layer
        self._histogram = histogram
        self._scheme = scheme

    def noise_of(self, kept: Range) -> float:
        """The noise of the outputs under a range, channel by channel by their signal: 0 to 1."""
        layer = self._layer
        noise = layer.noise(as_stored(layer.rows, kept, self._scheme))
        return noise_ratio(noise + self._unseen(kept, noise), layer.signal)

    def _unseen(self, kept: Range, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """What cutting off adds where all samples hold more beyond the range than the pieces do, [groups, O]."""
        beyond = energy_outside(self._histogram, kept)
        if not beyond:
            return np.zeros_like(noise)
        rows, weight = self._layer.rows, self._layer.weight
        cut = np.clip(rows, min(kept.minimum, 0.0), max(kept.maximum, 0.0))
        seen = _mean_square(cut - rows)
        if not seen:  # nothing says where it falls: on all inputs alike
            return np.asarray(rows.shape[1] * beyond * np.square(weight, dtype=np.float64).sum(axis=1))
        rarer = min(beyond / seen, _MOST_RARER)
        return np.asarray(max(rarer - 1.0, 0.0) * np.minimum(self._layer.noise(cut), noise))


def _mean_square(values: Floats) -> float:
    return float(np.square(values, dtype=np.float64).mean())
