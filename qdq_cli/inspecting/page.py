"""The page of `qdq inspect --report`: a verdict, the graph, what it costs, findings, and every kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qdq_cli.inspecting.beside import beside_sections
from qdq_cli.inspecting.record import Inspection
from qdq_cli.inspecting.text import figures
from qdq_cli.quantizing.page import KEPT_FLOAT, skip_blocks
from qdq_cli.screen.amounts import share_text, size_text
from qdq_cli.screen.graph import Graph
from qdq_cli.screen.page import Badge, BoxPlots, BoxRow, Cell, Facts, Link, Page, Section, Table, Tone, Verdict
from qdq_cli.screen.sentences import count_text
from qdq_cli.targets.tensorrt.cost_record import Cost
from qdq_cli.targets.tensorrt.findings import Finding, Severity
from qdq_cli.targets.tensorrt.page_graph import graph_of
from qdq_cli.targets.tensorrt.page_layers import cost_section, graph_section, layer_section
from qdq_cli.targets.tensorrt.page_origin import Origin
from qdq_cli.targets.tensorrt.simulation import LayerKind, Simulation

_MOST_LOOKS = 3
_MUCH = 90.0
"""Share of the multiply-accumulates in percent that a well quantized network has on codes."""

_TONES = {Severity.ERROR: Tone.STANDALONE, Severity.WARNING: Tone.WARNING, Severity.ADVICE: Tone.PLAIN}


@dataclass(frozen=True)
class Predicted:
    """What a page shows besides the record.

    Args:
        simulation: The kernels.
        cost: What they cost.
        origin: The model before it was simulated.
        channels: The spread of the channels of each weight.
    """

    simulation: Simulation
    cost: Cost
    origin: Origin
    channels: tuple[BoxRow, ...] = ()


def inspection_page(
    found: Inspection, predicted: Predicted, beside: tuple[Inspection, Predicted] | None = None
) -> Page:
    """Compose the page of an inspection.

    Args:
        found: What was found.
        predicted: What is shown of it besides.
        beside: The same of another form of the network, to be shown beside it.
    """
    said = (*found.findings, *found.advice)
    graph = _graph(found, predicted)
    sections = [
        Section("Summary", "", (verdict_of(found), Facts(tuple(_facts(found))))),
        *((graph_section(graph),) if beside is None else beside_sections(found, graph, beside[0], _graph(*beside))),
        cost_section(predicted.cost),
        *((_findings(said),) if said else ()),
        layer_section(predicted.simulation, predicted.cost),
    ]
    if predicted.channels:
        plots = BoxPlots("amax of a channel", predicted.channels)
        sections.append(Section("Weights", "How far the ranges of the channels of each weight lie apart.", (plots,)))
    if found.plan is not None:
        sections.append(Section("Kept float", KEPT_FLOAT, tuple(skip_blocks(found.plan.skips))))
    return Page("Inspection" if found.quantized else "Plan and inspection", found.model, tuple(sections))


def _graph(found: Inspection, predicted: Predicted) -> Graph:
    said = (*found.findings, *found.advice)
    return graph_of(predicted.simulation, predicted.cost, predicted.origin, said)


def _facts(found: Inspection) -> Iterator[tuple[str, Cell]]:
    kind = "Q/DQ model" if found.quantized else "planned; all below is predicted for the result"
    yield "model", f"{found.model} (opset {found.opset}, {size_text(found.size_bytes)}, {kind})"
    yield from figures(found)


def verdict_of(found: Inspection) -> Verdict:
    """Say what an inspection comes to: bad where TensorRT refuses, good where nothing is left to be gained."""
    summary, looks = found.summary, tuple(_looks(found))[:_MOST_LOOKS]
    if summary.errors:
        return Verdict(Tone.STANDALONE, "bad", f"{count_text(summary.errors, 'error')}: it is refused as it is.", looks)
    if not summary.weighted_quantized:
        return Verdict(Tone.STANDALONE, "bad", "No weighted operator runs on codes.", looks)
    share = summary.quantized_macs_percent
    work = (
        count_text(summary.weighted_quantized, "weighted operator")
        if share is None
        else f"{share_text(share)} of the MACs"
    )
    if not looks:
        return Verdict(Tone.GOOD, "good", f"{work} on codes, and no stand-alone Q/DQ inside the network.")
    if summary.standalone or (share or 0.0) < _MUCH:
        return Verdict(Tone.WARNING, "look at these", f"{work} on codes. What costs most:", looks)
    return Verdict(Tone.GOOD, "good", f"{work} on codes. What is left:", looks)


def _looks(found: Inspection) -> Iterator[tuple[str, str]]:
    """Yield what to look at: errors, stand-alone kernels by what they move, float operators by what they compute."""
    for entry in found.findings:
        if entry.severity is Severity.ERROR:
            yield f"{entry.code}: {entry.found}. {entry.fix}", entry.node
    alone = [
        pair for pair in zip(found.standalone, found.standalone_costs, strict=True) if not pair[0].reason.is_boundary
    ]
    kinds = defaultdict(list)
    for kernel, cost in sorted(alone, key=lambda pair: -(pair[1].size_bytes or 0)):
        kinds[kernel.reason, kernel.remedy].append((kernel, cost))
    for kernels in kinds.values():
        first = kernels[0][0]
        kind = "Q" if first.op_type == "QuantizeLinear" else "DQ"
        number = count_text(len(kernels), f"stand-alone {kind} kernel")
        moved = size_text(sum(cost.size_bytes or 0 for _, cost in kernels))
        yield f"{number}, {moved} moved. {first.because} {first.remedy}", first.nodes[0]
    floats = [
        pair
        for pair in zip(found.layers, found.layer_costs, strict=True)
        if pair[0].kind is LayerKind.WEIGHTED and not pair[0].quantized
    ]
    for layer, price in sorted(floats, key=lambda pair: -(pair[1].macs or 0)):
        part = f" ({share_text(100 * price.macs / found.summary.macs)} of the MACs)" if price.macs else ""
        yield f"{layer.op_type} {layer.name} stays float{part}. {' '.join(layer.because[:1])}", layer.name


def _findings(said: Iterable[Finding]) -> Section:
    rows = tuple(
        (
            Badge(entry.severity.value, _TONES[entry.severity]),
            entry.code,
            Link(entry.node, entry.node) if entry.node else "the model",
            entry.found,
            entry.fix,
        )
        for entry in said
    )
    columns = ("kind", "code", "node", "found", "what to do")
    return Section("Findings", "What the lint says; qdq explain CODE says more.", (Table(columns, rows),))
