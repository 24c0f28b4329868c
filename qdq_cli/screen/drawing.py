"""The drawings of a page as inline SVG: bars, histograms, box plots, curves.

Places along an axis are in percent, so that a drawing fits any width while its letters keep their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdq_cli.screen.anchors import id_of
from qdq_cli.screen.graph import TITLES
from qdq_cli.screen.page import Bar, Bars, BoxPlots, BoxRow, Curve, HistogramPlot, Shares
from qdq_cli.screen.page_text import breakable, escaped, number, percent

HEIGHT = 100  # of a histogram, in its own units
_NARROWEST = 1e-9  # the share of the largest number at which a logarithmic axis begins at the latest
_TOO_LARGE = 1e100
_LONG = 30  # rows
_MOST_TICKS = 6
_MOST_OUTLIERS = 24  # drawn in a row
_NAMED_OUTLIERS = 3
_MOST_NAMES = 15  # points of a curve that all carry their number


def finite(values: Iterable[float | None]) -> list[float]:
    """The values that can be drawn: neither NaN nor Inf, nor so large that their differences would be."""
    return [value for value in values if value is not None and abs(value) < _TOO_LARGE]


def bars(block: Bars) -> str:
    """Rows of one or two bars from 0, with their numbers beside them."""
    most = math.inf if block.most is None else block.most
    values = [min(value, most) for row in block.rows for value in finite(row.values)]
    low, high = min([0.0, *values]), max([0.0, *values])
    rows = [_bar_row(row, low, high, block) for row in block.rows]
    return f"<figure>{_key(block)}{_list('rows', rows)}</figure>"


def _key(block: Bars) -> str:
    """The unit, and with two series which colour and place is which."""
    if len(block.series) < 2:
        return f"<figcaption>{escaped(', '.join((*block.series, block.unit)))}</figcaption>"
    names = [
        f'<svg class="key" aria-hidden="true"><rect class="{tone}" width="100%" height="100%"/></svg> '
        f"{escaped(name)} ({place})"
        for name, tone, place in zip(block.series, ("one", "two"), ("upper", "lower"), strict=True)
    ]
    return f"<figcaption>{escaped(block.unit)}: {', '.join(names)}</figcaption>"


def _bar_row(row: Bar, low: float, high: float, block: Bars) -> str:
    most, equal = (math.inf if end is None else end for end in (block.most, block.equal))
    extent = high - low or 1.0
    thickness = 16 / len(row.values) if row.values else 16
    shapes = []
    for place, (value, tone) in enumerate(zip(row.values, ("one", "two"), strict=False)):
        for drawn in finite((value,)):
            start, end = sorted((0.0, min(drawn, most)))
            shapes.append(
                f'<rect class="{tone}" x="{_percent(start - low, extent)}" y="{place * thickness:g}" '
                f'width="{_percent(end - start, extent)}" height="{thickness - 1:g}"/>'
            )
    if low < 0:
        zero = _percent(-low, extent)
        shapes.append(f'<line class="whisker" x1="{zero}" x2="{zero}" y1="0" y2="16"/>')
    shown = " / ".join("equal" if value is not None and value >= equal else number(value) for value in row.values)
    svg = f'<svg aria-hidden="true">{"".join(shapes)}</svg>'
    marked = ' class="mark"' if row.stands_out else ""
    return _row(row.label, svg, _value(shown, row.note), f"{id_attribute(row.anchor)}{marked}")


def _value(shown: str, note: str) -> str:
    more = f' <span class="faint">{escaped(note)}</span>' if note else ""
    return f'<span class="value">{escaped(shown)}{more}</span>'


def _row(label: str, drawing: str, value: str, attributes: str) -> str:
    return f"<li{attributes}><span>{breakable(label)}</span>{drawing}{value}</li>"


def shares(block: Shares) -> str:
    """A bar for each whole, made of its parts; the words beside it say the same."""
    colours = {name: place % _COLOURS for place, name in enumerate(_part_names(block))}
    rows = []
    for label, parts in block.rows:
        whole, start, shapes = sum(part.value for part in parts) or 1.0, 0.0, []
        for part in parts:
            tone = _SHADED.get(part.name, f"p{colours[part.name]}")
            shapes.append(
                f'<rect class="{tone}" x="{_percent(start, whole)}" y="0" '
                f'width="{_percent(part.value, whole)}" height="16"><title>{escaped(part.text)}</title></rect>'
            )
            start += part.value
        said = ", ".join(part.text for part in parts)
        drawn = f'<svg aria-hidden="true">{"".join(shapes)}</svg>'
        rows.append(_row(label, drawn, _value(said, ""), ""))
    return f"<figure>{_list('rows shares', rows)}</figure>"


_COLOURS = 6
_SHADED = {text: f"n-{shade.value}" for shade, texts in TITLES.items() for text in texts.split(", ")}
"""Name of a type -> its colour, the same as in graphs."""


def _part_names(block: Shares) -> list[str]:
    return list(dict.fromkeys(part.name for _, parts in block.rows for part in parts))


def id_attribute(anchor: str) -> str:
    """What names a mark, so that graphs find it; nothing where it is about nothing in particular."""
    return f' id="{id_of(anchor)}"' if anchor else ""


def _list(kind: str, rows: Sequence[str]) -> str:
    """Rows, in a box of their own that scrolls where they are many."""
    long = ' tabindex="0"' if len(rows) > _LONG else ""
    return f'<ul class="{kind}{" scroll" if long else ""}"{long} data-find>{"".join(rows)}</ul>'


def _percent(part: float, whole: float) -> str:
    return f"{round(100 * part / whole, 2):g}%"


def histogram(plot: HistogramPlot, *, is_open: bool) -> str:
    """One tensor: a small drawing beside its name that grows when it is opened, and the numbers in words."""
    extent = plot.high - plot.low
    drawable = 1 / _TOO_LARGE < extent < _TOO_LARGE
    width = max(len(plot.counts), 1)
    shapes = [f'<path class="bars" d="{_steps(plot.counts)}"/>']
    if drawable and plot.amax is not None and finite((plot.amax,)):
        shapes += _limits(plot, plot.amax, width, extent)
    svg = (
        f'<svg viewBox="0 0 {width} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="histogram">{"".join(shapes)}</svg>'
    )
    note = f"<p>{escaped(plot.note)}</p>" if plot.note else ""
    ends = f'<div class="ends"><span>{number(plot.low)}</span><span>{number(plot.high)}</span></div>'
    maker = f' <span class="faint">{breakable(plot.maker)}</span>' if plot.maker else ""
    return (
        f"<details{id_attribute(plot.anchor)}{' open' if is_open else ''}><summary>{svg}"
        f"<span>{breakable(plot.tensor)}{maker}</span>"
        f'<span class="meta">{_meta(plot)}</span></summary><div class="body">{ends}{note}</div></details>'
    )


def _meta(plot: HistogramPlot) -> str:
    if plot.amax is None:
        return "no range chosen"
    outside = f"{percent(plot.share_clipped)} clipped" if plot.share_clipped else "nothing clipped"
    return f"amax {number(plot.amax)}, {outside}"


def _limits(plot: HistogramPlot, amax: float, width: int, extent: float) -> list[str]:
    """Lines at -amax and amax, and a shade over what lies outside; nothing where they are beyond the values."""
    shapes = []
    lower, upper = ((end - plot.low) / extent * width for end in (-amax, amax))
    if 0 < lower <= width:
        shapes.append(f'<rect class="cut" width="{lower:.2f}" height="{HEIGHT}"/>')
        shapes.append(f'<path class="amax" d="M{lower:.2f} 0V{HEIGHT}"/>')
    if 0 <= upper < width:
        shapes.append(f'<rect class="cut" x="{upper:.2f}" width="{width - upper:.2f}" height="{HEIGHT}"/>')
        shapes.append(f'<path class="amax" d="M{upper:.2f} 0V{HEIGHT}"/>')
    return shapes


def _steps(counts: Sequence[float]) -> str:
    """The outline of the bars, one unit wide each, logarithmic in height; equal neighbours are one step."""
    logs = [math.log1p(count) if math.isfinite(count) and count > 0 else 0.0 for count in counts]
    highest = max(logs, default=0.0) or 1.0
    tops = [HEIGHT - min(math.ceil(HEIGHT * log / highest), HEIGHT) for log in logs]
    runs = ((top, sum(1 for _ in equal)) for top, equal in itertools.groupby(tops))
    return f"M0 {HEIGHT}" + "".join(f"V{top}h{run}" for top, run in runs) + f"V{HEIGHT}z"


def box_plots(block: BoxPlots) -> str:
    """Rows of boxes under one logarithmic axis."""
    numbers = [value for row in block.rows for value in (*row.quantiles, *(spot for _, spot in row.outliers))]
    positive = [value for value in finite(numbers) if value > 1 / _TOO_LARGE]
    high = max(positive, default=1.0)
    low = max(min(positive, default=1.0), high * _NARROWEST)
    if high < low * 1.01:
        low, high = low / 2, high * 2
    ticks = log_ticks(low, high)
    marks = "".join(
        f'<text class="mid" x="{_log_place(tick, low, high)}" y="14">{number(tick)}</text>' for tick in ticks
    )
    axis = (
        f'<li class="axisrow"><span></span><svg class="axis" aria-hidden="true">{marks}</svg>'
        '<span class="faint">median (smallest to largest)</span></li>'
    )
    rows = [_box_row(row, low, high, ticks) for row in block.rows]
    caption = f"<figcaption>{escaped(block.unit)}, logarithmic</figcaption>"
    return f"<figure>{caption}{_list('rows tall', [axis, *rows])}</figure>"


def _box_row(row: BoxRow, low: float, high: float, ticks: Sequence[float]) -> str:
    least, first, median, third, most = row.quantiles
    shapes = [
        f'<line class="tick" x1="{place}" x2="{place}" y1="0" y2="20"/>'
        for place in (_log_place(tick, low, high) for tick in ticks)
    ]
    if len(finite(row.quantiles)) == len(row.quantiles):
        ends = [_log_share(value, low, high) for value in (least, first, median, third, most)]
        at = [f"{100 * end:.2f}%" for end in ends]
        shapes += [
            f'<line class="whisker" x1="{at[0]}" x2="{at[4]}" y1="10" y2="10"/>',
            f'<rect class="one" x="{at[1]}" y="4" width="{max(100 * (ends[3] - ends[1]), 0.4):.2f}%" height="12"/>',
            f'<line class="middle" x1="{at[2]}" x2="{at[2]}" y1="4" y2="16"/>',
        ]
    shapes += [
        f'<circle class="outlier" cx="{_log_place(value, low, high)}" cy="10" r="3"/>'
        for _, value in row.outliers[:_MOST_OUTLIERS]
        if finite((value,))
    ]
    shown = f"{number(median)} ({number(least)} to {number(most)})"
    note = "; ".join(text for text in (_named_outliers(row), row.note) if text)
    drawn = f'<svg aria-hidden="true">{"".join(shapes)}</svg>'
    return _row(row.label, drawn, _value(shown, note), id_attribute(row.anchor))


def _named_outliers(row: BoxRow) -> str:
    if not row.outliers:
        return ""
    named = ", ".join(f"{name} {number(value)}" for name, value in row.outliers[:_NAMED_OUTLIERS])
    more = len(row.outliers) - _NAMED_OUTLIERS
    return f"outliers: {named}" + (f" and {more} more" if more > 0 else "")


def _log_share(value: float, low: float, high: float) -> float:
    """Place 0..1 of a number on a logarithmic axis; 0 and less are at its left end."""
    inside = min(max(value, low), high)
    return math.log(inside / low) / math.log(high / low)


def _log_place(value: float, low: float, high: float) -> str:
    return f"{100 * _log_share(value, low, high):.2f}%"


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2 and 5 of each decade, or fewer where they would crowd."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) > _MOST_TICKS:
        ticks = [tick for tick in ticks if f"{tick:e}".startswith("1.0")]
    return ticks[:: -(-len(ticks) // _MOST_TICKS)] if ticks else []


def linear_ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two ends."""
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * size for digit in (1, 2, 5, 10) if digit * size >= rough)
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [min(max(number * step, low), high) for number in numbers]  # rounding may put a product just outside


