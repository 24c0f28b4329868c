"""The targets by name."""

from __future__ import annotations

import difflib

from qdq_cli.placement.target import Target
from qdq_cli.process.errors import UsageError
from qdq_cli.targets.tensorrt.table import TENSORRT

TARGETS = {target.name: target for target in (TENSORRT,)}
"""Name -> target."""


def target_named(name: str) -> Target:
    """Return a target.

    Raises:
        UsageError: There is none of that name.
    """
    if name in TARGETS:
        return TARGETS[name]
    near = difflib.get_close_matches(name, TARGETS, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else f"Known targets: {', '.join(TARGETS)}."
    raise UsageError(f"There is no target '{name}'.", hint)
