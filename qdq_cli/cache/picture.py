"""The histograms of a calibration cache as one picture, SVG or PNG: a panel a tensor, with the range of each method.

Drawn here from rectangles, lines and texts: a plotting library would be many times the size of this program for it, and
would draw other bytes with each of its releases.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from calibrators import CalibrationTable, profile
from calibrators.cache_file import write_atomically
from qdq_cli.cache.summary import CacheSummary, TensorSummary
from qdq_cli.process.errors import DataError, UsageError
from qdq_cli.process.printable import printable

COLOURS = {"auto": "#9467bd", "entropy": "#d62728", "minmax": "#7f7f7f", "percentile": "#2ca02c", "mse": "#ff7f0e"}
"""Method -> colour of the line at its range."""

_BARS = "#4c78a8"
_INK = "#222222"
_FAINT = "#bbbbbb"
_COLUMNS = 3
_PANEL = (300, 150)  # pixels
_MARGIN = 12
_HEAD = 34
_CELLS = 138
_LETTERS = 44  # of a tensor name
_MOST_PANELS = 600  # a PNG of more would be larger than viewers open


@dataclass(frozen=True)
class Rectangle:
    """A filled rectangle; pixels from the top left corner."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True)
class Line:
    """A vertical line, one pixel wide."""

    x: float
    top: float
    bottom: float
    colour: str


@dataclass(frozen=True)
class Text:
    """A line of text that begins, or with `end` ends, at a point of its baseline."""

    x: float
    y: float
    text: str
    colour: str = _INK
    end: bool = False


@dataclass(frozen=True)
class Picture:
    """Shapes on white, in the order in which they are drawn."""

    width: int
    height: int
    shapes: tuple[Rectangle | Line | Text, ...]


def picture_writer(path: Path) -> Callable[[Picture], bytes]:
    """What writes a picture in the format that a file name asks for.

    Raises:
        UsageError: It asks for neither .svg nor .png.
    """
    writers: dict[str, Callable[[Picture], bytes]] = {".svg": svg_of, ".png": png_of}
    if path.suffix.lower() not in writers:
        raise UsageError(f"--plot {path} is no picture that can be drawn.", "Name a file that ends in .svg or .png.")
    return writers[path.suffix.lower()]


def write_picture(path: Path, summary: CacheSummary, table: CalibrationTable) -> None:
    """Draw a calibration cache.

    Raises:
        UsageError: The file name asks for neither SVG nor PNG.
        DataError: The cache holds too many tensors for one picture.
        CacheFileError: The file cannot be written.
    """
    write = picture_writer(path)
    if len(summary.tensors) > _MOST_PANELS:
        raise DataError(
            f"{summary.file} holds {len(summary.tensors)} tensors; one picture shows {_MOST_PANELS} at most.",
            "Look at the table that qdq cache show prints.",
        )
    write_atomically(path, write(draw(summary, table)))


def draw(summary: CacheSummary, table: CalibrationTable) -> Picture:
    """Lay out a heading and the panels, row by row."""
    rows = -(-len(summary.tensors) // _COLUMNS)
    width = _COLUMNS * _PANEL[0] + (_COLUMNS + 1) * _MARGIN
    counts = f"{len(summary.tensors)} tensors, {summary.samples} samples, log heights"
    shapes: list[Rectangle | Line | Text] = [Text(_MARGIN, 22, f"{Path(summary.file).name}: {counts}")]
    shapes += [
        Text(width - _MARGIN - 80 * (len(COLOURS) - 1 - place), 22, name, colour, end=True)
        for place, (name, colour) in enumerate(COLOURS.items())
    ]
    for number, tensor in enumerate(summary.tensors):
        x = _MARGIN + number % _COLUMNS * (_PANEL[0] + _MARGIN)
        y = _HEAD + number // _COLUMNS * (_PANEL[1] + _MARGIN)
        shapes += _panel(x, y, tensor, profile(table.entries[tensor.name].histogram, _CELLS))
    return Picture(width, _HEAD + rows * (_PANEL[1] + _MARGIN), tuple(shapes))


def _panel(x: float, y: float, tensor: TensorSummary, counts: NDArray[np.float64]) -> list[Rectangle | Line | Text]:
    """One tensor: its name, bars on a logarithmic scale from the smallest to the largest value, the ranges."""
    left, right, top, bottom = x + 12, x + _PANEL[0] - 12, y + 24, y + _PANEL[1] - 18
    shapes: list[Rectangle | Line | Text] = [
        Rectangle(x, y, *_PANEL, "#f5f5f5"),
        Text(left, y + 16, shortened(printable(tensor.name), _LETTERS)),
        Rectangle(left, bottom, right - left, 1, _FAINT),
        Text(left, bottom + 13, f"{tensor.minimum:.4g}"),
        Text(right, bottom + 13, f"{tensor.maximum:.4g}", end=True),
    ]
    cell = (right - left) / counts.size
    heights = levels(counts) * (bottom - top)
    shapes += [
        Rectangle(left + number * cell, bottom - height, cell, height, _BARS)
        for number, height in enumerate(heights.tolist())
        if height
    ]
    extent = tensor.maximum - tensor.minimum
    for method, amax in tensor.amax.items():
        ends = [end for end in (-amax, amax) if extent and tensor.minimum <= end <= tensor.maximum]
        shapes += [
            Line(left + (end - tensor.minimum) / extent * (right - left), top, bottom, COLOURS[method]) for end in ends
        ]
    return shapes


def levels(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights 0..1 of counts on a logarithmic scale; a cell that holds anything is not empty."""
    logs = np.log1p(counts)
    highest = float(logs.max(initial=0.0))
    return logs / highest if highest else logs


def shortened(name: str, letters: int) -> str:
    """A name with its middle left out where it is too long."""
    if len(name) <= letters:
        return name
    tail = (letters - 1) * 2 // 3
    return f"{name[: letters - 1 - tail]}…{name[-tail:]}"


def svg_of(picture: Picture) -> bytes:
    """The picture as SVG 1.1."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width}" height="{picture.height}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    lines += [_svg_shape(shape) for shape in picture.shapes]
    return "\n".join([*lines, "</svg>", ""]).encode("utf-8", "replace")


def _svg_shape(shape: Rectangle | Line | Text) -> str:
    match shape:
        case Rectangle(x, y, width, height, colour):
            return f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{colour}"/>'
        case Line(x, top, bottom, colour):
            return f'<line x1="{x:.2f}" y1="{top:.2f}" x2="{x:.2f}" y2="{bottom:.2f}" stroke="{colour}"/>'
        case Text(x, y, text, colour, end):
            anchor = ' text-anchor="end"' if end else ""
            return f'<text x="{x:.2f}" y="{y:.2f}" fill="{colour}"{anchor}>{escape(printable(text))}</text>'


def png_of(picture: Picture) -> bytes:
    """The picture as PNG."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (picture.width, picture.height), "#ffffff")
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    for shape in picture.shapes:
        match shape:
            case Rectangle(x, y, width, height, colour):
                canvas.rectangle((x, y, x + max(width - 1, 0), y + max(height - 1, 0)), fill=colour)
            case Line(x, top, bottom, colour):
                canvas.line((x, top, x, bottom), fill=colour)
            case Text(x, y, text, colour, end):
                canvas.text((x, y), printable(text), fill=colour, font=font, anchor="rs" if end else "ls")
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()
