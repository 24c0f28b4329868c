"""What a runtime makes of the operators of a model, as a record of reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RuntimeLayer:
    """A layer of a model as a runtime runs it.

    Args:
        kind: What the runtime calls it.
        precision: The type it computes in.
        originals: The operators of the model that are computed in it.
    """

    kind: str
    precision: str
    originals: tuple[str, ...]

    @property
    def on_integers(self) -> bool:
        """Whether it computes on 8-bit integers."""
        return self.precision in ("i8", "u8")


@dataclass(frozen=True)
class RuntimeLayers:
    """What a runtime makes of the weighted operators of a model, as it says itself.

    Args:
        weighted: Convolutions and matrix products that it runs.
        integer: Those it runs on integers.
    """

    weighted: int
    integer: int
