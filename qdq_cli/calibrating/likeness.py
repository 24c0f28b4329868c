"""Find the tensors of a model among those of another export: by what they hold on the portrait's made-up samples.

Two tensors are one where they take the same values on every made-up sample and every weight that contributes is the
same. Values are compared without their order, since that is all a range depends on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from calibrators import CalibrationTable
from calibrators.portrait import InputShape, Portrait, Reading, WeightMark
from qdq_cli.calibrating.calibration_data import input_specs
from qdq_cli.calibrating.probes import draw_portrait, weight_marks, weights_read
from qdq_cli.data.inputs import InputSpec, batch_axis
from qdq_cli.data.shapes import fits, is_dynamic, shape_text
from qdq_cli.model.nodes import every_node, inner_graphs
from qdq_cli.screen.sentences import some_of


@dataclass(frozen=True)
class Likeness:
    """The tensors of a model that are also in a table.

    Args:
        places: Name in the model -> name in the table.
        differences: Sentences on why others are not there, the most telling first.
        same_network: Whether everything the model computes was computed by the observed one.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    same_network: bool = False


def likeness(table: CalibrationTable, model: ir.Model, tensors: Sequence[str], also: Sequence[str] = ()) -> Likeness:
    """Look for tensors of a prepared model in a table that was made from another export of the network.

    Args:
        table: What was observed. One without a portrait knows nothing beyond digests.
        model: Is run on the made-up samples of the portrait; left as it is.
        tensors: Names of float tensors of the model that need a histogram.
        also: Names of those of which the extremes are enough.
    """
    theirs = table.portrait
    if theirs is None:
        return Likeness()
    fed, difference = _as_fed(input_specs(model), theirs.inputs)
    if difference:
        return Likeness(differences=(difference,))
    changed = _changed_weights(model.graph, theirs.weights)
    behind = _behind(model.graph, changed)
    search = _Search(table, theirs, draw_portrait(model, fed))
    places = {name: place for name in tensors if name not in behind and (place := search.place(name)) is not None}
    missing = [name for name in tensors if name not in places]
    extremes = search.places_of_extremes(name for name in also if name not in behind)
    new = () if changed else search.first_new(model.graph)
    differences = (*_about_weights(changed, behind, missing), *new, *search.about(missing, behind))
    return Likeness({**extremes, **places}, differences if missing else (), not changed and not new and not missing)


