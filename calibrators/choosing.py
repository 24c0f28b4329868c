"""From observations to ranges: tensors that share a scale get one range, and who reads them says how it is chosen.

This is the one way there is, for whoever writes a model, a file of ranges or a table of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calibrators.histogram import Histogram
from calibrators.methods import Method, choose_range
from calibrators.ranges import Range
from calibrators.scale_groups import ScaleGroup
from calibrators.scheme import DEFAULT, Scheme
from calibrators.table import CalibrationTable
from calibrators.wide import is_seen, merged, wide_tensors

DIVERGENCE = "divergence"
"""What chooses in place of mse and entropy where only depthwise convolutions read a tensor (see `choose_range`)."""


@dataclass(frozen=True)
class Chosen:
    """The ranges of a table.

    Args:
        ranges: Tensor name -> range, ordered by name: of every tensor of the table, and of those in their scale groups.
        by_divergence: Tensors that a divergence chose the range of instead of the method that was asked for.
        wide: Tensors whose depthwise readers stay float, because no range serves them.
        grouped: Whether it is known which tensors share a scale and what reads them; else each has a range of its own.
    """

    ranges: Mapping[str, Range]
    by_divergence: frozenset[str]
    wide: frozenset[str]
    grouped: bool


def range_of(histograms: Mapping[str, Histogram], group: ScaleGroup, method: Method, scheme: Scheme = DEFAULT) -> Range:
    """Choose the range of a scale group from all that was observed of it.

    Raises:
        NoDataError: Nothing was observed.
    """
    return choose_range(merged(histograms, group.observed), method, scheme, depthwise=group.depthwise)


def chosen_by(group: ScaleGroup, method: Method) -> str:
    """Name what chooses the range of a group where a method is asked for."""
    return DIVERGENCE if group.depthwise and method.name in ("mse", "entropy") else method.name


def ranges_of(table: CalibrationTable, method: Method, scheme: Scheme = DEFAULT) -> Chosen:
    """Choose the range of every tensor by `method` for `scheme`, as whoever quantizes the model from the table does.

    Raises:
        NoDataError: A tensor has seen no value.
    """
    histograms = {name: entry.histogram for name, entry in table.entries.items()}
    plain = table.groupings[0].groups if table.groupings else ()
    wide = wide_tensors(histograms, plain, scheme)
    fitting = [grouping.groups for grouping in table.groupings if grouping.wide == wide]
    groups = [group for group in (fitting[0] if fitting else plain) if is_seen(histograms, group)]
    found = {name: range_of(histograms, _alone(name), method, scheme) for name in _left(histograms, groups)}
    for group in groups:
        found |= dict.fromkeys((*group.observed, *group.tensors), range_of(histograms, group, method, scheme))
    return Chosen(
        ranges={name: found[name] for name in sorted(found)},
        by_divergence=frozenset(
            tensor for group in groups if chosen_by(group, method) == DIVERGENCE for tensor in group.tensors
        ),
        wide=wide,
        grouped=bool(fitting),
    )


def _alone(name: str) -> ScaleGroup:
    return ScaleGroup((name,), (name,))


def _left(histograms: Mapping[str, Histogram], groups: Sequence[ScaleGroup]) -> list[str]:
    """The tensors that are in no group."""
    taken = {name for group in groups for name in (*group.observed, *group.tensors)}
    return [name for name in histograms if name not in taken]
