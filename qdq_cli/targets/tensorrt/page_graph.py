"""The predicted kernels of a model as a graph to look at: what each computes in, what it reads, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qdq_cli.screen import anchors
from qdq_cli.screen.amounts import short_count, size_text
from qdq_cli.screen.graph import Edge, Graph, Mark, Node, Shade
from qdq_cli.targets.page_blocks import in_blocks
from qdq_cli.targets.tensorrt.cost_record import Cost, LayerCost
from qdq_cli.targets.tensorrt.findings import Finding, Severity
from qdq_cli.targets.tensorrt.page_origin import Origin
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import Layer, Simulation, Standalone

_SHADES = {
    Precision.INT8: Shade.INT8,
    Precision.FP8: Shade.FP8,
    Precision.MXFP8: Shade.FP8,
    Precision.NVFP4: Shade.FP4,
    Precision.INT4: Shade.FP4,
    Precision.FP16: Shade.HALF,
    Precision.BF16: Shade.HALF,
    Precision.FP32: Shade.FP32,
    Precision.OTHER: Shade.OTHER,
}

_MOST_TITLES = 5
_NO_RULE = "No rule makes it INT8: its operator has no INT8 form (class F)."


def graph_of(simulation: Simulation, cost: Cost, origin: Origin, findings: Sequence[Finding] = ()) -> Graph:
    """Compose the graph of a simulation.

    Args:
        simulation: The kernels.
        cost: What they cost.
        origin: What the model said before it was simulated.
        findings: What the lint says; shown with the kernels of the nodes it is about.
    """
    draft = _Draft(origin, _by_node(findings))
    for tensor in origin.inputs:
        draft.add(_end(tensor, origin, "graph input"), (tensor,))
    before, behind = _around(simulation, cost)
    for tensor in origin.inputs:
        draft.add_quantize(behind.get(tensor, ()))
    for layer, price in zip(simulation.layers, cost.layers, strict=True):
        for node in layer.nodes:
            draft.add_dequantize(before.get(node, ()))
        draft.add_layer(layer, price)
        for tensor in layer.outputs:
            draft.add_quantize(behind.get(tensor, ()))
    draft.add_dequantize(before.get("", ()))
    for name, tensor in origin.outputs.items():
        draft.add_output(name, tensor)
    nodes, separator = in_blocks(tuple(draft.nodes), tuple(draft.edges))
    return Graph(nodes, tuple(draft.edges), separator=separator)


_Alone = tuple[Standalone, LayerCost]


def _around(simulation: Simulation, cost: Cost) -> tuple[dict[str, list[_Alone]], dict[str, list[_Alone]]]:
    """Return the stand-alone DQ by the node that reads them, and the stand-alone Q by the tensor they quantize."""
    before, behind = defaultdict(list), defaultdict(list)
    for found, price in zip(simulation.standalone, cost.standalone, strict=True):
        if found.op_type == "QuantizeLinear":
            behind[found.tensor].append((found, price))
        else:
            before[found.consumer].append((found, price))
    return before, behind


def _by_node(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    found = defaultdict(list)
    for finding in findings:
        found[finding.node].append(finding)
    return found


@dataclass
class _Draft:
    """Boxes and lines so far.

    Args:
        origin: What the model said.
        findings: What the lint says, by node.
        nodes: The boxes.
        edges: The lines.
        made: Tensor -> the box that makes it as a float or as it comes.
        codes: Tensor -> the box that quantizes it in a kernel of its own.
        floats: (tensor, node that reads it) -> the box that dequantizes it for that node.
    """

    origin: Origin
    findings: Mapping[str, list[Finding]]
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    made: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    floats: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, node: Node, tensors: Sequence[str] = ()) -> int:
        """Add a box that makes tensors, and say where it is."""
        place = len(self.nodes)
        self.nodes.append(node)
        self.made.update(dict.fromkeys(tensors, place))
        return place

    def link(self, source: int | None, target: int, tensor: str, precision: Precision) -> None:
        """Connect two boxes; what nothing makes is a constant, and has no box."""
        if source is not None and source != target:
            self.edges.append(Edge(source, target, tensor, _SHADES[precision]))

    def add_quantize(self, found: Sequence[_Alone]) -> None:
        """Add the kernels that quantize a tensor."""
        for alone, price in found:
            place = self.add(_standalone(alone, price, "Q", self.origin))
            self.link(self.made.get(alone.tensor), place, alone.tensor, alone.float_precision)
            self.codes[alone.tensor] = place

    def add_dequantize(self, found: Sequence[_Alone]) -> None:
        """Add the kernels that dequantize for one node, or for the outputs."""
        for alone, price in found:
            place = self.add(_standalone(alone, price, "DQ", self.origin))
            source = self.codes.get(alone.tensor, self.made.get(alone.tensor))
            self.link(source, place, alone.tensor, alone.precision)
            self.floats[alone.tensor, alone.consumer] = place

    def add_layer(self, layer: Layer, price: LayerCost) -> None:
        """Add a kernel, and what it reads."""
        said = [entry for node in (*layer.nodes, *layer.absorbed) for entry in self.findings.get(node, ())]
        place = self.add(_kernel(layer, price, self.origin, said))
        for operand in layer.inputs:
            through = next(
                (self.floats[key] for node in layer.nodes if (key := (operand.tensor, node)) in self.floats), None
            )
            if through is None and operand.precision.is_quantized:
                through = self.codes.get(operand.tensor)
            source = self.made.get(operand.tensor) if through is None else through
            self.link(source, place, operand.tensor, operand.precision)
        self.made.update(dict.fromkeys(layer.outputs, place))

    def add_output(self, name: str, tensor: str) -> None:
        """Add an output of the graph."""
        source = self.floats.get((tensor, ""), self.made.get(tensor))
        place = self.add(_end(name, self.origin, "graph output"))
        self.link(source, place, tensor, Precision.OTHER if source is None else Precision.FP32)


def _end(tensor: str, origin: Origin, what: str) -> Node:
    facts = (("what", what), ("shape", origin.shapes.get(tensor, "not known")))
    return Node(f"{what} {tensor}", tensor, Shade.END, facts=facts, members=(tensor,), shows=_values((tensor,)))


def _standalone(found: Standalone, price: LayerCost, sign: str, origin: Origin) -> Node:
    facts = [
        ("kernel", f"stand-alone {sign}: {found.reason.value}"),
        ("because", found.because),
        ("remedy", found.remedy),
        ("tensor", _tensor(found.tensor, origin)),
        ("moves", _size(price)),
        *((("uncertain", found.uncertain),) if found.uncertain else ()),
        ("nodes", "\n".join(found.nodes)),
    ]
    return Node(
        found.nodes[0],
        f"{sign} {found.reason.value}",
        Shade.STANDALONE,
        size_bytes=price.size_bytes,
        facts=tuple(facts),
        shows=_values((found.tensor,)),
        members=(*found.nodes, found.tensor),
    )


def _kernel(layer: Layer, price: LayerCost, origin: Origin, findings: Sequence[Finding]) -> Node:
    reads = tuple(dict.fromkeys(operand.tensor for operand in layer.inputs))
    return Node(
        layer.name,
        _title(layer, origin),
        _SHADES[layer.precision],
        macs=price.macs,
        size_bytes=price.size_bytes,
        mark=_mark(findings),
        facts=(*_facts(layer, price, origin), *_said(findings)),
        more=tuple(_reasons(layer, origin)),
        shows=(*_of_nodes(layer.nodes), *_values((*reads, *layer.outputs))),
        members=(*layer.nodes, *layer.absorbed, *reads, *layer.outputs),
    )


def _title(layer: Layer, origin: Origin) -> str:
    """The operators of a kernel; the leading one first, whatever it is called in it."""
    others = [origin.operators.get(node, "") for node in layer.nodes if node != layer.name]
    named = [layer.op_type, *filter(None, others)]
    more = len(named) - _MOST_TITLES
    return " + ".join(named[:_MOST_TITLES]) + (f" + {more} more" if more > 0 else "")


def _mark(findings: Sequence[Finding]) -> Mark:
    severities = {entry.severity for entry in findings}
    if Severity.ERROR in severities:
        return Mark.ERROR
    return Mark.WARNING if Severity.WARNING in severities else Mark.NONE


def _said(findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    for entry in findings:
        yield entry.severity.value, f"{entry.code}: {entry.found}\n{entry.fix}"


def _facts(layer: Layer, price: LayerCost, origin: Origin) -> Iterator[tuple[str, str]]:
    yield "computes in", layer.precision.value
    if layer.inputs:
        yield (
            "reads",
            "\n".join(f"{_tensor(entry.tensor, origin)} as {entry.precision.value}" for entry in layer.inputs),
        )
    written = layer.output_precision.value
    yield "writes", "\n".join(f"{_tensor(tensor, origin)} as {written}" for tensor in layer.outputs)
    ends = dict.fromkeys((*(operand.tensor for operand in layer.inputs), *layer.outputs))
    if ranges := [f"{tensor}: {origin.ranges[tensor]}" for tensor in ends if tensor in origin.ranges]:
        yield "range", "\n".join(ranges)
    if price.macs != 0:
        yield "MACs", "not known" if price.macs is None else short_count(price.macs)
    yield "moves", _size(price)
    if layer.weight is not None:
        size = "" if layer.weight.size_bytes is None else f", {size_text(layer.weight.size_bytes)}"
        yield "weight", f"stored in {layer.weight.precision.value}{size}"


def _reasons(layer: Layer, origin: Origin) -> Iterator[tuple[str, str]]:
    yield "rule", "\n".join(layer.because or (_NO_RULE,))
    if layer.uncertain:
        yield "uncertain", layer.uncertain
    yield "nodes", "\n".join(f"{origin.operators.get(node, '')} {node}".strip() for node in layer.nodes)
    if layer.absorbed:
        yield "Q/DQ in it", "\n".join(layer.absorbed)


def _tensor(tensor: str, origin: Origin) -> str:
    shape = origin.shapes.get(tensor)
    return f"{tensor} ({shape})" if shape else tensor


def _size(price: LayerCost) -> str:
    if price.size_bytes is None:
        return "not known"
    parts = [f"{kind} {size_text(size)}" for kind, size in price.bytes_by_type.items()]
    return size_text(price.size_bytes) + (f" ({', '.join(parts)})" if len(parts) > 1 else "")


def _of_nodes(nodes: Sequence[str]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        yield "Error, local and accumulated", anchors.error_of(node)
        yield "Why it errs", anchors.cause_of(node)
        yield "Quantized alone", anchors.cost_of(node)
        yield "Built", anchors.built_of(node)
        yield "Weight, by channel", anchors.channels_of(node)


def _values(tensors: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        pair
        for tensor in tensors
        for pair in (("Values", anchors.values_of(tensor)), ("Own error", anchors.own_error_of(tensor)))
    )
