"""Equalize channels across layers: what the model computes stays, and one range serves all channels of a tensor better.

Steps `equalize` (channels that weighted operators make) and `smooth` (channels that a LayerNorm makes). Tensors that
share a channel class or a scale form a component; each component takes the exponent that the judge likes best, or none.
One with channels of both kinds belongs to `smooth`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Range
from calibrators.equalization import EXPONENTS, channel_factors
from calibrators.qparams import weight_amax
from qdq_cli.data.batches import Batch
from qdq_cli.judging.candidate import Candidate, with_constants
from qdq_cli.judging.trials import ABREAST
from qdq_cli.model.nodes import array_of, every_initializer, every_node, input_at, name_of
from qdq_cli.placement.plan import Plan
from qdq_cli.process.errors import ModelError
from qdq_cli.recovering.changes import Judge, Verdict
from qdq_cli.recovering.channel_rules import scalable_channels
from qdq_cli.recovering.channels import Channels, scaled_constants
from qdq_cli.recovering.start import Start
from qdq_cli.running.tensors import TensorRunner

EQUALIZING = ("equalize", "smooth")
"""The steps that come before all others, in this order."""

_MAX_COMPONENTS = 24
"""Components tried one by one; further ones take the exponent that is best for all together."""

_PATIENCE = 6
"""After so many components in a row that gain nothing by another exponent, further ones are not tried one by one."""

Advance = Callable[[int, int], None]
Choice = tuple[int, ...]
"""For each component: 0 for none, else a position in `EXPONENTS` plus one."""


@dataclass(frozen=True)
class Equalized:
    """What equalization left.

    Args:
        model: The float model with equalized constants; it computes what the prepared model does.
        constants: Those constants.
        ranges: Of each scale group in that model.
        choice: The exponent of each component.
        verdicts: Step -> one a component, named by its first tensor; empty where an earlier run chose.
    """

    model: ir.Model
    constants: Mapping[str, NDArray[np.floating]]
    ranges: tuple[Range, ...]
    choice: Choice = ()
    verdicts: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict)


def equalize(start: Start, judge: Judge, kinds: Iterable[str]) -> Equalized:
    """Equalize what helps.

    Args:
        start: The model, its plan and its samples.
        judge: Holds the candidate; gets a better one.
        kinds: `equalize`, `smooth` or both.

    Raises:
        QdqError: The model cannot be run, or a sample cannot be used.
    """
    work = _prepare(start, kinds)
    if work is None:
        return Equalized(start.model, {}, start.ranges)
    with start.listener.progress("equalizing", work.trials) as advance:
        choice, verdicts = _choose(work, judge, advance)
    return _equalized(work, choice, verdicts)


def repeat(start: Start, kinds: Iterable[str], choice: Choice) -> Equalized:
    """Equalize as it was chosen before."""
    work = _prepare(start, kinds) if choice else None
    return Equalized(start.model, {}, start.ranges) if work is None else _equalized(work, choice, {})


def _prepare(start: Start, kinds: Iterable[str]) -> _Work | None:
    """Find what can be equalized; None where there is nothing."""
    channels = _chosen(scalable_channels(start.model.graph), frozenset(kinds))
    parts = _components(channels, start) if channels.count else ()
    return _Work(start, channels, parts) if parts else None


def _equalized(work: _Work, choice: Choice, verdicts: Mapping[str, tuple[Verdict, ...]]) -> Equalized:
    return Equalized(*work.model(choice), work.candidate(choice).ranges, choice, verdicts)


def _chosen(channels: Channels, kinds: frozenset[str]) -> Channels:
    """The classes of these kinds alone; the others keep their values."""
    norms = np.array(sorted(channels.norms), int)
    is_norm = np.isin(np.arange(channels.count), norms)
    keep = (is_norm & ("smooth" in kinds)) | (~is_norm & ("equalize" in kinds))
    numbers = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
    tensors = {name: (axis, numbers[classes]) for name, (axis, classes) in channels.tensors.items()}
    constants = tuple(replace(scaled, classes=numbers[scaled.classes]) for scaled in channels.constants)
    return Channels(int(keep.sum()), tensors, constants, frozenset(numbers[norms[keep[norms]]].tolist()))


@dataclass(frozen=True)
class _Component:
    """Tensors whose factors and ranges depend on each other, and the step they belong to."""

    name: str
    step: str
    classes: NDArray[np.intp]
    groups: tuple[int, ...]


def _components(channels: Channels, start: Start) -> tuple[_Component, ...]:
    """Find the components with a quantized tensor; one with a range that was given or is known is left alone."""
    free = start.free_groups
    by_group: dict[int, set[int]] = {}
    names: dict[int, str] = {}
    read = [(target.tensor, target.group) for target in start.plan.targets]
    read += [(name, -1 - number) for number, name in enumerate(_read_alone(start))]  # no group: they stay float
    for tensor, group in read:
        _, classes = channels.tensors.get(tensor, (0, np.array([-1])))
        by_group.setdefault(group, set()).update(classes[classes >= 0].tolist())
        names.setdefault(group, tensor)
    found: list[tuple[set[int], list[int]]] = []
    for group, classes in by_group.items():
        if classes:
            met = [part for part in found if part[0] & classes]
            found = [part for part in found if not part[0] & classes]
            found.append((classes.union(*(part[0] for part in met)), sum((part[1] for part in met), [group])))
    return tuple(
        _Component(
            names[min(groups)],
            "smooth" if classes & channels.norms else "equalize",
            np.array(sorted(classes)),
            tuple(sorted(group for group in groups if group >= 0)),
        )
        for classes, groups in sorted(found, key=lambda part: min(part[1]))
        if free.issuperset(group for group in groups if group >= 0)
    )


def _read_alone(start: Start) -> tuple[str, ...]:
    """Name the tensors that products with weights alone read, each once."""
    nodes = {node.name: node for node in every_node(start.model.graph)}
    read = (input_at(nodes[weight.use.node], 0) for weight in start.plan.weights if weight.alone and weight.use.slot)
    return tuple(dict.fromkeys(name_of(value) for value in read if value is not None))


class _Work:
    """Factors and ranges under every exponent, computed when first asked for."""

    def __init__(self, start: Start, channels: Channels, parts: tuple[_Component, ...]) -> None:
        self.parts = parts
        self.steps = tuple(step for step in EQUALIZING if any(part.step == step for part in parts))
        self._start = start
        self._channels = channels
        activations = _activation_shares(start, channels, start.split.load(start.split.learn))
        weights = _weight_shares(start.model, start.plan, channels)
        activations, weights = _with_alone(start, channels, activations, weights)
        self._factors = [np.ones(channels.count)]
        self._factors += [channel_factors(activations, weights, exponent) for exponent in EXPONENTS]
        self._ranges: dict[int, tuple[Range, ...]] = {0: start.ranges}

    @property
    def trials(self) -> int:
        """Steps of the search, for progress."""
        return len(self.steps) * len(EXPONENTS) + min(len(self.parts), _MAX_COMPONENTS)

    def model(self, choice: Choice) -> tuple[ir.Model, Mapping[str, NDArray[np.floating]]]:
        """The float model under a choice, and the constants that differ."""
        constants = self._constants(choice)
        return with_constants(self._start.model, constants), constants

    def candidate(self, choice: Choice) -> Candidate:
        """The candidate of a choice, ranges and all."""
        ranges = list(self._start.ranges)
        for part, position in zip(self.parts, choice, strict=True):
            for group in part.groups:
                ranges[group] = self._ranges_at(position)[group]
        return Candidate(self._start.plan, tuple(ranges), weights=self._constants(choice))

    def _constants(self, choice: Choice) -> Mapping[str, NDArray[np.floating]]:
        """The constants that differ under a choice."""
        factors = np.ones(self._channels.count)
        for part, position in zip(self.parts, choice, strict=True):
            factors[part.classes] = self._factors[position][part.classes]
        return scaled_constants(self._start.model.graph, self._channels, factors)

    def _ranges_at(self, position: int) -> tuple[Range, ...]:
        """The ranges with every component at one exponent: components do not reach into each other."""
        if position not in self._ranges:
            if not self._start.ranges:
                return ()
            model, _ = self.model((position,) * len(self.parts))
            self._ranges[position] = self._start.choose(self._start.observe(model))
        return self._ranges[position]


def _choose(work: _Work, judge: Judge, advance: Advance) -> tuple[Choice, Mapping[str, tuple[Verdict, ...]]]:
    """Choose step by step: the best exponent for all components together, then each one's neighbours and none."""
    best: Choice = (0,) * len(work.parts)
    verdicts, done = {}, 0
    for step in work.steps:
        numbers = [number for number, part in enumerate(work.parts) if part.step == step]
        for position in range(1, len(EXPONENTS) + 1):
            alike = tuple(position if number in numbers else now for number, now in enumerate(best))
            best = alike if _helps(work, judge, alike) else best
            advance(done := done + 1, work.trials)
        found, vain = [], 0
        for number in numbers:
            before = judge.noise
            if number < _MAX_COMPONENTS and vain < _PATIENCE:
                best = _refine(work, judge, best, number)
                vain = 0 if judge.noise < before else vain + 1
            advance(done := done + (number < _MAX_COMPONENTS), work.trials)
            found.append(Verdict(work.parts[number].name, best[number] > 0, before, judge.noise))
        verdicts[step] = tuple(found)
    return best, verdicts


