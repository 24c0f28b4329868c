"""Weighted operators that INT8 ruins: too noisy by themselves for the small share of the work that they have.

Each is run on pieces of its own float input (`readers`): once as it is, once with input and weight quantized, under
every range that `auto` chooses from. An operator can be ruined although its input tensor looks
well as a whole: where channels that hardly move meet large weights, as batch norm folded into a depthwise convolution
leaves them.

Where kernels write codes, the last operators round their results too, and nothing behind them evens that out. So these
results have to bear it, channel by channel. And what an operator left float reads comes out of codes there all the
same: where these are what ruins it, the operator that writes them is left float with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import CANDIDATES, Histogram, Method, Range, ScaleGroup, choose_range, range_of
from calibrators.wide import is_seen, merged
from qdq_cli.calibrating.readers import Reader, as_stored, noise_ratio, readers_of
from qdq_cli.model.linear import Linear
from qdq_cli.model.nodes import input_at, is_constant, is_op
from qdq_cli.placement.around import last_results
from qdq_cli.placement.operators import is_weighted
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.rounded import round_weight
from qdq_cli.placement.shares import MOST_PERCENT, Shares, shares_of
from qdq_cli.placement.target import Kernels
from qdq_cli.process.progress import each

LEAST_SQNR_DB = 20.0
"""Under this an operator is ruined: noise of a hundredth of its signal, channel by channel (docs/accuracy.md)."""

LEAST_RESULT_DB = 30.0
"""Under this the codes of a last result are too coarse: noise of a thousandth of its signal, channel by channel."""


@dataclass(frozen=True)
class _Trial:
    """An operator that may be left float, and its share of the work, in percent of what it is a share of."""

    reader: Reader
    percent: float
    unit: str


def small_readers(model: ir.Model, plan: Plan) -> dict[str, list[Linear]]:
    """Return the tensors that have to be looked at closer, with the operators that read them and may be left float."""
    found: dict[str, list[Linear]] = {}
    for trial in _trials(model, plan) if plan.can_shrink else ():
        found.setdefault(trial.reader.tensor, []).append(trial.reader.linear)
    return found


def ruined_operators(
    model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram], groups: Sequence[ScaleGroup]
) -> dict[str, str]:
    """Find the operators to leave float, the worst first, as long as they have 2 % of the MACs together.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        histograms: Of its tensors, with their excerpts.
        groups: Those of its scale groups whose range calibration chooses.

    Returns:
        Node -> why, such as `11.2 dB by itself, 0.7 % of the MACs`; empty where no excerpts are known.
    """
    free, found = set(groups), []
    rounded = _rounded_results(model, plan, histograms)
    for trial in each(tuple(_trials(model, plan)) if plan.can_shrink else ()):
        reader = trial.reader
        seen = histograms.get(reader.tensor)
        if reader.group in free and seen is not None and seen.excerpts.pieces and is_seen(histograms, reader.group):
            together = merged(histograms, reader.group.observed)
            sqnr_db = _best_sqnr_db(reader, seen, together, round_weight(reader.weight, reader.target.scheme))
            found.append((sqnr_db - LEAST_SQNR_DB, f"{sqnr_db:.1f} dB by itself", trial))
            if (kept := rounded.get(reader.node)) is not None:
                sqnr_db = _result_sqnr_db(reader, seen, kept, plan)
                found.append((sqnr_db - LEAST_RESULT_DB, f"{sqnr_db:.1f} dB in the codes of its result", trial))
    chosen = _chosen(found)
    return chosen | (_makers(plan, histograms, found, chosen) if _writes_codes(plan) else {})


_Found = list[tuple[float, str, _Trial]]
"""How far an operator is above what it has to keep, in dB; what it keeps, in words; the operator."""


def _chosen(found: _Found) -> dict[str, str]:
    """Choose from what was found, the worst first, as far as their share of the work goes."""
    left, chosen = MOST_PERCENT, dict[str, str]()
    for above_db, why, trial in sorted(found, key=lambda entry: (entry[0], entry[2].reader.node.name or "")):
        name = trial.reader.node.name or ""
        if above_db < 0 and trial.percent <= left and name not in chosen:
            left -= trial.percent
            chosen[name] = f"{why}, {trial.percent:.1f} % of the {trial.unit} (--all-int8)"
    return chosen


def _writes_codes(plan: Plan) -> bool:
    return plan.target.kernels is Kernels.READING_AND_WRITING


_FUNCTIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Gelu", "Tanh", "Mul")
"""What stands between an operator and the one that reads its result, value by value."""


def _makers(
    plan: Plan, histograms: Mapping[str, Histogram], found: _Found, chosen: Mapping[str, str]
) -> dict[str, str]:
    """Find the operators that write the codes which ruin a chosen one, whatever its weight is stored as."""
    makers = {}
    for _, _, trial in found:
        reader, maker = trial.reader, _maker(trial.reader.node)
        if (reader.node.name or "") not in chosen or maker is None or maker.name not in plan.quantized:
            continue
        together = merged(histograms, reader.group.observed)
        sqnr_db = _best_sqnr_db(reader, histograms[reader.tensor], together, reader.weight)
        if sqnr_db < LEAST_SQNR_DB:
            makers[maker.name] = f"its codes leave '{reader.node.name}' {sqnr_db:.1f} dB (--all-int8)"
    return makers


def _maker(node: ir.Node) -> ir.Node | None:
    """Return the one weighted operator whose result a node reads, with functions of it between; None for another."""
    waiting, makers = [input_at(node, 0)], set[ir.Node]()
    while waiting:
        value = waiting.pop()
        if value is None or is_constant(value):
            continue
        maker = value.producer()
        if maker is not None and is_weighted(maker):
            makers.add(maker)
        elif maker is not None and is_op(maker, *_FUNCTIONS):
            waiting += maker.inputs
        else:
            return None
    return makers.pop() if len(makers) == 1 else None


def _rounded_results(model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram]) -> dict[ir.Node, Range]:
    """Return the last operators whose results become codes for their own sake, with the range of these.

    That of a result that something clips is left out: what its kernel writes is not what it multiplies.
    """
    if not _writes_codes(plan):
        return {}
    groups = {target.tensor: plan.groups[target.group] for target in plan.targets}
    ends = last_results(list(model.graph), plan.target.operators)
    found = {node: groups.get(node.outputs[0].name or "") for node in ends}
    scheme = plan.target.activations
    return {
        node: range_of(histograms, group, Method(), scheme)
        for node, group in found.items()
        if group is not None and group.known is None and is_seen(histograms, group)
    }


def _result_sqnr_db(reader: Reader, seen: Histogram, kept: Range, plan: Plan) -> float:
    """The SQNR of an operator's results in codes, channel by channel."""
    layer = reader.layer(seen.excerpts.pieces)
    noise = np.square(as_stored(layer.results, kept, plan.target.activations) - layer.results, dtype=np.float64)
    return _sqnr_db(noise_ratio(noise.sum(axis=1), layer.signal))


