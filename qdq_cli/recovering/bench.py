"""What the steps of recovery look at: the float model they start from, and each layer as a candidate has it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Range
from calibrators.closed_form import mean_error
from calibrators.gram import Array, Gram
from calibrators.qparams import dequantize, qparams_of, quantize, symmetric_qparams, weight_amax
from calibrators.scheme import Scheme
from qdq_cli.judging.candidate import Candidate
from qdq_cli.model.nodes import constant_at
from qdq_cli.placement.bias_place import bias_place
from qdq_cli.placement.rounded import round_weight
from qdq_cli.recovering.rows import Layer


@dataclass(frozen=True)
class Bench:
    """One layer on the bench.

    Args:
        layer: Which.
        node: It, in the float model.
        rows: What it reads there, shape [R, groups, K]: what a change is fitted to.
        held: The same of samples that nothing is fitted to.
    """

    layer: Layer
    node: ir.Node
    rows: NDArray[np.float32]
    held: NDArray[np.float32]
    _known: dict[str, tuple[Range | None, Gram]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def weight(self) -> Array:
        """The float weight W, shape [groups, K, O]."""
        return np.asarray(self.layer.linear.matrices(self._stored), np.float64)

    def held_errors(self, before: Candidate, after: Candidate) -> tuple[float, float]:
        """The errors of two candidates; what both read is looked at once where its range is the same."""
        gram = self._gram("held", before)
        other = gram if self._kept(after) == self._kept(before) else self._gram("held", after)
        return self._error(gram, before), self._error(other, after)

    def _error(self, gram: Gram, candidate: Candidate) -> float:
        weight, quantized = self.weight, self.quantized_weight(candidate)
        signal = float(gram.signal(weight).sum())
        if signal == 0:
            return 0.0
        return float((gram.error(weight, quantized) + self._shifted(candidate, gram, quantized)).sum()) / signal

    def _shifted(self, candidate: Candidate, gram: Gram, quantized: Array) -> Array:
        """What a changed bias adds to the squared error of every output: rows * shift * (shift - 2 * mean error)."""
        bias = candidate.biases.get(self.layer.node)
        place = bias_place(self.node, self.layer.linear.channels)
        if bias is None or place is None:
            return np.zeros(())
        shift = ((bias - place.value) / self.layer.linear.gain).reshape(self.layer.linear.groups, -1)
        return gram.rows * shift * (shift - 2 * mean_error(self.weight, quantized, gram))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the weight."""
        return self._stored.dtype

    def quantized_weight(self, candidate: Candidate) -> Array:
        """The weight Wq that the candidate computes with, shape [groups, K, O]."""
        layer = self.layer
        array = candidate.weights.get(layer.weight, self._stored)
        rounded = round_weight(array, layer.scheme, candidate.weight_ranges.get(layer.weight))
        return np.asarray(layer.linear.matrices(rounded), np.float64)

    def scale(self, candidate: Candidate) -> Array:
        """The scales of the candidate's weight, shape [groups, 1, O]."""
        layer = self.layer
        given = candidate.weight_ranges.get(layer.weight)
        amax = weight_amax(self._stored, layer.axis) if given is None else given
        scale = symmetric_qparams(np.ravel(amax), axis=0, qtype=layer.scheme.qtype, scale_dtype=self.dtype).scale
        return np.asarray(layer.linear.column_scales(scale), np.float64)

    def gram(self, candidate: Candidate) -> Gram:
        """Moments of what it reads in float, and of the same under the candidate's range."""
        return self._gram("rows", candidate)

    def _gram(self, name: str, candidate: Candidate) -> Gram:
        """The moments of one set of rows; those of the range asked for last are kept, as every step asks for them."""
        kept = self._kept(candidate)
        known = self._known.get(name)
        if known is None or known[0] != kept:
            rows = self.rows if name == "rows" else self.held
            scheme = candidate.plan.scheme_of(self.layer.group or 0)
            known = self._known[name] = (kept, Gram.of(rows, _as_read(rows, kept, scheme)))
        return known[1]

    def _kept(self, candidate: Candidate) -> Range | None:
        """The range of what the layer reads; None where that stays float."""
        return None if self.layer.group is None else candidate.ranges[self.layer.group]

    @property
    def _stored(self) -> NDArray[np.generic]:
        array = constant_at(self.node, 1)
        if array is None:
            raise ValueError(f"the weight of node '{self.layer.node}' is not constant")
        return array


def _as_read(rows: NDArray[np.float32], kept: Range | None, scheme: Scheme) -> NDArray[np.float32]:
    """Rows as the quantized layer reads them."""
    if kept is None:
        return rows
    qparams = qparams_of(kept, scheme)
    read: NDArray[np.float32] = dequantize(quantize(rows, qparams), qparams)
    return read
