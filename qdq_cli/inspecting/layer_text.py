"""The predicted layers of an inspection as lines of text: a table of all, and what becomes of one node in words."""

from __future__ import annotations

import difflib

from qdq_cli.inspecting.record import Inspection
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.amounts import share_text, short_count, size_text
from qdq_cli.screen.lines import Paint, beside, elided, plain, wrapped
from qdq_cli.targets.tensorrt.cost_record import LayerCost
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import Layer

STANDALONE = "W_STANDALONE"
"""How the codes of stand-alone Q/DQ start; their kernels are shown with more than the finding says."""


SHORT = {
    Precision.INT8: "i8",
    Precision.FP8: "f8",
    Precision.MXFP8: "mx8",
    Precision.NVFP4: "nv4",
    Precision.INT4: "i4",
    Precision.FP16: "f16",
    Precision.BF16: "b16",
    Precision.FP32: "f32",
    Precision.OTHER: "other",
}
"""Type -> how it is written in the table of layers."""


def layer_lines(inspection: Inspection, paint: Paint = plain) -> list[str]:
    """Return the table of all predicted layers and stand-alone kernels."""
    lines = [f"{'types':<12}  {'layer':<42}  {'MACs':>8}  {'bytes':>8}  ?"]
    for layer, cost in zip(inspection.layers, inspection.layer_costs, strict=True):
        colour = "green" if layer.quantized else "blue"
        name = elided(f"{layer.op_type} {layer.name}" + (f" +{len(layer.nodes) - 1}" * (len(layer.nodes) > 1)), 42)
        lines.append(_columns(paint(f"{_types(layer):<12}", colour), name, cost, layer.uncertain))
    for found, cost in zip(inspection.standalone, inspection.standalone_costs, strict=True):
        ends = SHORT[found.precision], SHORT[found.float_precision]
        kind = "<-".join(ends if found.op_type == "QuantizeLinear" else reversed(ends))
        name = elided(f"{found.reason.value} {found.tensor}", 42)
        lines.append(_columns(paint(f"{kind:<12}", "red"), name, cost, found.uncertain))
    return [*lines, "", *_legend(inspection)]


def _legend(inspection: Inspection) -> list[str]:
    """Explain the short names of the types that are there, and the marks."""
    named = [f"{SHORT[precision]}: {precision.value}" for precision in SHORT if _occurs(inspection, precision)]
    alone = any(layer.weight is not None and layer.weight.alone for layer in inspection.layers)
    marks = [*named, *(["+i4: weights alone in INT4"] if alone else []), "+N: N more nodes in the kernel"]
    return [*beside("; ".join(marks) + ";", label_width=0), "last column ?: uncertain (--node says why)"]


def _occurs(inspection: Inspection, precision: Precision) -> bool:
    return any(entry.type == precision.value for entry in inspection.summary.by_type)


def _columns(types: str, name: str, cost: LayerCost, uncertain: str) -> str:
    macs = "?" if cost.macs is None else short_count(cost.macs) if cost.macs else ""
    size = "?" if cost.size_bytes is None else size_text(cost.size_bytes)
    return f"{types}  {name:<42}  {macs:>8}  {size:>8}  {'?' if uncertain else ''}".rstrip()


def _types(layer: Layer) -> str:
    inputs = [SHORT[operand.precision] for operand in layer.inputs]
    if len(inputs) > 2:
        inputs = [f"{len(inputs)}x{'/'.join(sorted(set(inputs)))}"]
    weight = f"+{SHORT[layer.weight.precision]}" if layer.weight is not None and layer.weight.alone else ""
    return f"{'/'.join(inputs)}{weight}->{SHORT[layer.output_precision]}"


def node_lines(inspection: Inspection, name: str) -> list[str]:
    """Explain in words what becomes of a node: the chain of rules that led there.

    Raises:
        UsageError: The model has no node of that name.
    """
    lines = []
    for layer, cost in zip(inspection.layers, inspection.layer_costs, strict=True):
        if name in layer.nodes or name in layer.absorbed:
            lines += _layer_story(inspection, layer, cost, name)
    for found, cost in zip(inspection.standalone, inspection.standalone_costs, strict=True):
        if name in found.nodes:
            lines += wrapped(f"'{name}' becomes a stand-alone {found.op_type} kernel: {found.reason.value}.", 0)
            lines += wrapped(found.because) + wrapped(f"What would remove it: {found.remedy}")
            lines += wrapped(f"Uncertain: {found.uncertain}") if found.uncertain else []
            lines += [] if cost.size_bytes is None else [f"  It moves {size_text(cost.size_bytes)}."]
    if not lines and name in inspection.other_nodes:
        lines = [f"'{name}' is in no kernel.", *wrapped(inspection.other_nodes[name])]
    if not lines:
        raise _unknown_node(inspection, name)
    said = (*inspection.findings, *inspection.advice)
    about = [entry for entry in said if entry.node == name and not entry.code.startswith(STANDALONE)]
    return lines + [line for entry in about for line in wrapped(f"{entry.code}: {entry.found}. {entry.fix}")]


def _layer_story(inspection: Inspection, layer: Layer, cost: LayerCost, name: str) -> list[str]:
    if name == layer.name:
        kernel = f"{_article(layer)} {layer.precision.value} kernel"
        lines = wrapped(f"{layer.op_type} '{name}' runs in {kernel} ({_types(layer)}).", 0)
    else:
        role = "is absorbed by" if name in layer.absorbed else "is part of"
        kernel = f"the {layer.precision.value} kernel"
        lines = wrapped(f"'{name}' {role} {kernel} of {layer.op_type} '{layer.name}' ({_types(layer)}).", 0)
    if len(layer.nodes) > 1:
        lines += wrapped(f"Nodes: {', '.join(layer.nodes)}")
    for operand in layer.inputs:
        lines += wrapped(f"reads {operand.tensor} as {operand.precision.value}")
    lines += wrapped(f"writes {', '.join(layer.outputs)} as {layer.output_precision.value}")
    for reason in layer.because or ("No rule makes it INT8: its operator has no INT8 form (class F).",):
        lines += wrapped(f"- {reason}")
    lines += wrapped(f"Uncertain: {layer.uncertain}") if layer.uncertain else []
    if cost.macs:
        share = macs_share(cost.macs, inspection.summary.macs)
        lines.append(f"  It makes {short_count(cost.macs)} multiply-accumulates ({share}).")
    return lines


def _article(layer: Layer) -> str:
    return "a" if layer.precision in (Precision.BF16, Precision.OTHER) else "an"


def _unknown_node(inspection: Inspection, name: str) -> UsageError:
    names = [node for layer in inspection.layers for node in (*layer.nodes, *layer.absorbed)]
    names += [node for found in inspection.standalone for node in found.nodes] + list(inspection.other_nodes)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"Near names: {', '.join(near)}." if near else "`qdq inspect --layers` lists the nodes."
    return UsageError(f"The model has no node '{name}'.", hint)


def macs_share(part: int | None, whole: int) -> str:
    """Write what part of the model's multiply-accumulates something makes."""
    return "MACs unknown" if part is None else f"{share_text(100 * part / whole)} of the MACs" if whole else "no MACs"
