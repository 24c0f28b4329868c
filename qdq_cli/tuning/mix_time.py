"""What each type costs each operator of a network on a GPU: the time as predicted, or the bytes as built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qdq_cli.config.forms import Gpu, QuantType
from qdq_cli.config.placement import PlanConfig
from qdq_cli.data.batches import Batch
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.target import Target
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.run import Run
from qdq_cli.sensitivity.mix import Mix, Unit, options_of, uniform
from qdq_cli.sensitivity.shapes import shapes_in
from qdq_cli.sensitivity.work import WorkMeter
from qdq_cli.targets.known import target_for, target_for_types
from qdq_cli.tuning.budget import Pair

_LEAST = 1e-6
"""Percent below which what two operators save together is rounding."""

Costs = tuple[tuple[float, ...], ...]
"""Of each unit in each of its types, in percent of the float network."""


class MixClock:
    """Predicts the time of a network whose operators have some types, on one GPU.

    Args:
        run: The run; its target is that of all types.
        meter: Drafts plans in the shapes of a run.
        units: The operators.
        kinds: The types.
        gpu: The GPU.

    Attributes:
        device: The device whose peak rates it takes.
        float_seconds: The predicted time of the float network.
    """

    def __init__(self, run: Run, meter: WorkMeter, units: Sequence[Unit], kinds: Sequence[QuantType], gpu: Gpu) -> None:
        config = run.config
        self._meter, self._gpu, self._half = meter, gpu, not config.plan.single_rest
        self._plan, self._name, self._cpu = config.plan, config.target, config.cpu
        seconds = target_for_types(kinds, config.target, config.plan, config.cpu).seconds
        assert seconds is not None
        self._predicted, self.device = seconds, seconds.device(gpu)
        self._units, self._kinds = units, kinds
        self._known: dict[Mix, float] = {}
        self.float_seconds = self._seconds(None)

    def options(self, mix: Mix) -> PlanConfig:
        """Return the options of a mix."""
        return options_of(self._plan, self._units, mix, self._kinds)

    def target(self, mix: Mix) -> Target:
        """Return the table of the types in a mix."""
        return target_for(self._name, self.options(mix), self._cpu)

    def percent(self, mix: Mix) -> float:
        """Return the predicted time of a mix in percent of that of the float network."""
        if mix not in self._known:
            self._known[mix] = self.percent_of(make_plan(self._meter.model, self.target(mix), self.options(mix)))
        return self._known[mix]

    def percent_of(self, plan: Plan) -> float:
        """Return the predicted time under a plan in percent of that of the float network."""
        return 100.0 * self._seconds(plan) / (self.float_seconds or 1.0)

    def _seconds(self, plan: Plan | None) -> float:
        return self._predicted(self._meter.drafted(plan), self._gpu, half=self._half)


@dataclass(frozen=True)
class Start:
    """Where a search for types starts.

    Args:
        fastest: The mix with the least predicted time that was found.
        costs: What each unit costs in each of its types beside the one it has there.
        pairs: What neighbours save where they change to the same type together.
    """

    fastest: Mix
    costs: Costs
    pairs: tuple[Pair, ...] = ()


def fastest_mix(
    clock: MixClock, units: Sequence[Unit], kinds: Sequence[QuantType], advance: Callable[[int, int], None]
) -> Start:
    """Find the fastest mix, and what each other type of each operator costs beside it.

    It starts from the fastest single type, and asks of each operator alone which other type would save time: a Q or DQ
    between two types is counted, that between two operators which change together twice. Where all that saves time
    alone does not save it together, the single type stays.

    Args:
        clock: Predicts times.
        units: The operators.
        kinds: The types.
        advance: Told about progress.
    """
    base = min((uniform(units, kind) for kind in kinds), key=clock.percent)
    whole, rows = clock.percent(base), []
    for number, unit in enumerate(units):
        others = (_changed(base, number, position, unit) for position in range(len(unit.kinds)))
        rows.append(tuple(clock.percent(mix) - whole for mix in others))
        advance(number + 1, len(units))
    fastest = min((base, _one_by_one(units, base, rows)), key=clock.percent)
    taken = [unit.kinds.index(kind) for unit, kind in zip(units, fastest, strict=True)]
    costs = tuple(tuple(cost - row[place] for cost in row) for row, place in zip(rows, taken, strict=True))
    return Start(fastest, costs, _pairs(clock, units, fastest, costs))


def _one_by_one(units: Sequence[Unit], base: Mix, rows: Sequence[tuple[float, ...]]) -> Mix:
    """Return the type of each operator that saves most beside a mix."""
    return tuple(
        unit.kinds[min(range(len(row)), key=lambda place: (row[place], unit.kinds[place] is not kind))]
        for unit, row, kind in zip(units, rows, base, strict=True)
    )


def _pairs(clock: MixClock, units: Sequence[Unit], mix: Mix, costs: Sequence[Sequence[float]]) -> tuple[Pair, ...]:
    """Find what two units that follow one another save where both change to one type, and each alone costs time."""
    found, whole = [], clock.percent(mix)
    for first, (one, two) in enumerate(pairwise(units)):
        for kind in one.kinds:
            places = one.kinds.index(kind), two.kinds.index(kind) if kind in two.kinds else -1
            alone = costs[first][places[0]], costs[first + 1][places[1]]
            if places[1] < 0 or kind in (mix[first], mix[first + 1]) or min(alone) <= 0:
                continue
            together = clock.percent((*mix[:first], kind, kind, *mix[first + 2 :])) - whole
            if sum(alone) - together > _LEAST:
                found.append(Pair((first, first + 1), places, sum(alone) - together))
    return tuple(found)


def _changed(mix: Mix, number: int, position: int, unit: Unit) -> Mix:
    return (*mix[:number], unit.kinds[position], *mix[number + 1 :])


def weighed(
    run: Run, opened: Opened, what: tuple[Sequence[Unit], Sequence[QuantType]], gpu: Gpu, batch: Batch | None
) -> tuple[MixClock, Start]:
    """Predict what each type costs each operator, in the shapes of one sample.

    Args:
        run: The run; its target is that of all types.
        opened: The model.
        what: The operators, and the types.
        gpu: The GPU.
        batch: The sample; None where none can be read.
    """
    units, kinds = what
    model = opened.prepared.model
    with run.stage("weigh"), run.listener.progress("weighing types", len(units)) as advance:
        meter = WorkMeter(model, {} if batch is None else shapes_in(model, batch), run.target)
        clock = MixClock(run, meter, units, kinds, gpu)
        return clock, fastest_mix(clock, units, kinds, advance)
