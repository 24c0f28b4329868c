"""A calibration table and a model: make the table of what was observed, and find in a table what a plan needs.

Tensors are matched by the digest of the computation that makes them, not by name. Those of another export, computed by
other operators or for another batch size, are matched by what they hold on made-up samples, and by the weights that
contribute. So a table serves every export of the same network, and never one with other weights.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import onnx_ir as ir
import onnxruntime

from calibrators import (
    CalibrationTable,
    Entry,
    Extremes,
    ExtremesEntry,
    Grouping,
    Histogram,
    Provenance,
    ScaleGroup,
    wide_tensors,
)
from calibrators.portrait import Portrait
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.judged import with_judged
from qdq_cli.calibrating.likeness import Likeness, likeness
from qdq_cli.calibrating.probes import draw_portrait, input_shapes
from qdq_cli.calibrating.ruined import ruined_operators
from qdq_cli.calibrating.sample_keys import KEY_FORMAT
from qdq_cli.calibrating.shifted import with_shifts
from qdq_cli.config.execution import ON_CPU
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.fingerprint import fingerprint_of, tensor_digests
from qdq_cli.model.nodes import every_node
from qdq_cli.placement.operators import is_depthwise
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.target import Target
from qdq_cli.process.version import tool_version
from qdq_cli.running.execution import current

PROVIDER = "provider"
"""Under what name a table says what ran the model, where that was not the CPU's provider."""


def provider_of(table: CalibrationTable) -> str:
    """Return what ran the model that a table was made of."""
    return dict(table.provenance.versions).get(PROVIDER, ON_CPU.provider_text)


@dataclass(frozen=True)
class Found:
    """What a table holds for a plan.

    Args:
        histograms: Tensor name in this model -> histogram, for the tensors it has.
        missing: The tensors it does not have.
        renamed: Name in this model -> name in the table, where they differ.
        by_values: Those that were told by what they hold, not by digest.
        differences: Sentences on why tensors are missing, as far as that is known.
        same_network: Whether the model computes what the observed one did, whatever its operators are.
        extremes: Tensor name in this model -> its extremes, for those that were asked for besides and are there.
    """

    histograms: Mapping[str, Histogram]
    missing: tuple[str, ...]
    renamed: Mapping[str, str]
    by_values: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    same_network: bool = False
    extremes: Mapping[str, Extremes] = field(default_factory=dict)


def find(table: CalibrationTable, model: ir.Model, tensors: Sequence[str], also: Sequence[str] = ()) -> Found:
    """Find the histograms of these tensors of a prepared model, whatever they are called in the table.

    Nothing is run where all of them are there by digest.

    Args:
        table: The table.
        model: The prepared model.
        tensors: Those whose histograms are needed.
        also: Those of which the extremes are enough.
    """
    digests = tensor_digests(model.graph)
    counted, known = table.by_digest(), table.place_of()
    places = {name: counted[digests[name]] for name in tensors if digests[name] in counted}
    others = {name: known[digests[name]] for name in also if name not in places and digests[name] in known}
    same = fingerprint_of(model.graph, digests) == table.provenance.model
    unknown = [name for name in tensors if name not in places]
    rest = [name for name in also if name not in others and name not in places] if table.extremes else []
    settled = same or not (unknown or rest)
    alike = Likeness(same_network=same) if settled else likeness(table, model, unknown, rest)
    return _found(table, (tensors, places), others, alike)


def _found(
    table: CalibrationTable, exact: tuple[Sequence[str], Mapping[str, str]], others: Mapping[str, str], rest: Likeness
) -> Found:
    """Put together what was found by digest and what by values."""
    tensors, by_digest = exact
    places = {**by_digest, **{name: rest.places[name] for name in tensors if name in rest.places}}
    further = {**others, **{name: place for name, place in rest.places.items() if name not in places}}
    return Found(
        histograms={name: table.entries[places[name]].histogram for name in tensors if name in places},
        missing=tuple(name for name in tensors if name not in places),
        renamed={name: places[name] for name in tensors if name in places and name != places[name]},
        by_values=tuple(name for name in rest.places if name in places),
        differences=rest.differences,
        same_network=rest.same_network,
        extremes={name: table.extremes_of(place) for name, place in further.items()},
    )