def _refine(work: _Work, judge: Judge, best: Choice, number: int) -> Choice:
    now = best[number]
    for position in sorted({0, max(now - 1, 0), min(now + 1, len(EXPONENTS))} - {now}):
        tried = (*best[:number], position, *best[number + 1 :])
        best = tried if _helps(work, judge, tried) else best
    return best


def _helps(work: _Work, judge: Judge, choice: Choice) -> bool:
    """Let the judge try a choice; one under which an FP16 activation overflows helps nobody."""
    try:
        return judge.accepts(work.candidate(choice))
    except ModelError:
        return False


def _activation_shares(start: Start, channels: Channels, batches: Iterable[Batch]) -> NDArray[np.float64]:
    """Largest absolute value of every class, by the largest of its tensor, over the quantized tensors it is in."""
    names = tuple(dict.fromkeys(t.tensor for t in start.plan.targets if t.tensor in channels.tensors))
    runner = TensorRunner(start.model, names, abreast=ABREAST)
    largest: dict[str, NDArray[np.float64]] = {}
    for tensors in runner.run_each(batches):
        for name, held in tensors.items():
            for array in filter(np.size, held):
                found = weight_amax(array, channels.tensors[name][0]).astype(np.float64)
                largest[name] = np.maximum(largest.get(name, found), found)
    shares = np.zeros(channels.count)
    for name, values in largest.items():
        classes = channels.tensors[name][1]
        if values.any():
            np.maximum.at(shares, classes[classes >= 0], (values / values.max())[classes >= 0])
    return shares


