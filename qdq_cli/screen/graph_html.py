"""A graph as HTML: a frame, and its data as JSON, which the script of the page lays out and draws.

Whatever a model says becomes a text of that JSON, and the script sets texts alone, never HTML.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from qdq_cli.process.printable import printable
from qdq_cli.screen.anchors import GRAPH, id_of
from qdq_cli.screen.graph import TITLES, Graph, Node, Shade, Twins
from qdq_cli.screen.page_text import escaped

_HINT = (
    "Choose a box: a click or a tap; or, with the drawing focused, the arrow keys follow the network, + and - zoom, "
    "0 shows all of it, / searches, f fills the window. Drag to move; Ctrl and the wheel, or two fingers, zoom."
)


@cache
def graph_style() -> str:
    """Return the style sheet of graphs."""
    return Path(__file__).with_name("graph.css").read_text(encoding="utf-8")


@cache
def graph_script() -> str:
    """Return the script that lays graphs out and draws them."""
    return Path(__file__).with_name("graph.js").read_text(encoding="utf-8")


def graph_html(block: Graph | Twins, there: Collection[str]) -> str:
    """Write one graph, or two side by side.

    Args:
        block: What is drawn.
        there: The anchors that have a mark on the page.
    """
    if isinstance(block, Twins):
        return f'<div class="bleed twins">{_figure(block.left, there)}{_figure(block.right, there)}</div>'
    return f'<div class="bleed">{_figure(block, there)}</div>'


def _figure(block: Graph, there: Collection[str]) -> str:
    name = id_of(f"{GRAPH} {block.title}" if block.title else GRAPH)
    label = escaped(f"graph of the network {block.title}".strip())
    buttons = "".join(
        f'<button type="button" data-do="{do}" aria-label="{says}" title="{says}">{sign}</button>'
        for do, says, sign in (
            ("in", "zoom in", "+"),
            ("out", "zoom out", "&minus;"),
            ("fit", "show all", "all"),
            ("start", "to the beginning", "start"),
            ("full", "fill the window", "full"),
        )
    )
    return (
        f'<figure class="graph" id="{name}"><figcaption>{escaped(block.title)}{_key(block)}</figcaption>'
        f'<div class="g-bar"><input type="search" class="g-find" placeholder="find a node, operator or tensor" '
        f'aria-label="find a node, operator or tensor"><span class="g-count" role="status"></span>'
        f'<select class="g-fold" aria-label="fold blocks"></select>{buttons}</div><ul class="g-found" hidden></ul>'
        f'<div class="g-body"><svg class="g-drawing" tabindex="0" role="application" aria-label="{label}"></svg>'
        f'<svg class="g-map" preserveAspectRatio="none" aria-hidden="true"></svg>'
        f'<aside class="g-panel" tabindex="-1" aria-live="polite" aria-label="what was chosen">'
        f"<p>The graph is drawn by JavaScript; the tables below say the same.</p></aside></div>"
        f'<script type="application/json">{_json(_data(block, there))}</script></figure>'
    )


def _key(block: Graph) -> str:
    used = {node.shade for node in block.nodes}
    parts = [
        f'<span><svg aria-hidden="true"><rect class="n-{shade.value}" width="100%" height="100%" rx="3"/></svg>'
        f"{escaped(text)}</span>"
        for shade, text in TITLES.items()
        if shade in used
    ]
    return f'<span class="g-key">{"".join(parts)}<span>dark bar: bytes moved, the longest moves most</span></span>'


def _json(data: dict[str, Any]) -> str:
    """Write data so that no text in it can end the script element, or is a line end to anybody."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


class _Texts:
    """Each text once; the same names come again and again."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self.places.setdefault(printable(text), len(self.places))

    def facts(self, rows: tuple[tuple[str, str], ...]) -> list[list[int]]:
        return [[self.place(label), *map(self.place, value.split("\n"))] for label, value in rows]


def _data(block: Graph, there: Collection[str]) -> dict[str, Any]:
    texts, shades = _Texts(), list(Shade)
    blocks: dict[tuple[str, ...], int] = {}
    parents: list[list[int]] = []
    for node in block.nodes:
        for depth in range(1, len(node.block) + 1):
            path = node.block[:depth]
            if path not in blocks:
                blocks[path] = len(parents)
                parents.append([blocks.get(path[:-1], -1), texts.place(path[-1])])
    nodes = [_node(node, blocks, texts, there) for node in block.nodes]
    edges = [
        number
        for edge in block.edges
        for number in (edge.source, edge.target, texts.place(edge.tensor), shades.index(edge.shade))
    ]
    words = {"hint": _HINT, "tones": {shade.value: text for shade, text in TITLES.items()}}
    return {
        "texts": list(texts.places),
        "tones": [shade.value for shade in shades],
        "blocks": parents,
        "nodes": nodes,
        "edges": edges,
        "separator": block.separator,
        "words": words,
    }


def _node(node: Node, blocks: dict[tuple[str, ...], int], texts: _Texts, there: Collection[str]) -> list[Any]:
    return [
        texts.place(node.name),
        texts.place(node.title),
        list(Shade).index(node.shade),
        blocks.get(node.block, -1),
        node.macs,
        node.size_bytes,
        texts.place(node.mark.value),
        texts.facts(node.facts),
        [texts.place(text) for heading, anchor in node.shows if anchor in there for text in (heading, id_of(anchor))],
        texts.facts(node.more),
        [texts.place(name) for name in node.members],
    ]