def table_of(
    model: ir.Model,
    histograms: Mapping[str, Histogram],
    preprocessing: str,
    samples: Iterable[str],
    portrait: Portrait | None = None,
    extremes: Mapping[str, Extremes] = MappingProxyType({}),
) -> CalibrationTable:
    """Make the calibration table of what was observed.

    Args:
        model: The prepared model that was observed.
        histograms: Tensor name -> histogram.
        preprocessing: What was done to the samples (`feeding_text`).
        samples: Key of every sample (`sample_key`).
        portrait: What the model computes on made-up samples (`portrait_for`).
        extremes: Tensor name -> extremes of those that have no histogram.
    """
    digests = tensor_digests(model.graph)
    values = ir.convenience.create_value_mapping(model.graph)
    entries = {
        name: Entry(histogram, _declared_shape(values[name]), _type_name(values[name]), digests[name])
        for name, histogram in histograms.items()
    }
    versions = (("qdq", tool_version()), ("onnxruntime", onnxruntime.__version__), ("sample keys", KEY_FORMAT))
    where = () if current().on_cpu else ((PROVIDER, current().provider_text),)  # values differ in the last bits
    origin = Provenance(fingerprint_of(model.graph, digests), preprocessing, (*versions, *where), frozenset(samples))
    alone = {name: ExtremesEntry(seen, digests[name]) for name, seen in extremes.items() if name not in entries}
    return CalibrationTable(origin, entries, portrait, extremes=alone)


def with_groupings(table: CalibrationTable, model: ir.Model, target: Target, config: PlanConfig) -> CalibrationTable:
    """Note in a table which tensors share a scale, what reads them, and which ranges serve these, for `quantize`.

    Args:
        table: Of what was observed.
        model: The prepared model.
        target: What for.
        config: What to quantize.
    """
    histograms = {name: entry.histogram for name, entry in table.entries.items()}

    def grouping(plan: Plan) -> Grouping:
        return _grouping(with_judged(model, plan, histograms, _grouping(plan).groups))

    plan = make_plan(model, target, config)
    plain = grouping(plan)  # of branches too that these samples never take: those of another share may
    wide = wide_tensors(histograms, plain.groups, target.activations) if config.range_rules else frozenset[str]()
    fewer, again = config, plan
    if wide:
        fewer = replace(config, wide=depthwise_readers(model, plan, wide))
        again = make_plan(model, target, fewer)
    groups = _grouping(again).groups
    centred = with_shifts(model, again, histograms, groups) if config.shift else again
    if ruined := ruined_operators(model, centred, histograms, groups):
        again = make_plan(model, target, replace(fewer, ruined=ruined))
    return replace(table, groupings=(plain,) if again is plan else (plain, replace(grouping(again), wide=wide)))


def _grouping(plan: Plan) -> Grouping:
    return Grouping(frozenset(), tuple(group for group in plan.groups if group.known is None))


def never_run(plan: Plan, histograms: Mapping[str, Histogram], groups: Collection[ScaleGroup]) -> frozenset[str]:
    """Return the nodes that read a tensor of which calibration saw no values: those of a branch that no sample takes.

    Args:
        plan: What is to be quantized.
        histograms: Tensor name -> histogram of what was observed.
        groups: Those of its scale groups that need to be.
    """
    needed = frozenset(groups)
    empty = {
        number
        for number, group in enumerate(plan.groups)
        if group in needed and all(name in histograms and not histograms[name].count for name in group.observed)
    }
    return frozenset(use.node for target in plan.targets if target.group in empty for use in target.uses)


def depthwise_readers(model: ir.Model, plan: Plan, tensors: Container[str]) -> frozenset[str]:
    """Return the depthwise convolutions that read one of these tensors as INT8."""
    nodes = {node.name: node for node in every_node(model.graph)}
    return frozenset(
        use.node
        for target in plan.targets
        if target.tensor in tensors
        for use in target.uses
        if is_depthwise(nodes[use.node])
    )


def portrait_for(model: ir.Model, samples: Samples) -> Portrait:
    """Draw the portrait of a prepared model, in the shapes of its first calibration sample."""
    return draw_portrait(model, input_shapes(model, samples.every.shapes(0)))


def _declared_shape(value: ir.Value) -> tuple[int | str | None, ...]:
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def _type_name(value: ir.Value) -> str:
    return str((value.dtype or ir.DataType.FLOAT).numpy())
