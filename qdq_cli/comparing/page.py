"""The page of `qdq compare --report`: the outputs, then what each layer adds and what has accumulated there."""

from __future__ import annotations

from collections.abc import Iterator

from calibrators.metrics import SQNR_CEILING_DB
from qdq_cli.comparing.record import Comparison, LayerError, Layers
from qdq_cli.comparing.text import by_reason, node_text, short_cause, start_text
from qdq_cli.pages.page import Bar, Bars, Block, Cell, Facts, Note, Page, Section, Table
from qdq_cli.pages.text import number

MOST_DB = 80.0
"""Errors smaller than this are drawn alike; equal tensors have no error at all."""


def comparison_page(found: Comparison) -> Page:
    """Compose the page of a comparison."""
    facts = Facts(tuple(_facts(found)))
    sections = [
        Section("Summary", "", (facts, *(Note(text) for text in found.notes))),
        Section("Outputs", "The quantized model against the reference, in ONNX Runtime.", (_outputs(found),)),
    ]
    if found.layers is not None:
        sections += _layer_sections(found.layers)
    return Page("Comparison", found.quantized, tuple(sections))


def _facts(found: Comparison) -> Iterator[tuple[str, Cell]]:
    yield "reference", found.reference
    yield "quantized", found.quantized
    yield "samples", f"{found.samples}; batch size {found.batch_size}"
    if found.preprocessing:
        yield "preprocessing", found.preprocessing + (" (assumed; --preprocess chooses)" if found.assumed else "")
    if found.layers is not None:
        yield "shared tensors", f"{found.layers.shared} of {found.layers.tensors}"
        yield "starts at", start_text(found.layers)


def _outputs(found: Comparison) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            "equal" if distance.equal else f"{distance.sqnr_db:.1f}",
            f"{distance.cosine:.6f}",
            number(distance.max_error),
            "" if distance.top1_agreement is None else f"{distance.top1_agreement:.1f}",
            "" if distance.top5_agreement is None else f"{distance.top5_agreement:.1f}",
            "" if distance.softmax_kl is None else number(distance.softmax_kl),
        )
        for name, distance in found.outputs.items()
    ]
    rows += [(name, "not compared: its shape depends on the values", *[""] * 5) for name in found.not_compared]
    columns = ("output", "SQNR, dB", "cosine", "largest error", "top-1, %", "top-5, %", "KL, nats")
    return Table(columns, tuple(rows), frozenset(range(1, 7)))


def _layer_sections(layers: Layers) -> Iterator[Section]:
    own = sorted((layer for layer in layers.ranked if layer.local is not None), key=lambda layer: layer.order)
    yield Section(
        "Layers in order",
        "SQNR of every tensor that is computed from quantized ones. Local: its layer alone, fed FP32. Accumulated: as "
        "deployed, with all errors from before. Where the accumulated bar falls to the local one, damage starts.",
        (_bars(own, layers.start), *_remarks(layers)),
    )
    yield Section("Why they err", "The largest error of its own first.", (_causes(layers),))


def _bars(own: list[LayerError], start: str | None) -> Bars:
    rows = tuple(
        Bar(
            node_text(layer),
            (None if layer.local is None else layer.local.sqnr_db, layer.accumulated.sqnr_db),
            "damage starts here" if layer.tensor == start else "all zero as deployed" if layer.dead else "",
        )
        for layer in own
    )
    return Bars("SQNR, dB", ("local", "accumulated"), rows, MOST_DB)


def _remarks(layers: Layers) -> Iterator[Block]:
    if layers.not_compared:
        names = ", ".join(layers.not_compared)
        yield Note(f"Not compared, because they hold NaN or Inf or their size depends on the values: {names}.")
    for reason, tensors in by_reason(layers.unmatched).items():
        yield Note(f"Not compared ({reason}): {', '.join(tensors)}.")


def _causes(layers: Layers) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            node_text(layer),
            "equal" if layer.local.sqnr_db == SQNR_CEILING_DB else f"{layer.local.sqnr_db:.1f}",
            f"{layer.accumulated.sqnr_db:.1f}",
            short_cause(layer.cause),
            f"{layer.cause.share_percent:.0f}",
            layer.cause.text,
        )
        for layer in layers.ranked
        if layer.local is not None and layer.cause is not None
    ]
    columns = ("layer", "local, dB", "accumulated, dB", "cause", "share, %", "what is seen")
    return Table(columns, tuple(rows), frozenset({1, 2, 4}))
