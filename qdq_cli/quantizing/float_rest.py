"""Give what is not quantized its float type: observe what is still unknown, plan, convert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import onnx_ir as ir

from calibrators import Extremes
from qdq_cli.calibrating.calibration import Observation, observe_extremes
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.casting import reasons
from qdq_cli.casting.bounds import bounds_of, unbounded
from qdq_cli.casting.convert import converted
from qdq_cli.casting.formats import FORMATS, limit
from qdq_cli.casting.plan import FloatPlan, is_free, make_float_plan
from qdq_cli.casting.structure import touches_single
from qdq_cli.model.bodies import places_of_bodies
from qdq_cli.model.provenance import record_float_type
from qdq_cli.placement.half_joins import join_on_codes
from qdq_cli.process.progress import Listener
from qdq_cli.quantizing.float_form import FloatForm
from qdq_cli.quantizing.float_record import FloatRest


@dataclass(frozen=True)
class Finished:
    """A model as it will be written.

    Args:
        model: The model.
        notes: Sentences the user should read.
        rest: What became of the operators that are not quantized; None where they stay as they were.
    """

    model: ir.Model
    notes: tuple[str, ...]
    rest: FloatRest | None = None


def completed(
    model: ir.Model, form: FloatForm, known: Observation, samples: Samples | None, listener: Listener
) -> Observation:
    """Run the samples once more where what was observed does not say how large every tensor gets.

    That is so where nothing was observed (ranges by hand), where a calibration cache of an earlier release served, and
    where a tensor is far larger than the choice of what to observe took it for. Without samples such a tensor counts as
    large as it may get by what was observed, if that is bounded.

    Args:
        model: The float model.
        form: How the float rest is written.
        known: What was observed.
        samples: The calibration data; None where there is none, and what is known has to do.
        listener: Told about progress.

    Raises:
        DataError: A sample cannot be used.
        ModelError: The model cannot be run.
    """
    seen = known.known_extremes
    missing = unbounded(model, seen, limit(FORMATS[form.float_type]))
    if samples is not None:
        return observe_extremes(model, missing, samples, listener, known)
    reach = {value.name: found for value, found in bounds_of(model, seen).items() if value.name in missing}
    bounds = {name: Extremes(found.low, found.high) for name, found in reach.items() if name}
    return replace(known, extremes={**known.extremes, **bounds})


def planned_rest(model: ir.Model, form: FloatForm) -> FloatRest:
    """Say what is known of the float rest before anything is observed."""
    return _rest(make_float_plan(model, form.float_type, {}, form.scales, keep_io=form.keep_io), model, None)


def in_float_type(model: ir.Model, form: FloatForm, observed: Observation) -> Finished:
    """Give the float rest of a model its type.

    Args:
        model: A prepared model, with Q/DQ or without; left as it is.
        form: How the float rest is written.
        observed: What calibration saw of its tensors.

    Raises:
        ModelError: The model is FP16 or BF16 already, or cannot be raised to the opset that the type needs.
    """
    plan = make_float_plan(model, form.float_type, observed.known_extremes, form.scales, keep_io=form.keep_io)
    made = converted(model, plan, keep_io=form.keep_io, scales=form.scales)
    join_on_codes(made.model)
    record_float_type(made.model, form.float_type.value)
    return Finished(made.model, made.notes, _rest(plan, model, made.casts))


def _looked_into(model: ir.Model) -> Iterator[ir.Node]:
    """Yield the operators of the main graph, and of the bodies in it that can be looked into."""
    yield from model.graph
    for place in places_of_bodies(model.graph):
        yield from place.body


def _rest(plan: FloatPlan, model: ir.Model, casts: int | None) -> FloatRest:
    kept = tuple(kept for kept in plan.kept if kept.code != reasons.BLOCK_SCALES)  # as little a choice as other DQs
    return FloatRest(
        float_type=plan.float_type.value,
        operators=sum(touches_single(node) and not is_free(node) for node in _looked_into(model)),
        kept=kept,
        reasons=dict(Counter(found.code for found in kept).most_common()),
        casts=casts,
        clamped=plan.clamped,
        unobserved=None if casts is None else plan.unobserved,
    )