class _Search:
    """Looks the readings of one model up among those of a table."""

    def __init__(self, table: CalibrationTable, theirs: Portrait, mine: Portrait) -> None:
        self._entries = table.entries
        self._extremes = table.extremes
        self._theirs = theirs
        self._portrait = mine
        self._mine = {reading.name: reading for reading in mine.readings}
        self._alike: dict[str, tuple[Reading, ...]] = {}

    def like(self, name: str) -> tuple[Reading, ...]:
        """The tensors of the observed model that hold what this one holds."""
        if name not in self._alike:
            reading = self._mine.get(name)
            self._alike[name] = () if reading is None else self._theirs.like(reading)
        return self._alike[name]

    def places_of_extremes(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> the tensor of the table that stands for it, whether its values were counted or not."""
        known = self._entries.keys() | self._extremes.keys()
        return {name: place for name in names if (place := self.place(name, known)) is not None}

    def place(self, name: str, among: Collection[str] | None = None) -> str | None:
        """The tensor of the table that stands for this one; None where there is none, or no telling which.

        Args:
            name: Name in the model.
            among: Names in the table; None: those whose values were counted.
        """
        known = self._entries if among is None else among
        observed = [reading.name for reading in self._told_apart(name) if reading.name in known]
        if not observed:
            return None
        return name if name in observed else observed[0]

    def _told_apart(self, name: str) -> tuple[Reading, ...]:
        """Of the tensors that hold what this one holds, those that are it, moved or not; () where that is not known.

        A tensor and its Relu look alike where nothing is negative. Where both models have equally many such tensors, of
        the same operators in the same order, they are told by order; else by operator.
        """
        alike = self.like(name)
        theirs = _by_source(alike)
        if len(theirs) <= 1:
            return alike
        reading = self._mine[name]
        mine = _by_source(self._portrait.like(reading))
        if list(mine.values()) == list(theirs.values()):
            source = list(theirs)[list(mine).index(reading.source)]
        else:
            same = [source for source, operator in theirs.items() if operator == reading.operator]
            source = same[0] if len(same) == 1 else ""
        return tuple(other for other in alike if other.source == source)

    def first_new(self, graph: ir.Graph) -> tuple[str, ...]:
        """Name the first operator whose result the observed model never had, nor anything that is made of it.

        What is inside of an operator that one exporter spells in parts is new too, but its result is known.
        """
        leads_to_known: set[ir.Node] = set()
        first: ir.Node | None = None
        for node in reversed(graph):
            names = [value.name or "" for value in node.outputs]
            if any(map(self.like, names)) or not leads_to_known.isdisjoint(node.successors()):
                leads_to_known.add(node)
            elif any(name in self._mine and any(self._mine[name].spans) for name in names):
                first = node
        if first is None:
            return ()
        return (
            f"The {first.op_type} '{first.name}' computes '{first.outputs[0].name}', which the observed model did not.",
        )

    def about(self, missing: Iterable[str], behind: frozenset[str]) -> Iterable[str]:
        """Say of tensors that the observed model had why they are not there."""
        known = [name for name in missing if name not in behind and self.like(name)]
        unseen = [name for name in known if not any(reading.name in self._entries for reading in self.like(name))]
        unclear = [name for name in known if name not in unseen]
        if unseen:
            yield f"The observed model has them, but its placement options did not need them: {some_of(unseen)}."
        if unclear:
            yield f"The made-up samples do not tell which of several tensors they are: {some_of(unclear)}."


def _by_source(readings: Iterable[Reading]) -> dict[str, str]:
    """Name of the tensor that was computed -> operator, for tensors that may have been moved since."""
    return {reading.source: reading.operator for reading in readings}


def _as_fed(specs: Sequence[InputSpec], inputs: Sequence[InputShape]) -> tuple[tuple[InputShape, ...], str]:
    """Match the inputs of a model with those of a portrait, by name or else by place; returns them, or what differs."""
    if len(specs) != len(inputs):
        return (), f"The model has {len(specs)} inputs, the observed one {len(inputs)}."
    by_name = {given.name: given for given in inputs}
    named = all(spec.name in by_name for spec in specs)
    fed = [by_name[spec.name] if named else given for spec, given in zip(specs, inputs, strict=True)]
    stacked = batch_axis(specs).stacked
    for spec, given in zip(specs, fed, strict=True):
        if given.dtype != spec.dtype.name:
            return (), f"Input '{spec.name}' holds {spec.dtype.name}, that of the observed model {given.dtype}."
        if difference := _of_shapes(spec, given, batch=stacked and given.stacked):
            return (), difference
    return tuple(replace(given, name=spec.name) for spec, given in zip(specs, fed, strict=True)), ""


def _of_shapes(spec: InputSpec, given: InputShape, *, batch: bool) -> str:
    """Say in which dimension an input differs from what was observed; "" where it can be fed the same."""
    skipped = 1 if batch else 0
    if fits(given.shape[skipped:], spec.shape[skipped:]):
        return ""
    if spec.rank != len(given.shape):
        what = f"{spec.rank} dimensions, that of the observed model {len(given.shape)}"
    else:
        pairs = enumerate(zip(spec.shape, given.shape, strict=True))
        place = next(at for at, (mine, seen) in pairs if at >= skipped and not is_dynamic(mine) and mine != seen)
        what = f"{spec.shape[place]} in dimension {place}, and {given.shape[place]} was observed"
    return f"Input '{spec.name}' {shape_text(spec.shape)} has {what} ({shape_text(given.shape)})."


def _changed_weights(graph: ir.Graph, known: Sequence[WeightMark]) -> dict[ir.Value, WeightMark]:
    """Return the weights of a model that the observed one did not have."""
    exact = {(mark.size, mark.exact) for mark in known}
    by_size: dict[int, list[WeightMark]] = {}
    for mark in known:
        by_size.setdefault(mark.size, []).append(mark)
    return {
        value: mark
        for value, mark in weight_marks(graph).items()
        if (mark.size, mark.exact) not in exact and not any(mark.is_like(other) for other in by_size.get(mark.size, ()))
    }


def _behind(graph: ir.Graph, changed: Mapping[ir.Value, WeightMark]) -> frozenset[str]:
    """Return the tensors that depend on these weights."""
    touched: set[ir.Value | None] = set()
    for node in graph:
        reads = [
            *node.inputs,
            *(value for body in inner_graphs(node) for inner in every_node(body) for value in inner.inputs),
        ]
        if not touched.isdisjoint(reads) or any(True for _ in weights_read(node, changed)):
            touched.update(node.outputs)
    return frozenset(value.name or "" for value in touched if value is not None)


def _about_weights(
    changed: Mapping[ir.Value, WeightMark], behind: frozenset[str], missing: Sequence[str]
) -> tuple[str, ...]:
    """Name the weights that keep tensors from being found."""
    if not behind.intersection(missing):
        return ()
    names = [value.name or "" for value in changed]
    what = "1 weight is not that" if len(names) == 1 else f"{len(names)} weights are not those"
    return (f"{what} of the observed model: {some_of(names)}.",)
