"""A network as a graph to look at: what is drawn, as frozen records, and which marks of a page tell more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Shade(Enum):
    """What a box or a line is coloured by: the type that a kernel computes in, or what else it is."""

    INT8 = "int8"
    FP8 = "fp8"
    FP4 = "fp4"
    HALF = "half"
    FP32 = "fp32"
    STANDALONE = "standalone"
    OTHER = "other"
    END = "end"


TITLES = {
    Shade.INT8: "INT8",
    Shade.FP8: "FP8, MXFP8",
    Shade.FP4: "NVFP4, INT4",
    Shade.HALF: "FP16, BF16",
    Shade.FP32: "FP32",
    Shade.STANDALONE: "stand-alone Q or DQ",
    Shade.OTHER: "other types",
    Shade.END: "input or output",
}
"""The words for the colours, in the order of the legend."""


class Mark(Enum):
    """What makes a box stand out besides its colour."""

    NONE = ""
    ERROR = "error"
    WARNING = "warning"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Node:
    """A box.

    Args:
        name: What it is called; in two graphs of one network, the same box has the same name.
        title: Its operators: "Conv + Relu".
        shade: Its colour.
        block: The blocks it is in, the outermost first: `("layer1", "0")`.
        macs: Multiply-accumulates; None where they are not known.
        size_bytes: Bytes that it reads and writes; None where they are not known.
        mark: What makes it stand out.
        facts: Labelled values; a value with line ends is shown in several lines.
        shows: (heading, anchor) of marks of the page that are shown with it, where they are there (`anchors`).
        more: Labelled values that are shown behind these.
        members: Further names that a search finds it by: nodes and tensors in it.
    """

    name: str
    title: str
    shade: Shade
    block: tuple[str, ...] = ()
    macs: int | None = None
    size_bytes: int | None = None
    mark: Mark = Mark.NONE
    facts: tuple[tuple[str, str], ...] = ()
    shows: tuple[tuple[str, str], ...] = ()
    more: tuple[tuple[str, str], ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """A tensor on its way from one box to another.

    Args:
        source: Place of the box that makes it among the nodes.
        target: Place of the one that reads it; behind `source`, except where a loop is drawn.
        tensor: Its name.
        shade: The type it arrives in.
    """

    source: int
    target: int
    tensor: str
    shade: Shade


@dataclass(frozen=True)
class Graph:
    """Boxes and what runs between them.

    Args:
        nodes: In an order in which each stands behind those it reads from.
        edges: What connects them.
        title: Which of several graphs of a page it is; "" for the only one.
        separator: What stands between the names of blocks: "/" or ".".
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    title: str = ""
    separator: str = "/"


@dataclass(frozen=True)
class Twins:
    """Two graphs of one network side by side; what is chosen in one is chosen in the other."""

    left: Graph
    right: Graph
