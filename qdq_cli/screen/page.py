"""What a page says, as frozen records of texts and numbers; `render` alone knows how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from qdq_cli.screen.graph import Graph, Twins
from qdq_cli.screen.pictures import Pictures


class Tone(Enum):
    """What a badge's colour means; its text says the same in words."""

    INT8 = "int8"
    FLOAT = "float"
    STANDALONE = "standalone"
    GOOD = "good"
    WARNING = "warning"
    PLAIN = "plain"


@dataclass(frozen=True)
class Badge:
    """A word with a colour behind it, as a cell of a table or as a value of facts."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Link:
    """A name as a cell of a table, which leads to its box in the graph of the page.

    Args:
        text: What is shown.
        node: The name of the box (`graph.Node`).
    """

    text: str
    node: str


@dataclass(frozen=True)
class Meter:
    """A number as a cell of a table, with a bar below it.

    Args:
        text: The number as it is shown.
        share: How long the bar is, 0 to 1.
    """

    text: str
    share: float


Cell = str | Badge | Link | Meter


@dataclass(frozen=True)
class Facts:
    """Labelled values; a value with line ends is shown in several lines."""

    rows: tuple[tuple[str, Cell], ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells, each as long as `columns`.

    Args:
        columns: Headings.
        rows: The cells.
        numeric: Which columns hold numbers, counted from 0; they are set to the right.
        highlight: Which rows stand out, counted from 0; say why in a cell too.
        caption: What the rows are, or "".
        anchors: What each row is about (`anchors`), so that a graph shows it; none, or one a row.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    highlight: frozenset[int] = frozenset()
    caption: str = ""
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bar:
    """A row of `Bars`.

    Args:
        label: What it is about.
        values: A value for each of the series; None or NaN where there is none.
        note: Anything else, or "".
        stands_out: Whether it is drawn to be seen at once; say why in the note.
        anchor: What it is about (`anchors`), or "".
    """

    label: str
    values: tuple[float | None, ...]
    note: str = ""
    stands_out: bool = False
    anchor: str = ""


@dataclass(frozen=True)
class Bars:
    """Numbers of many things, drawn to one scale that includes 0.

    Args:
        unit: What the numbers are, with their unit: "SQNR, dB".
        series: A name for each value of a row; one or two.
        rows: In the order in which they are shown.
        most: Values above are drawn as this one, such as the SQNR of equal outputs; None for no such limit.
        equal: The value, and all above, that stands for no difference at all and is written in words.
    """

    unit: str
    series: tuple[str, ...]
    rows: tuple[Bar, ...]
    most: float | None = None
    equal: float | None = None


@dataclass(frozen=True)
class HistogramPlot:
    """The values of one tensor.

    Args:
        tensor: Its name.
        low: Smallest value.
        high: Largest value.
        counts: Values in equal cells from `low` to `high` (`calibrators.profile`); 64 to 100 of them look best.
        amax: The range [-amax, amax] that is kept; None where none was chosen.
        share_clipped: Share of the values outside, 0 to 1.
        note: Anything else, or "".
        maker: The operator that makes it, with its name; "" where that is not known.
        anchor: What it is about (`anchors`), or "".
    """

    tensor: str
    low: float
    high: float
    counts: tuple[float, ...]
    amax: float | None = None
    share_clipped: float = 0.0
    note: str = ""
    maker: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Histograms:
    """Any number of tensors, to choose from; heights are logarithmic."""

    plots: tuple[HistogramPlot, ...]


@dataclass(frozen=True)
class BoxRow:
    """A row of `BoxPlots`.

    Args:
        label: What it is about.
        quantiles: Smallest, first quartile, median, third quartile, largest.
        outliers: (name, number) of single things far from the others.
        note: Anything else, or "".
        anchor: What it is about (`anchors`), or "".
    """

    label: str
    quantiles: tuple[float, float, float, float, float]
    outliers: tuple[tuple[str, float], ...] = ()
    note: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class BoxPlots:
    """Spreads of positive numbers, on one logarithmic scale; a 0 is drawn at its left end.

    Args:
        unit: What the numbers are.
        rows: In the order in which they are shown.
    """

    unit: str
    rows: tuple[BoxRow, ...]


@dataclass(frozen=True)
class Point:
    """A point of a `Curve`."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Curve:
    """Points in two dimensions, some of them joined, such as accuracy against the share in INT8.

    Args:
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        points: Listed below the drawing under their numbers.
        chosen: Which of them was chosen, counted from 0; None for none.
        joined: Which of them a line joins, in its order; None for all in the order given.
        x_end: Where the axis of x ends at least; None where the points say it.
    """

    x_label: str
    y_label: str
    points: tuple[Point, ...]
    chosen: int | None = None
    joined: tuple[int, ...] | None = None
    x_end: float | None = None


@dataclass(frozen=True)
class Note:
    """A sentence."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Verdict:
    """What a run comes to, in a line that stands on top of a page.

    Args:
        tone: GOOD, WARNING or, for bad, STANDALONE: its colour.
        word: The verdict: "good".
        text: The sentence behind it.
        looks: What to look at, most important first, each with the name of its box in the graph, or "".
    """

    tone: Tone
    word: str
    text: str
    looks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Part:
    """A part of a row of `Shares`."""

    name: str
    value: float
    text: str


@dataclass(frozen=True)
class Shares:
    """What wholes are made of, a bar for each: multiply-accumulates by type.

    Args:
        rows: (label, parts): parts of one name have one colour in all rows.
    """

    rows: tuple[tuple[str, tuple[Part, ...]], ...]


Block = Facts | Table | Bars | Histograms | BoxPlots | Curve | Note | Verdict | Shares | Graph | Twins | Pictures


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading; one without blocks says that there is nothing."""

    heading: str
    intro: str = ""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def anchors_of(page: Page) -> Iterator[str]:
    """Yield what the marks of a page are about; "" for those about nothing in particular."""
    for block in (block for section in page.sections for block in section.blocks):
        match block:
            case Table():
                yield from block.anchors
            case Bars() | BoxPlots():
                yield from (row.anchor for row in block.rows)
            case Histograms():
                yield from (plot.anchor for plot in block.plots)
