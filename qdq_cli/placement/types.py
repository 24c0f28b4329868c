"""Which weighted operator has which type, where a plan has several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from qdq_cli.config.forms import QuantType
from qdq_cli.placement.selection import Skip, matches
from qdq_cli.placement.target import Target
from qdq_cli.process.errors import UsageError

_NONE = "no weighted operator of the model"

_TAKEN_OUT = frozenset({"RUINED", "WIDE_RANGE"})
"""Obstacles that calibration finds: nobody who names a type can know them."""


def types_by_node(
    weighted: Mapping[str, ir.Node],
    rules: Sequence[tuple[str, QuantType]],
    default: QuantType,
) -> dict[str, QuantType]:
    """Return the type of each weighted node.

    Args:
        weighted: The nodes by name, those in bodies too.
        rules: Pattern of names -> type; a later one holds before an earlier one.
        default: That of all others.

    Raises:
        UsageError: A pattern matches none of them.
    """
    found = dict.fromkeys(weighted, default)
    for pattern, kind in rules:
        found |= dict.fromkeys(matches("--type-of", (pattern,), weighted, _NONE), kind)
    return found


def require_kernels(
    weighted: Mapping[str, ir.Node],
    rules: Sequence[tuple[str, QuantType]],
    planned: Sequence[tuple[Target, Sequence[Skip]]],
) -> None:
    """Refuse a type that none of the operators that a pattern gives it to can have.

    Args:
        weighted: The nodes by name.
        rules: Pattern of names -> type.
        planned: The table of each type, and what a plan for it leaves float: one for the main graph and each body.

    Raises:
        UsageError: That is so; the first operator is named with its reason.
    """
    for pattern, kind in rules:
        skips = [found for part, left in planned if part.type is kind for found in left]
        table = next(part for part, _ in planned if part.type is kind)
        lacking = {found.code for found in table.obstacles if not found.slow} - _TAKEN_OUT | {"NO_KERNEL"}
        refused = {found.node: found for found in skips if found.code in lacking}
        names = matches("--type-of", (pattern,), weighted)
        if refused.keys() >= set(names):
            first = refused[names[0]]
            raise UsageError(
                f"{first.op_type} '{first.node}' cannot have {kind.title}: {first.reason}.",
                f"Leave --type-of '{pattern}={kind.value}' out, or give it another type.",
            )