@dataclass(frozen=True)
class _Frame:
    """The ends of the axes of a curve."""

    left: float
    right: float
    bottom: float
    top: float

    def across(self, x: float) -> str:
        return _percent(x - self.left, self.right - self.left)

    def down(self, y: float) -> str:
        return _percent(self.top - y, self.top - self.bottom)

    def grid(self) -> list[str]:
        """Lines at round numbers, with the numbers."""
        shapes = []
        for y in linear_ticks(self.bottom, self.top):
            shapes.append(f'<line class="tick" x1="0" x2="100%" y1="{self.down(y)}" y2="{self.down(y)}"/>')
            shapes.append(f'<text class="end" x="-6" y="{self.down(y)}" dy="4">{number(y)}</text>')
        for x in linear_ticks(self.left, self.right):
            shapes.append(f'<line class="tick" x1="{self.across(x)}" x2="{self.across(x)}" y1="0" y2="100%"/>')
            shapes.append(f'<text class="mid" x="{self.across(x)}" y="100%" dy="16">{number(x)}</text>')
        return shapes


def curve(block: Curve) -> str:
    """The drawing of a curve; the points carry their numbers from the list below it."""
    spots = [
        (place, point.x, point.y) for place, point in enumerate(block.points) if len(finite((point.x, point.y))) > 1
    ]
    if not spots:
        return ""
    ends = [] if block.x_end is None else [block.x_end]
    frame = _Frame(*_padded([*(x for _, x, _ in spots), *ends]), *_padded([y for _, _, y in spots]))
    places = {place: (frame.across(x), frame.down(y)) for place, x, y in spots}
    shapes = frame.grid()
    joined = range(len(block.points)) if block.joined is None else block.joined
    for (x, y), (next_x, next_y) in itertools.pairwise(places[place] for place in joined if place in places):
        shapes.append(f'<line class="link" x1="{x}" y1="{y}" x2="{next_x}" y2="{next_y}"/>')
    named = len(spots) <= _MOST_NAMES
    for place, (x, y) in places.items():
        if named or place in (0, block.chosen, len(block.points) - 1):
            shapes.append(f'<text class="mid name" x="{x}" y="{y}" dy="-12">{place + 1}</text>')
    shapes += [_spot(block, place, *spot) for place, spot in places.items()]
    label = escaped(f"{block.y_label} against {block.x_label}")
    svg = f'<svg role="img" aria-label="{label}">{"".join(shapes)}</svg>'
    caption = f"up: {escaped(block.y_label)}; to the right: {escaped(block.x_label)}"
    return f'<figure><figcaption>{caption}</figcaption><div class="curve">{svg}</div></figure>'


