"""A page with every block in it, and a reader of pages that knows whether they are well formed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html.parser import HTMLParser

from qdq_cli.screen.page import (
    Badge,
    Bar,
    Bars,
    BoxPlots,
    BoxRow,
    Curve,
    Facts,
    HistogramPlot,
    Histograms,
    Note,
    Page,
    Point,
    Section,
    Table,
    Tone,
)

LONG_NAME = "/backbone/stage3/block5/depthwise_separable/pointwise/Conv_output_0_with_a_suffix_without_any_end_at_all"


def names(count: int) -> list[str]:
    return [f"/backbone/stage{n // 4}/block{n % 4}/conv{n}/Conv" for n in range(count)]


def plot(tensor: str, seed: int = 0, amax: float | None = 1.0) -> HistogramPlot:
    counts = tuple(round(1e5 * math.exp(-(((cell - 30) / (6 + seed % 7)) ** 2))) for cell in range(80))
    return HistogramPlot(tensor, -1.2, 3.0 + seed, counts, amax, 0.00012, "Its scale also serves x." if seed else "")


def full_page(count: int = 40) -> Page:
    """Every block, with long names and more rows than fit a screen."""
    labels = [*names(count - 1), LONG_NAME]
    int8, kept = Badge("INT8", Tone.INT8), Badge("float", Tone.FLOAT)
    rows = tuple((name, "Conv", int8 if place % 3 else kept, f"{place}.5") for place, name in enumerate(labels))
    bars = tuple(Bar(name, (30.0 + place, 20.0 - place), "" if place else "first") for place, name in enumerate(labels))
    boxes = tuple(
        BoxRow(name, (0.001, 0.02, 0.05, 0.08, 0.5), (("channel 3", 0.9),) if place % 3 else (), "64 channels")
        for place, name in enumerate(labels)
    )
    points = (Point(0, 60, "all float"), Point(70, 38, "b"), Point(95, 30, "c"), Point(100, 12, "all INT8"))
    return Page(
        "Sample",
        "a folder/model.onnx",
        (
            Section("Summary", "In short.", (Facts((("model", LONG_NAME), ("lines", "one\ntwo"), ("state", int8))),)),
            Section("Notes", "", (Note("A note."), Note("An alarm.", warning=True))),
            Section(
                "Layers", "", (Table(("layer", "op", "in", "MACs"), rows, frozenset((3,)), frozenset((1,)), "all"),)
            ),
            Section("Errors", "", (Bars("SQNR, dB", ("local", "accumulated"), bars),)),
            Section("Activations", "", (Histograms(tuple(plot(name, n) for n, name in enumerate(labels))),)),
            Section("Weights", "", (BoxPlots("amax of a channel", boxes),)),
            Section("Frontier", "", (Curve("in INT8, % of MACs", "SQNR, dB", points, 2),)),
            Section("Empty"),
        ),
    )


VOID = frozenset({"meta", "br", "wbr", "input", "link", "img"})


@dataclass
class Reader(HTMLParser):
    """Reads a page: its texts, tags and attributes; raises AssertionError where tags do not nest."""

    html: str
    open_tags: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    goes_on: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.html)
        self.close()
        assert not self.open_tags

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.goes_on = tag == "wbr"
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open_tags, f"<{tag}/> closes itself in SVG alone"
        self.handle_starttag(tag, attrs)
        self.open_tags.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags and self.open_tags[-1] == tag, f"</{tag}> after {self.open_tags}"
        self.open_tags.pop()

    def handle_data(self, data: str) -> None:
        if self.open_tags and self.open_tags[-1] not in ("style", "script"):
            if self.goes_on:
                self.texts[-1] += data
            else:
                self.texts.append(data)
            self.goes_on = False

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [value for _, key, value in self.attributes if key == name]
