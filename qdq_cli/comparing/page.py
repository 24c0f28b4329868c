"""The page of `qdq compare --report`: the outputs, then what each layer adds and what has accumulated there."""

from __future__ import annotations

from collections.abc import Iterator

from calibrators.metrics import SQNR_CEILING_DB
from qdq_cli.comparing.low_outputs import in_order
from qdq_cli.comparing.record import Comparison, LayerError, Layers, TensorDistance
from qdq_cli.comparing.saturation import saturation_text
from qdq_cli.comparing.text import advice, node_text, short_cause, sqnr_cell, start_text
from qdq_cli.quantizing.page import agreement_cell, low_notes, sqnr_badge
from qdq_cli.quantizing.report import Distance
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.anchors import cause_of, error_of
from qdq_cli.screen.page import Bar, Bars, Block, Cell, Facts, Link, Note, Page, Section, Table, Tone, Verdict
from qdq_cli.screen.page_text import number
from qdq_cli.timing.text import speed_text, times_of

MOST_DB = 80.0
"""Errors smaller than this are drawn alike; equal tensors have no error at all."""


def comparison_page(found: Comparison, predicted: tuple[Section, ...] = ()) -> Page:
    """Compose the page of a comparison.

    Args:
        found: What was found.
        predicted: What the target is predicted to make of the quantized model: its graph, and its layers.
    """
    facts = Facts(tuple(_facts(found)))
    sections = [
        Section("Summary", "", (verdict_of(found), facts, *(Note(text) for text in found.notes))),
        Section(
            "Outputs",
            "The quantized model against the reference, in ONNX Runtime.",
            (*low_notes(found.outputs, found.low), _outputs(found)),
        ),
        *predicted[:1],
    ]
    if found.layers is not None:
        sections += _layer_sections(found.layers)
    return Page("Comparison", found.quantized, (*sections, *predicted[1:]))


_GOOD_DB = 30.0
"""Outputs that keep more need no look."""


def verdict_of(found: Comparison) -> Verdict:
    """Say what a comparison comes to, by the worst output, one that is low if there is any; and which layers to see."""
    worst = next(iter(found.low), None) or min(
        found.outputs, key=lambda name: found.outputs[name].sqnr_db, default=None
    )
    if worst is None:
        return Verdict(Tone.WARNING, "look at these", "No output could be compared in numbers.")
    distance = found.outputs[worst]
    said = "is equal" if distance.equal else f"keeps {decibels(distance.sqnr_db)}"
    text = f"{'Output' if len(found.outputs) == 1 else 'The worst output,'} {worst} {said}."
    looks = tuple(_looks(found.layers)) or (("--layers says which layers add most of the error.", ""),)
    if worst in found.low:
        return Verdict(Tone.STANDALONE, "bad", f"{text} Low: {found.low[worst].text}.", looks)
    if distance.sqnr_db >= _GOOD_DB:
        return Verdict(Tone.GOOD, "good", text)
    return Verdict(Tone.WARNING, "look at these", text, looks)


def _looks(layers: Layers | None) -> Iterator[tuple[str, str]]:
    erring = [] if layers is None else [layer for layer in layers.ranked if layer.local is not None and layer.cause]
    for layer in erring[:3]:
        assert layer.local is not None and layer.cause is not None
        yield f"{node_text(layer)} alone leaves {decibels(layer.local.sqnr_db)}: {layer.cause.text}.", layer.node


def _facts(found: Comparison) -> Iterator[tuple[str, Cell]]:
    yield "reference", found.reference
    yield "quantized", found.quantized
    yield "samples", f"{found.samples}; batch size {found.batch_size}"
    if found.preprocessing:
        yield "preprocessing", found.preprocessing + (" (assumed; --preprocess chooses)" if found.assumed else "")
    if found.speed is not None:
        yield "speed", f"{speed_text(found.speed, 'the reference')}\n{times_of(found.speed)}"
    if saturation := saturation_text(found):
        yield "saturation", saturation
    if found.layers is not None:
        yield "shared tensors", f"{found.layers.shared} of {found.layers.tensors}"
        yield "starts at", start_text(found.layers)
        start = next((layer for layer in found.layers.ranked if layer.tensor == found.layers.start), None)
        if start is not None and start.cause is not None:
            yield "cause", f"{short_cause(start.cause)}: {start.cause.text}"
        if steps := advice(found.layers, found.reference):
            yield "next", "\n".join(steps)


