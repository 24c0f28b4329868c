"""The records that the table of TensorRT's importer is made of, and the releases its entries speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from qdq_cli.config.forms import TensorRT

Version = tuple[int, int]
"""A release of TensorRT: (10, 4) is TensorRT 10.4."""

ALWAYS: Version = (0, 0)
"""Older than every release spoken of."""

SPAN: Mapping[TensorRT, tuple[Version, Version]] = {
    TensorRT.V8_4: ((8, 4), (8, 4)),
    TensorRT.V8_6: ((8, 6), (8, 6)),
    TensorRT.V10: ((10, 0), (10, 16)),
    TensorRT.V11: ((11, 0), (11, 4)),
}
"""Release that qdq speaks of -> the oldest and the newest of the minor releases it stands for."""

Types = Mapping[ir.DataType, Version]
"""Element type -> the oldest release that takes it."""


@dataclass(frozen=True)
class Limit:
    """A form of an operator that ONNX allows and some releases refuse, or read as something else.

    Args:
        form: What is refused, behind the operator's name: "with dilations".
        holds: Says whether a node has that form.
        way_out: What to do about it, in sentences.
        since: The oldest release that reads it; None where none does.
        first: The oldest release that refuses it.
    """

    form: str
    holds: Callable[[ir.Node], bool]
    way_out: str
    since: Version | None = None
    first: Version = ALWAYS


@dataclass(frozen=True)
class Row:
    """What the importer makes of one operator.

    Args:
        since: The oldest release that reads it; None where none does.
        types: Element types of its data that are read; empty where the type is judged elsewhere.
        limits: Forms that are refused.
        data: Slots whose type is meant; -1 is the first output.
        way_out: What to do where the operator is refused.
    """

    since: Version | None = ALWAYS
    types: Types = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    data: tuple[int, ...] = (0,)
    way_out: str = ""


@dataclass(frozen=True)
class Refusal:
    """One thing in a model that the importer of some release refuses.

    Args:
        is_operator: Whether the operator itself is refused, not its form or type.
        found: What is there.
        way_out: What to do about it.
        since: The oldest release that reads it; None where none does.
        first: The oldest release that refuses it.
    """

    is_operator: bool
    found: str
    way_out: str
    since: Version | None = None
    first: Version = ALWAYS

    @property
    def releases(self) -> tuple[TensorRT, ...]:
        """The releases that refuse it, each with all its minor releases."""
        return tuple(
            release
            for release, (oldest, newest) in SPAN.items()
            if oldest >= self.first and (self.since is None or newest < self.since)
        )

    @property
    def partly(self) -> tuple[TensorRT, ...]:
        """The releases of which some minor ones refuse it, and newer ones read it."""
        return tuple(
            release
            for release, (oldest, newest) in SPAN.items()
            if self.since is not None and oldest < self.since <= newest
        )


def version_text(version: Version) -> str:
    """Write a version as people do: 10.4, and 11 for 11.0."""
    major, minor = version
    return f"{major}.{minor}" if minor else str(major)
