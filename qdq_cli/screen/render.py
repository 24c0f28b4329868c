"""A page as HTML, and as a file: whole or not at all, the same bytes for the same page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from calibrators.cache_file import write_atomically
from calibrators.errors import CacheFileError
from qdq_cli.process.errors import UsageError
from qdq_cli.screen import drawing
from qdq_cli.screen.anchors import GRAPH, id_of
from qdq_cli.screen.graph import Graph, Twins
from qdq_cli.screen.graph_html import graph_html, graph_script, graph_style
from qdq_cli.screen.page import (
    Badge,
    Bars,
    Block,
    BoxPlots,
    Cell,
    Curve,
    Facts,
    Histograms,
    Link,
    Meter,
    Note,
    Page,
    Section,
    Shares,
    Table,
    Tone,
    Verdict,
    anchors_of,
)
from qdq_cli.screen.page_text import breakable, escaped, number
from qdq_cli.screen.pictures import POLICY, Pictures, pictures_html
from qdq_cli.screen.style import SCRIPT, STYLE

EMPTY = '<p class="faint">Nothing to show.</p>'


def write_page(page: Page, path: Path) -> None:
    """Write a page, so that a reader finds the old file or the whole new one; a symbolic link stays one.

    Raises:
        UsageError: The file cannot be written; nothing is left behind.
    """
    try:
        write_atomically(path, render(page).encode("utf-8"))
    except CacheFileError as error:
        raise UsageError(error.message, "Is there room on the disk?") from error


def render(page: Page) -> str:
    """A page as one HTML document that fetches nothing; scripts and styles other than its own are forbidden in it."""
    drawn = any(map(_has_graph, page.sections))
    styles = (STYLE, graph_style()) if drawn else (STYLE,)
    scripts = (SCRIPT, graph_script()) if drawn else (SCRIPT,)
    policy = (
        f"default-src 'none'; style-src {_digests(styles)}; script-src {_digests(scripts)}; "
        f"{POLICY}; base-uri 'none'; form-action 'none'"
    )
    links = [f'<a href="#s{place}">{escaped(part.heading)}</a>' for place, part in enumerate(page.sections, 1)]
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escaped(f'{page.title}: {page.subtitle}' if page.subtitle else page.title)}</title>",
        f"{''.join(f'<style>{style}</style>' for style in styles)}</head><body>",
        f'<header><h1>{escaped(page.title)}</h1><p class="subtitle">{escaped(page.subtitle)}</p></header>',
        f"<nav>{''.join(links)}</nav><main>",
        *_sections(page),
        f"</main><script>{SCRIPT}</script></body></html>",
        "",
    ]
    return "\n".join(lines)


def _digests(texts: Iterable[str]) -> str:
    found = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in found)


def _sections(page: Page) -> Iterator[str]:
    """The sections; the script of graphs behind the first that has one, so that it is drawn before the rest is read."""
    there = frozenset(anchors_of(page))
    is_drawn = False
    for place, part in enumerate(page.sections, 1):
        yield _section(part, place, there)
        if not is_drawn and _has_graph(part):
            is_drawn = True
            yield f"<script>{graph_script()}</script>"


def _has_graph(section: Section) -> bool:
    return any(isinstance(block, Graph | Twins) for block in section.blocks)


def _section(section: Section, place: int, there: Collection[str]) -> str:
    intro = f"<p>{escaped(section.intro)}</p>" if section.intro else ""
    blocks = "\n".join(block_html(block, there) for block in section.blocks) or EMPTY
    return f'<section id="s{place}"><h2>{escaped(section.heading)}</h2>{intro}\n{blocks}</section>'


def block_html(block: Block, there: Collection[str] = ()) -> str:
    """Write one block as HTML.

    Args:
        block: What it shows.
        there: The anchors that have a mark on the page.
    """
    match block:
        case Facts():
            return _facts(block)
        case Table():
            return _table(block)
        case Bars():
            return drawing.bars(block) if block.rows else EMPTY
        case Histograms():
            return _histograms(block)
        case BoxPlots():
            return drawing.box_plots(block) if block.rows else EMPTY
        case Curve():
            return _curve(block)
        case Pictures():
            return pictures_html(block)
        case Note():
            warning = "<strong>Warning:</strong> " if block.warning else ""
            return f'<p class="note{" alarm" if block.warning else ""}">{warning}{escaped(block.text)}</p>'
        case Verdict():
            return _verdict(block)
        case Shares():
            return drawing.shares(block) if block.rows else EMPTY
        case Graph() | Twins():
            return graph_html(block, there)


def _verdict(block: Verdict) -> str:
    shows = [f" {_cell(Link('Show', node))}" if node else "" for _, node in block.looks]
    looks = "".join(f"<li>{breakable(text)}{link}</li>" for (text, _), link in zip(block.looks, shows, strict=True))
    head = f'<p><strong class="badge {block.tone.value}">{escaped(block.word)}</strong> {escaped(block.text)}</p>'
    return f'<div class="verdict v-{block.tone.value}">{head}{f"<ol>{looks}</ol>" if looks else ""}</div>'


def _facts(block: Facts) -> str:
    rows = "".join(f"<dt>{escaped(label)}</dt><dd>{_lines(value)}</dd>" for label, value in block.rows)
    return f"<dl>{rows}</dl>" if rows else EMPTY


def _lines(value: Cell) -> str:
    if not isinstance(value, str):
        return _cell(value)
    return "".join(f"<span>{escaped(line)}</span>" for line in value.split("\n"))


def _cell(cell: Cell) -> str:
    match cell:
        case Badge():
            return f'<span class="badge {cell.tone.value}">{escaped(cell.text)}</span>'
        case Link():
            return f'<a href="#{id_of(GRAPH)}" data-node="{escaped(cell.node)}">{breakable(cell.text)}</a>'
        case Meter():
            width = f"{100 * min(max(cell.share, 0.0), 1.0):.1f}%"
            bar = f'<svg class="meter" aria-hidden="true"><rect width="{width}" height="100%"/></svg>'
            return f"{escaped(cell.text)}{bar}"
        case _:
            return breakable(cell)


def _long_class(cell: Cell) -> str:
    """A sentence takes a wider column than a name."""
    return ' class="long"' if isinstance(cell, str) and len(cell) > 40 and " " in cell else ""


_MOST_COLUMNS = 3
"""With more columns, the cells of a row are set below each other on a phone, each with its heading."""


def _table(block: Table) -> str:
    if not block.rows:
        return EMPTY
    number_class = [' class="num"' if column in block.numeric else "" for column in range(len(block.columns))]
    headings = "".join(
        f'<th scope="col"{kind}>{escaped(name)}</th>'
        for name, kind in zip(block.columns, number_class, strict=True)
    )  # fmt: skip
    folds = len(block.columns) > _MOST_COLUMNS
    labels = [f' data-of="{escaped(name)}"' if folds and place else "" for place, name in enumerate(block.columns)]
    rows = []
    for place, row in enumerate(block.rows):
        cells = "".join(
            f"<td{_long_class(cell) or kind}{label}>{_cell(cell)}</td>"
            for cell, kind, label in zip(row, number_class, labels, strict=True)
        )
        kind = ' class="mark"' if place in block.highlight else ""
        name = drawing.id_attribute(block.anchors[place]) if block.anchors else ""
        rows.append(f"<tr{name}{kind}>{cells}</tr>")
    caption = f"<caption>{escaped(block.caption)}</caption>" if block.caption else ""
    kind = ' class="folds"' if folds else ""
    body = "\n".join(rows)
    return (
        f'<div class="scroll" tabindex="0" data-find><table{kind}>{caption}<thead><tr>{headings}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _histograms(block: Histograms) -> str:
    if not block.plots:
        return EMPTY
    plots = "\n".join(drawing.histogram(plot, is_open=not place) for place, plot in enumerate(block.plots))
    return f'<div class="scroll tensors" tabindex="0" data-find>{plots}</div>'


def _curve(block: Curve) -> str:
    if not block.points:
        return EMPTY
    rows: list[tuple[Cell, ...]] = []
    for place, point in enumerate(block.points):
        chosen = Badge("chosen", Tone.GOOD) if place == block.chosen else ""
        rows.append((str(place + 1), point.label, number(point.x), number(point.y), chosen))
    highlight = frozenset(() if block.chosen is None else (block.chosen,))
    columns = ("point", "what", block.x_label, block.y_label, "state")
    return drawing.curve(block) + _table(Table(columns, tuple(rows), frozenset((0, 2, 3)), highlight))
