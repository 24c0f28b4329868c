"""The page about a calibration cache: the range of each tensor by every method, and its values."""

from __future__ import annotations

from collections.abc import Iterator

from calibrators import CalibrationTable, profile
from qdq_cli.cache.summary import CacheSummary, TensorSummary
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.page import Cell, Facts, HistogramPlot, Histograms, Meter, Page, Section, Table, Tone, Verdict
from qdq_cli.screen.page_text import number
from qdq_cli.screen.sentences import count_text, some_of

_CELLS = 80
_SHOWN = "auto"
"""The method whose range the histograms show: the one that quantize takes by default."""


def cache_page(summary: CacheSummary, table: CalibrationTable) -> Page:
    """Compose the page of one calibration cache.

    Args:
        summary: What it holds.
        table: The same with its histograms.
    """
    seen = tuple(tensor for tensor in summary.tensors if tensor.count)
    ranges = "amax by each method; the bar below is the share of the values that it cuts off, beside the largest."
    plots = tuple(_plot(tensor, table) for tensor in seen)
    sections = [
        Section("Summary", "", (verdict_of(summary), Facts(tuple(_facts(summary))))),
        Section("Ranges", ranges, (_ranges(seen),) if seen else ()),
        Section(
            "Values",
            f"Values of each tensor, heights logarithmic; the lines are the range by {_SHOWN}, and what is shaded "
            "outside would be clipped. Open one to enlarge it.",
            (Histograms(plots),) if plots else (),
        ),
    ]
    if summary.extremes:
        rows = tuple((entry.name, number(entry.minimum), number(entry.maximum)) for entry in summary.extremes)
        extremes = Table(("tensor", "smallest", "largest"), rows, frozenset({1, 2}))
        sections.append(Section("Ends alone", "Tensors observed for --float-type.", (extremes,)))
    return Page("Calibration cache", summary.file, tuple(sections))


def verdict_of(summary: CacheSummary) -> Verdict:
    """Say whether every tensor of a cache has values."""
    empty = [tensor.name for tensor in summary.tensors if not tensor.count]
    held = f"{count_text(len(summary.tensors), 'tensor')} of {count_text(summary.samples, 'sample')}"
    if not summary.tensors or len(empty) == len(summary.tensors):
        return Verdict(Tone.STANDALONE, "bad", f"{held}, and none has a value.")
    if empty:
        return Verdict(
            Tone.WARNING, "look at these", f"{held}.", ((f"No value was observed of {some_of(empty)}.", ""),)
        )
    return Verdict(Tone.GOOD, "good", f"{held}, all with values.")


def _facts(summary: CacheSummary) -> Iterator[tuple[str, Cell]]:
    yield "file", f"{summary.file} ({size_text(summary.size_bytes)})"
    yield "model", summary.fingerprint
    yield "samples", f"{summary.samples} ({summary.samples_digest})"
    if summary.preprocessing:
        yield "preprocessing", summary.preprocessing
    yield "made with", ", ".join(f"{tool} {version}" for tool, version in summary.versions.items())


def _ranges(tensors: tuple[TensorSummary, ...]) -> Table:
    methods = tuple(dict.fromkeys(method for tensor in tensors for method in tensor.amax))
    most = max((share for tensor in tensors for share in tensor.clipped_percent.values()), default=0.0) or 1.0
    rows = tuple(
        (tensor.name, str(tensor.count), number(tensor.minimum), number(tensor.maximum), *_cells(tensor, methods, most))
        for tensor in tensors
    )
    columns = ("tensor", "values", "smallest", "largest", *methods)
    return Table(columns, rows, frozenset(range(1, len(columns))))


def _cells(tensor: TensorSummary, methods: tuple[str, ...], most: float) -> Iterator[Cell]:
    for method in methods:
        amax = tensor.amax.get(method)
        share = tensor.clipped_percent.get(method, 0.0)
        yield "" if amax is None else Meter(number(amax), share / most)


def _plot(tensor: TensorSummary, table: CalibrationTable) -> HistogramPlot:
    return HistogramPlot(
        tensor=tensor.name,
        low=tensor.minimum,
        high=tensor.maximum,
        counts=tuple(profile(table.entries[tensor.name].histogram, _CELLS).tolist()),
        amax=tensor.amax.get(_SHOWN),
        share_clipped=tensor.clipped_percent.get(_SHOWN, 0.0) / 100,
        note=f"{tensor.dtype}, {'x'.join(map(str, tensor.shape))}",
    )
