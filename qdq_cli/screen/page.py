"""What a page says, as frozen records of texts and numbers; `render` alone knows how it looks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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


Cell = str | Badge


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
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numeric: frozenset[int] = frozenset()
    highlight: frozenset[int] = frozenset()
    caption: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of `Bars`.

    Args:
        label: What it is about.
        values: A value for each of the series; None or NaN where there is none.
        note: Anything else, or "".
        stands_out: Whether it is drawn to be seen at once; say why in the note.
    """

    label: str
    values: tuple[float | None, ...]
    note: str = ""
    stands_out: bool = False


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
    """

    tensor: str
    low: float
    high: float
    counts: tuple[float, ...]
    amax: float | None = None
    share_clipped: float = 0.0
    note: str = ""


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
    """

    label: str
    quantiles: tuple[float, float, float, float, float]
    outliers: tuple[tuple[str, float], ...] = ()
    note: str = ""


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
    """Points joined in the order given, such as accuracy against the share in INT8.

    Args:
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        points: Listed below the drawing under their numbers.
        chosen: Which of them was chosen, counted from 0; None for none.
    """

    x_label: str
    y_label: str
    points: tuple[Point, ...]
    chosen: int | None = None


@dataclass(frozen=True)
class Note:
    """A sentence."""

    text: str
    warning: bool = False


Block = Facts | Table | Bars | Histograms | BoxPlots | Curve | Note | Pictures


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
