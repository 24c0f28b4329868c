"""A calibration table and a model: make the table of what was observed, and find in a table what a plan needs.

Tensors are matched by the digest of the computation that makes them, not by name. Those of another export, computed by
other operators or for another batch size, are matched by what they hold on made-up samples, and by the weights that
contribute. So a table serves every export of the same network, and never one with other weights.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir
import onnxruntime

from calibrators import CalibrationTable, Entry, Grouping, Histogram, Provenance, wide_tensors
from calibrators.portrait import Portrait
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.likeness import Likeness, likeness
from qdq_cli.calibrating.probes import draw_portrait, input_shapes
from qdq_cli.calibrating.sample_keys import KEY_FORMAT
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.fingerprint import fingerprint_of, tensor_digests
from qdq_cli.placement.operators import is_depthwise
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.target import Target
from qdq_cli.process.version import tool_version


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
    """

    histograms: Mapping[str, Histogram]
    missing: tuple[str, ...]
    renamed: Mapping[str, str]
    by_values: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    same_network: bool = False


def find(table: CalibrationTable, model: ir.Model, tensors: Sequence[str]) -> Found:
    """Find the histograms of these tensors of a prepared model, whatever they are called in the table.

    Nothing is run where all of them are there by digest.
    """
    digests = tensor_digests(model.graph)
    by_digest = table.by_digest()
    places = {name: by_digest[digests[name]] for name in tensors if digests[name] in by_digest}
    same = fingerprint_of(model.graph, digests) == table.provenance.model
    unknown = [name for name in tensors if name not in places]
    if not unknown or same:
        return _found(table, tensors, places, Likeness(same_network=same))
    return _found(table, tensors, places, likeness(table, model, unknown))


def _found(table: CalibrationTable, tensors: Sequence[str], exact: Mapping[str, str], rest: Likeness) -> Found:
    """Put together what was found by digest and what by values."""
    places = {**exact, **rest.places}
    return Found(
        histograms={name: table.entries[places[name]].histogram for name in tensors if name in places},
        missing=tuple(name for name in tensors if name not in places),
        renamed={name: places[name] for name in tensors if name in places and name != places[name]},
        by_values=tuple(rest.places),
        differences=rest.differences,
        same_network=rest.same_network,
    )


def table_of(
    model: ir.Model,
    histograms: Mapping[str, Histogram],
    preprocessing: str,
    samples: Iterable[str],
    portrait: Portrait | None = None,
) -> CalibrationTable:
    """Make the calibration table of what was observed.

    Args:
        model: The prepared model that was observed.
        histograms: Tensor name -> histogram.
        preprocessing: What was done to the samples (`feeding_text`).
        samples: Key of every sample (`sample_key`).
        portrait: What the model computes on made-up samples (`portrait_for`).
    """
    digests = tensor_digests(model.graph)
    values = ir.convenience.create_value_mapping(model.graph)
    entries = {
        name: Entry(histogram, _declared_shape(values[name]), _type_name(values[name]), digests[name])
        for name, histogram in histograms.items()
    }
    versions = (("qdq", tool_version()), ("onnxruntime", onnxruntime.__version__), ("sample keys", KEY_FORMAT))
    return CalibrationTable(
        Provenance(fingerprint_of(model.graph, digests), preprocessing, versions, frozenset(samples)), entries, portrait
    )


def with_groupings(table: CalibrationTable, model: ir.Model, target: Target, config: PlanConfig) -> CalibrationTable:
    """Note in a table which tensors share a scale, and what reads them, where `quantize` is told this.

    Args:
        table: Of what was observed.
        model: The prepared model.
        target: What for.
        config: What to quantize.
    """
    plan = make_plan(model, target, config)
    plain = _grouping(plan)
    wide = wide_tensors(
        {name: entry.histogram for name, entry in table.entries.items()}, plain.groups, target.activations
    )
    if not wide or not config.range_rules:
        return replace(table, groupings=(plain,))
    again = make_plan(model, target, replace(config, wide=depthwise_readers(model, plan, wide)))
    return replace(table, groupings=(plain, replace(_grouping(again), wide=wide)))


def _grouping(plan: Plan) -> Grouping:
    return Grouping(frozenset(), tuple(group for group in plan.groups if group.known is None))


def depthwise_readers(model: ir.Model, plan: Plan, tensors: Container[str]) -> frozenset[str]:
    """Return the depthwise convolutions that read one of these tensors as INT8."""
    nodes = {node.name: node for node in model.graph}
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
