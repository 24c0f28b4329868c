"""Which tensors of a plan are shifted: where what calibration saw says that it makes their steps finer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from calibrators import Histogram, Method, Range, ScaleGroup, range_of
from calibrators.methods import minmax
from calibrators.qparams import QParams, qparams_of
from calibrators.qtypes import INT8
from calibrators.scheme import Scheme
from calibrators.wide import is_seen, merged
from qdq_cli.calibrating.spread_record import ShiftGain
from qdq_cli.model.nodes import consumers, every_node, name_of
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.record import Use
from qdq_cli.placement.shifting import Region, region_of, saturates, shift_of

_PLAIN = Scheme(INT8)

CENTRED = Scheme(INT8, symmetric=False)
"""How a tensor is quantized that is shifted afterwards: its zero point goes into biases."""

MOST_OF_STEP = 2**-0.5
"""A step over all values has to become this many times as large, or less: 3 dB of noise are worth another bias."""


def with_shifts(model: ir.Model, plan: Plan, histograms: Mapping[str, Histogram], groups: Sequence[ScaleGroup]) -> Plan:
    """Return the plan whose scale groups say which tensors are shifted.

    Args:
        model: The prepared float model.
        plan: What is quantized.
        histograms: Of its tensors.
        groups: Those of its scale groups whose range calibration chooses.
    """
    if not plan.target.shifts:
        return plan
    structure = _Structure(model, plan)
    free = set(groups)
    schemes = [plan.scheme_of(number) for number in range(len(plan.groups))]
    for number, group in enumerate(plan.groups):
        if group not in free or schemes[number] != _PLAIN or not is_seen(histograms, group):
            continue
        regions = structure.regions(number)
        if not regions:
            continue
        whole = minmax(merged(histograms, group.observed))
        before, after = qparams_of(whole, _PLAIN), qparams_of(whole, CENTRED)
        finer = float(after.scale) <= MOST_OF_STEP * float(before.scale)
        if finer and structure.ends_clips(number, regions, after):
            schemes[number] = CENTRED
    return replace(plan, schemes=tuple(schemes))


class _Structure:
    """What a plan quantizes of a graph, to be asked which scale groups can be shifted.

    Args:
        model: The prepared float model.
        plan: What is quantized of it.
    """

    def __init__(self, model: ir.Model, plan: Plan) -> None:
        self._values = {
            name_of(value): value for node in every_node(model.graph) for value in node.outputs if value.name
        }
        self._group_of = {target.tensor: target.group for target in plan.targets}
        self._tensors: dict[int, list[str]] = {}
        self._uses: dict[int, set[Use]] = {}
        for target in plan.targets:
            self._tensors.setdefault(target.group, []).append(target.tensor)
            self._uses.setdefault(target.group, set()).update(target.uses)

    def regions(self, number: int) -> list[Region]:
        """Return what is shifted with the tensors of a group; nothing where that is not these alone, or cannot be."""
        found = []
        for name in self._tensors.get(number, ()):
            region = region_of(self._values[name]) if name in self._values else None
            if region is None or not self._is_alone(number, region):
                return []
            found.append(region)
        return found

    def _is_alone(self, number: int, region: Region) -> bool:
        """Say whether a region holds no quantized tensor of another group."""
        shifted = (self._group_of.get(name_of(value), number) for value in region.values)
        return all(group == number for group in shifted) and not any(
            name_of(value) in self._group_of for value in region.partners
        )

    def ends_clips(self, number: int, regions: Sequence[Region], stored: QParams) -> bool:
        """Say whether the codes of a group do the work of every Relu and Clip in its regions, which then go."""
        clips = {clip: None for region in regions for clip in region.clips}
        read = {Use(node.name or "", slot) for clip in clips for node, slot in consumers(clip.outputs[0])}
        return read <= self._uses[number] and all(saturates(clip, shift_of(stored), stored) for clip in clips)


def shift_gains(
    plan: Plan, histograms: Mapping[str, Histogram], ranges: Sequence[Range], method: Method
) -> tuple[ShiftGain, ...]:
    """Return what shifting gained, tensor by tensor in the plan's order.

    Args:
        plan: What is quantized.
        histograms: Of its tensors.
        ranges: One for each scale group.
        method: What chose them.
    """
    found = {}
    for target in plan.targets:
        number = target.group
        if plan.is_shifted(number) and target.tensor not in found and is_seen(histograms, plan.groups[number]):
            step = float(qparams_of(ranges[number], plan.scheme_of(number)).scale)
            before = qparams_of(range_of(histograms, plan.groups[number], method, _PLAIN), _PLAIN)
            found[target.tensor] = ShiftGain(target.tensor, step, float(before.scale))
    return tuple(found.values())