def _spot(block: Curve, place: int, x: str, y: str) -> str:
    """A point, which tells its values to a mouse over it, a finger on it, and the keyboard."""
    point = block.points[place]
    lines = (f"{place + 1}: {point.label}", f"{block.x_label} {number(point.x)}", f"{block.y_label} {number(point.y)}")
    side, start = ("end", -12) if float(x.removesuffix("%")) > 50 else ("start", 12)
    first = 18 if float(y.removesuffix("%")) < 50 else -46
    tip = "".join(
        f'<text class="tip {side}" x="{x}" y="{y}" dx="{start}" dy="{first + 18 * row}">{escaped(line)}</text>'
        for row, line in enumerate(lines)
    )
    ring = f'<circle class="chosen" cx="{x}" cy="{y}" r="9"/>' if place == block.chosen else ""
    return (
        f'<g class="spot" tabindex="0"><title>{escaped("; ".join(lines))}</title>{ring}'
        f'<circle class="near" cx="{x}" cy="{y}" r="14"/><circle class="point" cx="{x}" cy="{y}" r="4"/>{tip}</g>'
    )


def _padded(values: list[float]) -> tuple[float, float]:
    """The ends of an axis with a little room around the values."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high), 1 / _TOO_LARGE)
    if high - low > 1e-9 * size:  # closer numbers look equal
        return low - (high - low) * 0.06, high + (high - low) * 0.06
    room = 0.1 * size if size > 1 / _TOO_LARGE else 1.0
    return low - room, high + room
