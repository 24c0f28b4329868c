"""What a runtime makes of the operators of a model, as a record of reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RuntimeLayers:
    """What a runtime makes of the weighted operators of a model, as it says itself.

    Args:
        weighted: Convolutions and matrix products that it runs.
        integer: Those it runs on integers.
    """

    weighted: int
    integer: int