def _sqnr_db(ratio: float) -> float:
    """A ratio of noise by signal in dB."""
    return -10.0 * math.log10(ratio) if ratio > 0 else math.inf


def _trials(model: ir.Model, plan: Plan) -> Iterator[_Trial]:
    """The operators with a small share, in the plan's order.

    How often a body runs is not known, so one in a body counts by what runs with it: of the whole it has no more.
    """
    known: dict[ir.Graph | ir.Function | None, Shares] = {}
    for reader in readers_of(model, plan):
        graph = reader.node.graph
        if graph not in known:
            known[graph] = shares_of(node for node in graph or () if is_weighted(node))
        percent = known[graph].percent.get(reader.node, 100.0)
        if percent <= MOST_PERCENT:
            yield _Trial(reader, percent, known[graph].unit + ("" if graph is model.graph else " of its body"))


def _best_sqnr_db(reader: Reader, seen: Histogram, together: Histogram, weight: NDArray[np.generic]) -> float:
    """The SQNR of an operator's results under the first range that serves, else the best of those methods choose.

    From the range that is found at once to those that take a search: most operators bear the whole range.
    """
    scheme = reader.scheme
    quantized = reader.matrices(weight)
    layer = reader.layer(seen.excerpts.pieces)
    best = -math.inf
    for method in reversed(CANDIDATES.values()):
        kept = choose_range(together, method, scheme)
        ratio = noise_ratio(layer.noise(as_stored(layer.rows, kept, scheme), quantized), layer.signal)
        best = max(best, _sqnr_db(ratio))
        if best >= LEAST_SQNR_DB:
            break
    return best
