"""From observations to ranges: tensors that share a scale get one range, and who reads them says how it is chosen.

This is the one way there is, for whoever writes a model, a file of ranges or a table of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from calibrators.histogram import Histogram
from calibrators.methods import CANDIDATES, Method, choose_range, minmax, mse
from calibrators.methods.curves import CURVES, curve_mse
from calibrators.parts import PARTS, merged_alike
from calibrators.ranges import Range
from calibrators.scale_groups import ScaleGroup
from calibrators.scheme import DEFAULT, Dynamic, Scheme
from calibrators.table import CalibrationTable
from calibrators.wide import is_seen, merged, wide_tensors


@dataclass(frozen=True)
class Chosen:
    """The ranges of a table.

    Args:
        ranges: Tensor name -> range, ordered by name: of every tensor of the table, and of those in their scale groups.
        judged: Tensors whose range is the best for the outputs of what reads them.
        wide: Tensors whose depthwise readers stay float, because no range serves them.
        grouped: Whether it is known which tensors share a scale and what reads them; else each has a range of its own.
    """

    ranges: Mapping[str, Range]
    judged: frozenset[str]
    wide: frozenset[str]
    grouped: bool


def range_of(histograms: Mapping[str, Histogram], group: ScaleGroup, method: Method, scheme: Scheme = DEFAULT) -> Range:
    """Choose the range of a scale group from all that was observed of it.

    Blocks that find their scales at run time cut nothing off: what has to be known before is the largest value.

    Raises:
        NoDataError: Nothing was observed.
    """
    if isinstance(scheme.granularity, Dynamic):
        return minmax(merged(histograms, group.observed))
    if method.name == "auto" and group.judged == PARTS:
        return mse(merged_alike([histograms[name] for name in group.observed]), scheme)
    together = merged(histograms, group.observed)
    if method.name == "auto" and group.judged in CURVES:
        return curve_mse(together, group.judged, scheme)
    return choose_range(together, CANDIDATES[chosen_by(group, method)] if method.name == "auto" else method, scheme)


def chosen_by(group: ScaleGroup, method: Method, scheme: Scheme = DEFAULT) -> str:
    """Name what chooses the range of a group where a method, or `auto`, is asked for: a method or one of `CURVES`."""
    if isinstance(scheme.granularity, Dynamic):
        return "minmax"
    return method.name if method.name != "auto" else group.judged or "mse"


def ranges_of(table: CalibrationTable, method: Method, scheme: Scheme = DEFAULT) -> Chosen:
    """Choose the range of every tensor by `method` for `scheme`, as whoever quantizes the model from the table does.

    What nobody quantizes because of the wide tensors gets the range it would have without that rule.

    Raises:
        NoDataError: A tensor has seen no value.
    """
    histograms = {name: entry.histogram for name, entry in table.entries.items()}
    plain = table.groupings[0].groups if table.groupings else ()
    wide = wide_tensors(histograms, plain, scheme)
    fitting = next((grouping.groups for grouping in reversed(table.groupings) if grouping.wide == wide), None)
    ranges: dict[str, Range] = {}
    judged: dict[str, bool] = {}
    for group in _layers(histograms, plain, fitting or ()):
        kept = range_of(histograms, group, method, scheme)
        ranges |= dict.fromkeys((*group.observed, *group.tensors), kept)
        judged |= dict.fromkeys(group.tensors, method.name == "auto" and bool(group.judged))
    return Chosen(
        ranges={name: ranges[name] for name in sorted(ranges)},
        judged=frozenset(name for name, so in judged.items() if so),
        wide=wide,
        grouped=fitting is not None,
    )


def _layers(
    histograms: Mapping[str, Histogram], plain: Sequence[ScaleGroup], fitting: Sequence[ScaleGroup]
) -> Iterator[ScaleGroup]:
    """The groups by which ranges are chosen, a later one instead of an earlier one of the same tensors."""
    groups = [group for group in dict.fromkeys((*plain, *fitting)) if is_seen(histograms, group)]
    taken = {name for group in groups for name in (*group.observed, *group.tensors)}
    yield from (ScaleGroup((name,), (name,)) for name in histograms if name not in taken)
    moved = {name for group in fitting if is_seen(histograms, group) for name in group.tensors}
    yield from (group for group in groups if group not in fitting and not moved.issuperset(group.tensors))
    yield from (group for group in groups if group in fitting)