def _with_alone(
    start: Start, channels: Channels, activations: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Let the channels that weights alone read be scaled by how large they are on average, whatever the weights are.

    What is quantized there is the weight, and an input that is large on average carries its error further.

    Source: Lin et al. 2023, arXiv 2306.00978, section 3.2 (AWQ), equations 4 and 5.
    """
    names = tuple(name for name in _read_alone(start) if name in channels.tensors)
    if not names:
        return activations, weights
    sums: dict[str, NDArray[np.float64]] = {}
    runner = TensorRunner(start.model, names, abreast=ABREAST)
    for tensors in runner.run_each(start.split.load(start.split.learn)):
        for name, held in tensors.items():
            for array in filter(np.size, held):
                others = tuple(axis for axis in range(array.ndim) if axis != channels.tensors[name][0] % array.ndim)
                sums[name] = sums.get(name, 0.0) + np.abs(array).mean(axis=others, dtype=np.float64)
    activations, weights = activations.copy(), weights.copy()
    for name, values in sums.items():
        classes = channels.tensors[name][1]
        free = (classes >= 0) & (values > 0)
        activations[classes[free]] = values[free] / values.max()
        weights[classes[free]] = 1.0
    return activations, weights


def _weight_shares(model: ir.Model, plan: Plan, channels: Channels) -> NDArray[np.float64]:
    """Largest absolute weight that reads every class, by the largest of the same scale."""
    axes = {target.tensor: target.axis for target in plan.weights}
    shares = np.zeros(channels.count)
    stored = every_initializer(model.graph)
    for scaled in channels.constants:
        if scaled.divides and scaled.name in axes:
            weight = np.abs(array_of(stored[scaled.name])).astype(np.float64)
            others = tuple(axis for axis in range(weight.ndim) if axis != axes[scaled.name])
            relative = weight / np.maximum(weight.max(axis=others, keepdims=True), np.finfo(np.float64).tiny)
            classes = np.broadcast_to(scaled.classes, weight.shape)
            np.maximum.at(shares, classes[classes >= 0], relative[classes >= 0])
    return shares