def _outputs(found: Comparison) -> Table:
    order = in_order(found.outputs, found.low)
    rows: list[tuple[Cell, ...]] = [(name, *_figures(found.outputs[name], name in found.low)) for name in order]
    rows += [(name, str(counted), *[""] * 5) for name, counted in found.rows.items()]
    rows += [(name, "not compared: its shape depends on the values", *[""] * 5) for name in found.not_compared]
    scores = any(distance.top1_agreement is not None for distance in found.outputs.values())
    kept = len(_OUTPUT_COLUMNS) if scores else 4
    return Table(_OUTPUT_COLUMNS[:kept], tuple(cells[:kept] for cells in rows), frozenset(range(1, kept)))


_OUTPUT_COLUMNS = ("output", "SQNR, dB", "cosine", "largest error", "top-1, % (95 %)", "top-5, %", "KL, nats")
"""The last three are for class scores."""


def _figures(distance: Distance, low: bool) -> Iterator[Cell]:
    yield "equal" if distance.equal else sqnr_badge(distance.sqnr_db, low)
    yield f"{distance.cosine:.6f}"
    yield number(distance.max_error)
    yield agreement_cell(distance)
    yield "" if distance.top5_agreement is None else f"{distance.top5_agreement:.1f}"
    yield "" if distance.softmax_kl is None else number(distance.softmax_kl)


def _layer_sections(layers: Layers) -> Iterator[Section]:
    in_order = sorted(layers.ranked, key=lambda layer: layer.order)
    own = [layer for layer in in_order if layer.local is not None]
    yield Section(
        "Layers in order",
        "SQNR of every tensor that is computed from quantized ones. Local: its layer alone, fed FP32. Accumulated: as "
        "deployed, with all errors from before. Where the accumulated bar falls to the local one, damage starts.",
        (_bars(own or in_order, layers.start), *_remarks(layers)),
    )
    yield Section("Why they err", "The largest error of its own first.", (_causes(layers),))
    if layers.unmatched:
        rows = tuple((entry.tensor, entry.reason) for entry in layers.unmatched)
        yield Section("No partner", "Float tensors that are not in both models.", (Table(("tensor", "why"), rows),))


def _bars(own: list[LayerError], start: str | None) -> Bars:
    rows = tuple(
        Bar(
            node_text(layer),
            (None if layer.local is None else _drawn(layer.local), _drawn(layer.accumulated)),
            "damage starts here" if layer.tensor == start else _remark(layer),
            stands_out=layer.tensor == start,
            anchor=error_of(layer.node),
        )
        for layer in own
    )
    return Bars("SQNR, dB", ("local", "accumulated"), rows, MOST_DB, SQNR_CEILING_DB)


def _drawn(distance: TensorDistance) -> float | None:
    return distance.sqnr_db if distance.sqnr_db > -SQNR_CEILING_DB else None


def _remark(layer: LayerError) -> str:
    if layer.accumulated.is_of_nothing:
        return "all zero in FP32"
    if layer.accumulated.max_error is None:
        return "NaN or Inf as deployed"
    return "all zero as deployed" if layer.dead else ""


def _remarks(layers: Layers) -> Iterator[Block]:
    if layers.not_compared:
        names = ", ".join(layers.not_compared)
        why = "they hold NaN or Inf, their size depends on the values, or no sample computes them"
        yield Note(f"Not compared, because {why}: {names}.")


def _causes(layers: Layers) -> Table:
    shown = [layer for layer in layers.ranked if layer.cause is not None]
    rows = tuple(tuple(_cause_cells(layer, starts=layer.tensor == layers.start)) for layer in shown)
    started = frozenset(place for place, layer in enumerate(shown) if layer.tensor == layers.start)
    columns = ("layer", "local, dB", "accumulated, dB", "cause", "share, %", "what is seen")
    return Table(columns, rows, frozenset({1, 2, 4}), started, anchors=tuple(cause_of(layer.node) for layer in shown))


def _cause_cells(layer: LayerError, *, starts: bool) -> Iterator[Cell]:
    local, cause = layer.local, layer.cause
    assert local is not None and cause is not None
    yield Link(node_text(layer), layer.node)
    yield sqnr_cell(local)
    yield sqnr_cell(layer.accumulated)
    yield short_cause(cause)
    yield f"{cause.share_percent:.0f}"
    yield f"{cause.text}; damage starts here" if starts else cause.text
