"""The noise of every operator in each of the types that it can have, and the bytes of its weight there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from calibrators.scheme import Block, PerChannel, Scheme
from qdq_cli.config.forms import Gpu, QuantType
from qdq_cli.config.sensitivity import SensitivityConfig
from qdq_cli.config.types import kinds_named
from qdq_cli.judging.trials import Trials
from qdq_cli.model.nodes import every_initializer
from qdq_cli.placement.plan import Plan, kept_float
from qdq_cli.process.errors import UsageError
from qdq_cli.quantizing.groundwork import Groundwork, planned_again
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.sentences import any_of
from qdq_cli.sensitivity.measure import Advance, noise_of, operators_alone
from qdq_cli.sensitivity.mix import Kind, Mix, Unit, kinds_of, options_of, uniform
from qdq_cli.sensitivity.record import TypedSensitivity, TypeNoise
from qdq_cli.sensitivity.stand import Stand
from qdq_cli.targets.known import TARGETS, target_for, types_on

Noises = tuple[tuple[float, ...], ...]
"""Of each unit in each of its types: the noise-to-signal ratio of the outputs, infinite where it is ruined."""

_SCALE_BYTES = 4

_Sizes = dict[QuantType, dict[str, tuple[int, int]]]


def asked_types(config: SensitivityConfig) -> tuple[QuantType, ...]:
    """Return the types that every operator is measured in: those named, else all that the named GPU has; or none.

    Raises:
        UsageError: The GPU lacks one of them, or what is quantized for runs on no GPU.
    """
    asked = config.quantize
    if config.gpu is None:
        return kinds_named(config.types)
    if TARGETS[asked.target].seconds is None:
        raise UsageError(
            f"--gpu names a GPU, and {TARGETS[asked.target].title} runs on the CPU.", "Name the types: --types."
        )
    there = types_on(asked.target, Gpu(config.gpu), asked.trt)
    for kind in kinds_named(config.types):
        if kind not in there:
            raise UsageError(
                f"{config.gpu} has no units for {kind.title}.", f"It has {any_of([known.title for known in there])}."
            )
    return kinds_named(config.types) or there


def noise_by_type(
    trials: Trials,
    units: Sequence[Unit],
    work_of: Callable[[Mix], Groundwork],
    runs: Sequence[int] | None,
    advance: Advance,
) -> Noises:
    """Measure each operator alone, in each of its types.

    Args:
        trials: The samples.
        units: The operators.
        work_of: Plans the model again with a mix, and chooses its ranges.
        runs: Numbers of the runs to take; None for all.
        advance: Told about progress.

    Raises:
        ModelError: A variant cannot be run.
    """
    total, done = sum(len(unit.kinds) - 1 for unit in units), 0
    rows: list[dict[Kind, float]] = [{None: 0.0} for _ in units]
    for kind in kinds_of(units):
        able = [number for number, unit in enumerate(units) if kind in unit.kinds]
        work = work_of(uniform(units, kind))
        plans = operators_alone(work.plan, [units[number].name for number in able])
        found = noise_of(trials, work.candidate, plans, runs, _behind(advance, done, total))
        there = set(work.plan.quantized)
        for number, noise in zip(able, found.tolist(), strict=True):
            rows[number][kind] = noise if units[number].name in there else math.inf
        done += len(able)
    return tuple(tuple(row[kind] for kind in unit.kinds) for unit, row in zip(units, rows, strict=True))


def sensitivities_by_type(
    run: Run, stand: Stand, units: Sequence[Unit], runs: Sequence[int] | None
) -> tuple[TypedSensitivity, ...]:
    """Say what each operator costs the outputs in each of its types, noisiest first, and how large its weight is there.

    Those in branches that no sample takes are left out: they cost nothing on the samples, and nobody knows what else.

    Args:
        run: The run; its options say how everything but the type is planned.
        stand: The calibrated model, with what all types need observed.
        units: The operators.
        runs: As for `noise_by_type`.
    """
    unseen = kept_float(stand.work.plan, run.config.plan).unseen
    units = [unit for unit in units if unit.name not in unseen]
    kinds = kinds_of(units)

    def work_of(mix: Mix) -> Groundwork:
        options = options_of(run.config.plan, units, mix, kinds)
        table = target_for(run.config.target, options, run.config.cpu)
        return planned_again(replace(run, config=replace(run.config, plan=options), target=table), stand.work)

    with run.stage("estimate"), run.listener.progress("by type", sum(len(unit.kinds) - 1 for unit in units)) as advance:
        noises = noise_by_type(stand.trials, units, work_of, runs, advance)
    sizes = {kind: weight_bytes(stand.work.model, work_of(uniform(units, kind)).plan) for kind in kinds}
    found = [_sensitivity(unit, row, sizes) for unit, row in zip(units, noises, strict=True)]
    return tuple(sorted(found, key=lambda one: -max((choice.noise or 0.0 for choice in one.types), default=0.0)))


def _sensitivity(unit: Unit, row: tuple[float, ...], sizes: _Sizes) -> TypedSensitivity:
    pairs = [(kind, noise) for kind, noise in zip(unit.kinds, row, strict=True) if kind is not None]
    held = {kind: sizes[kind].get(unit.name) for kind, _ in pairs}
    types = tuple(
        TypeNoise(kind.value, None if noise == math.inf else noise, None if (size := held[kind]) is None else size[1])
        for kind, noise in pairs
    )
    return TypedSensitivity(unit.name, unit.op_type, next((size[0] for size in held.values() if size), None), types)


def weight_bytes(model: ir.Model, plan: Plan) -> dict[str, tuple[int, int]]:
    """Return operator -> bytes of its weight in the float model, and of its codes and scales under a plan."""
    found: dict[str, tuple[int, int]] = {}
    stored = every_initializer(model.graph)
    for target in plan.weights:
        value = stored.get(target.tensor)
        if value is not None and value.const_value is not None:
            shape = tuple(value.const_value.shape.numpy())
            found[target.use.node] = (value.const_value.nbytes, _stored_bytes(shape, target.scheme))
    return found


def _stored_bytes(shape: tuple[int, ...], scheme: Scheme) -> int:
    bits = 4 if scheme.qtype.name.endswith("int4") else 8
    scales = 1
    match scheme.granularity:
        case PerChannel(axis):
            scales = shape[axis]
        case Block(axis, size):
            scales = math.prod(shape) // shape[axis] * -(-shape[axis] // size)
    return -(-math.prod(shape) * bits // 8) + _SCALE_BYTES * scales


def _behind(advance: Advance, before: int, total: int) -> Advance:
    """Return what tells the progress of one part as that of the whole."""
    return lambda done, _: advance(before + done, total)
