"""The steps of recovery that work layer by layer: each looks at one layer's rows and proposes a change, or nothing.

All of them compare what a layer computes from quantized inputs with what it computes from the same inputs in float.
They do not try to make up for errors of the layers before: measured, that fits the few thousand rows at hand and fails
on others (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrators.block_rounding import gptq_in_blocks
from calibrators.closed_form import fit_scale, mean_error
from calibrators.gram import Array, Gram
from calibrators.layer_search import search_activation, search_weight
from calibrators.qtypes import QType
from calibrators.ranges import Ranges
from calibrators.rounding import adaround, gptq
from calibrators.scheme import Block, ScaleForm
from qdq_cli.config.recovery import OF_ACTIVATIONS, OF_ONE_SCALE, ON_INTEGERS
from qdq_cli.judging.candidate import Candidate
from qdq_cli.placement.bias_place import bias_place
from qdq_cli.placement.rounded import ends_of
from qdq_cli.recovering.bench import Bench
from qdq_cli.recovering.changes import Change
from qdq_cli.recovering.rows import Layer

Step = Callable[[Sequence[Bench], Candidate], list[Change]]
"""Layers that read one tensor, and the candidate so far -> what to change; the judge decides on each."""

_SEARCH_ROWS = 2048
"""Rows of each layer that ranges are searched on: forty products of matrices a tensor."""


def search_activation_ranges(benches: Sequence[Bench], candidate: Candidate) -> list[Change]:
    """Search the range of the tensor these layers read (EasyQuant; `calibrators.layer_search.search_activation`)."""
    group = benches[0].layer.group
    if group is None:
        return []
    kept = candidate.ranges[group]
    uses = {use.node for target in candidate.plan.targets if target.group == group for use in target.uses}
    if kept.amax == 0 or candidate.plan.groups[group].known is not None or uses != {b.layer.node for b in benches}:
        return []  # an Add or a Concat reads it too, whose output nobody looks at here
    layers = [
        (bench.rows[:: max(1, len(bench.rows) // _SEARCH_ROWS)], bench.weight, bench.quantized_weight(candidate))
        for bench in benches
    ]
    found = search_activation(layers, kept, candidate.plan.scheme_of(group))
    return [] if found == kept else [Change(benches[0].layer.tensor, ranges={group: found})]


def search_weight_ranges(benches: Sequence[Bench], candidate: Candidate) -> list[Change]:
    """Search the ranges of the weights (EasyQuant; `calibrators.layer_search.search_weight`)."""
    return [change for bench in benches if (change := _searched(bench, candidate)) is not None]


def _searched(bench: Bench, candidate: Candidate) -> Change | None:
    layer, scale = bench.layer, bench.scale(candidate)
    if layer.axis is None or layer.linear.op_type == "ConvTranspose":
        return None
    found = search_weight(bench.weight, scale, bench.gram(candidate))
    if np.array_equal(found, scale):
        return None
    return Change(layer.node, weight_ranges={layer.weight: _amax(found, layer, candidate)})


def round_to_output(benches: Sequence[Bench], candidate: Candidate) -> list[Change]:
    """Choose the rounding of every weight by the layer's output (AdaRound; `calibrators.rounding.adaround`)."""
    return [
        _with_codes(bench, candidate, bench.scale(candidate), adaround(*_rounding(bench, candidate)))
        for bench in benches
    ]


def round_with_compensation(benches: Sequence[Bench], candidate: Candidate) -> list[Change]:
    """Round weight after weight, the rest making up for each error (GPTQ; `calibrators.rounding.gptq`)."""
    return [
        _rounded_in_blocks(bench, candidate)
        if isinstance(bench.layer.scheme.granularity, Block)
        else _with_codes(bench, candidate, bench.scale(candidate), gptq(*_rounding(bench, candidate)))
        for bench in benches
    ]


def _rounded_in_blocks(bench: Bench, candidate: Candidate) -> Change:
    """Round a weight in blocks, whose ranges are found on the way (`calibrators.block_rounding.gptq_in_blocks`)."""
    layer = bench.layer
    along = replace(layer.scheme, granularity=Block(0, layer.block_size))
    rounded, kept = gptq_in_blocks(bench.weight[0], bench.gram(candidate).quantized[0], along, bench.dtype)
    if layer.linear.transposed_weight:
        kept = Ranges(kept.minima.T, kept.maxima.T)
    weight = layer.linear.stored(rounded[None], bench.dtype)
    return Change(layer.node, weights={layer.weight: weight}, weight_ranges={layer.weight: ends_of(kept, layer.scheme)})


def fit_weight_scales(benches: Sequence[Bench], candidate: Candidate) -> list[Change]:
    """Fit the scales of the weights to the output under the codes there are (AdaQuant; `closed_form.fit_scale`)."""
    changes = []
    for bench in benches:
        if bench.layer.axis is None or bench.layer.linear.op_type == "ConvTranspose":
            continue
        scale = bench.scale(candidate)
        codes = np.rint(bench.quantized_weight(candidate) / scale)
        found = fit_scale(bench.weight, codes, bench.gram(candidate))
        near = (found > 0.9 * scale) & (found < 1.1 * scale)  # elsewhere the rows say too little of the output
        changes.append(_with_codes(bench, candidate, np.where(near, found, scale), codes))
    return changes


def correct_biases(benches: Sequence[Bench], candidate: Candidate) -> list[Change]:
    """Let the bias make up for the mean error of every output channel (`calibrators.closed_form.mean_error`)."""
    changes = []
    for bench in benches:
        layer = bench.layer
        place = bias_place(bench.node, layer.linear.channels)
        if place is None or layer.linear.op_type == "ConvTranspose":
            continue
        error = mean_error(bench.weight, bench.quantized_weight(candidate), bench.gram(candidate)).reshape(-1)
        changes.append(Change(layer.node, biases={layer.node: place.value + layer.linear.gain * error}))
    return changes


def _rounding(bench: Bench, candidate: Candidate) -> tuple[Array, Array, Gram, QType]:
    """What a weight is rounded by: itself, its scales, what its layer reads, and where codes end."""
    return bench.weight, bench.scale(candidate), bench.gram(candidate), bench.layer.scheme.qtype


def _with_codes(bench: Bench, candidate: Candidate, scale: Array, codes: Array) -> Change:
    """A weight that lies on its codes, with the range that makes its scale."""
    layer = bench.layer
    weight = layer.linear.stored(codes * scale, bench.dtype)
    kept = _amax(scale, layer, candidate)
    return Change(layer.node, weights={layer.weight: weight}, weight_ranges={layer.weight: kept})


def _amax(scale: Array, layer: Layer, candidate: Candidate) -> NDArray[np.float32]:
    scales = layer.linear.stored_scales(scale, layer.axis)
    return (scales * layer.scheme.qtype.steps).astype(np.float32)


def fits(step: str, layer: Layer) -> bool:
    """Say whether a step has a use for how a layer is quantized."""
    blocks = isinstance(layer.scheme.granularity, Block)
    useless = (
        layer.scheme.scales is not ScaleForm.FLOAT
        or (layer.scheme.qtype.grid is not None and step in ON_INTEGERS)
        or (blocks and step in OF_ONE_SCALE)
        or (layer.group is None and step in OF_ACTIVATIONS)
    )
    return not useless


STEPS: Mapping[str, Step] = {
    "ranges": search_activation_ranges,
    "weight-ranges": search_weight_ranges,
    "adaround": round_to_output,
    "gptq": round_with_compensation,
    "scales": fit_weight_scales,
    "bias": correct_biases,
}
"""The steps by name, in the order they are taken."""
