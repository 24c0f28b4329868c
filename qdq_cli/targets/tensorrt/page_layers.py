"""What TensorRT is predicted to make of a Q/DQ model, as sections of a page: graph, cost, layers, stand-alone Q/DQ."""

from __future__ import annotations

from typing import NamedTuple

import onnx_ir as ir

from qdq_cli.placement.target import OperatorTable
from qdq_cli.screen.amounts import share_text, short_count, size_text
from qdq_cli.screen.graph import Graph
from qdq_cli.screen.page import Badge, Block, Cell, Facts, Link, Meter, Note, Part, Section, Shares, Table, Tone
from qdq_cli.screen.page_text import NOTHING, number
from qdq_cli.targets.tensorrt.cost import weigh
from qdq_cli.targets.tensorrt.cost_record import Cost, LayerCost
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.page_graph import graph_of
from qdq_cli.targets.tensorrt.page_origin import origin_of
from qdq_cli.targets.tensorrt.precision import PRECISIONS, Precision
from qdq_cli.targets.tensorrt.simulation import Layer, Simulation, Standalone


def predicted_sections(model: ir.Model, operators: OperatorTable = OPERATORS) -> tuple[Section, ...]:
    """Simulate a model and show its graph, and its layers with their costs.

    Args:
        model: A Q/DQ model; not changed. With an open batch dimension the costs are those of one sample.
        operators: As for `simulate`.
    """
    simulation, cost = weigh(model, {}, operators)
    graph = graph_of(simulation, cost, origin_of(model))
    return (graph_section(graph), cost_section(cost), layer_section(simulation, cost))


def graph_section(graph: Graph) -> Section:
    """Show the kernels as a graph."""
    return Section(
        "Graph",
        "The kernels that TensorRT is predicted to build, in the order in which they run: what each computes in by its "
        "colour. Lines are tensors; thick ones carry codes.",
        (graph,),
    )


def cost_section(cost: Cost) -> Section:
    """Show what is computed, moved and stored in which type."""
    kinds = (
        ("multiply-accumulates", [(entry.type, entry.macs, short_count(entry.macs)) for entry in cost.by_type]),
        (
            "activations moved",
            [(entry.type, entry.traffic_bytes, size_text(entry.traffic_bytes)) for entry in cost.by_type],
        ),
        ("weights stored", [(entry.type, entry.weight_bytes, size_text(entry.weight_bytes)) for entry in cost.by_type]),
        ("kernels", [(entry.type, entry.kernels, str(entry.kernels)) for entry in cost.by_type]),
    )
    rows = (
        (label, tuple(Part(name, value, f"{name} {text}") for name, value, text in found if value))
        for label, found in kinds
    )
    return Section(
        "Cost by type",
        "What the network computes, moves and stores, by the type it does so in; of known shapes, for one sample "
        "where the batch size is open.",
        (Shares(tuple((label, parts) for label, parts in rows if parts)),),
    )


def layer_section(simulation: Simulation, cost: Cost) -> Section:
    """Show the layers of a simulation with their costs."""
    blocks: list[Block] = [Facts(_totals(simulation, cost)), _layers(simulation, cost)]
    if simulation.standalone:
        blocks.append(_standalone(simulation, cost))
    if any(layer.uncertain for layer in simulation.layers):
        blocks.append(
            Note("A question mark behind a layer: public sources leave it open; qdq inspect --node says what.")
        )
    return Section(
        "Predicted TensorRT layers",
        "What TensorRT is predicted to build: kernels in graph order, predicted without TensorRT. Costs are of one "
        "sample where the batch size is open.",
        tuple(blocks),
    )


def _totals(simulation: Simulation, cost: Cost) -> tuple[tuple[str, Cell], ...]:
    rows: list[tuple[str, Cell]] = [
        (f"in {_coded(cost)}", f"{simulation.weighted_quantized} of {simulation.weighted_total} weighted operators"),
        ("stand-alone", f"{len(simulation.removable)} inside, {len(simulation.boundaries)} at the boundary"),
    ]
    if cost.quantized_macs_percent is not None:
        whole = "" if cost.unknown_macs else f" of {number(cost.macs / 1e6)} M"
        rows.append((f"MACs in {_coded(cost)}", f"{share_text(cost.quantized_macs_percent)}{whole}"))
    if cost.quantized_traffic_percent is not None:
        share = share_text(cost.quantized_traffic_percent)
        rows.append((f"traffic in {_coded(cost)}", f"{share} of the activation elements moved"))
    moved = [f"{entry.type} {number(entry.traffic_bytes / 1e3)}" for entry in cost.by_type if entry.traffic_bytes]
    return (*rows, ("moved, kB", ", ".join(moved))) if moved else tuple(rows)


def _coded(cost: Cost) -> str:
    """Name the types that products compute in; INT8 where none does."""
    found = [entry.type for entry in cost.by_type if entry.weighted_ops and PRECISIONS[entry.type].is_quantized]
    return " and ".join(found) or Precision.INT8.value


def _layers(simulation: Simulation, cost: Cost) -> Table:
    columns = ("layer", "operator", "computes in", "reads", "writes", "MACs, M", "moves, kB")
    most = _Most(
        max((entry.macs or 0 for entry in cost.layers), default=0) or 1,
        max((entry.size_bytes or 0 for entry in cost.layers), default=0) or 1,
    )
    rows = tuple(_layer_row(*pair, most) for pair in zip(simulation.layers, cost.layers, strict=True))
    return Table(columns, rows, frozenset((5, 6)), caption="kernels; bars: beside the one with most")


class _Most(NamedTuple):
    """The largest cost of a layer, which bars are drawn beside."""

    macs: int
    size_bytes: int


def _layer_row(layer: Layer, cost: LayerCost, most: _Most) -> tuple[Cell, ...]:
    more = f" +{len(layer.nodes) - 1}" if len(layer.nodes) > 1 else ""
    doubt = " ?" if layer.uncertain else ""
    reads = ", ".join(dict.fromkeys(operand.precision.value for operand in layer.inputs))
    computes = Badge(layer.precision.value, Tone.INT8 if layer.quantized else Tone.FLOAT)
    macs = NOTHING if cost.macs is None else number(cost.macs / 1e6) if cost.macs else ""
    moved = _kilobytes(cost)
    name = Link(f"{layer.name}{more}{doubt}", layer.name)
    bars = (
        Meter(macs, cost.macs / most.macs) if cost.macs else macs,
        Meter(moved, cost.size_bytes / most.size_bytes) if cost.size_bytes else moved,
    )
    return name, layer.op_type, computes, reads, layer.output_precision.value, *bars


def _kilobytes(cost: LayerCost) -> str:
    return NOTHING if cost.size_bytes is None else number(cost.size_bytes / 1e3)


def _standalone(simulation: Simulation, cost: Cost) -> Table:
    columns = ("tensor", "kernel", "reason", "because", "what would remove it", "moves, kB")
    rows = tuple(_standalone_row(*pair) for pair in zip(simulation.standalone, cost.standalone, strict=True))
    caption = "stand-alone Q/DQ kernels: those no other kernel absorbs; qdq explain REASON says more"
    return Table(columns, rows, frozenset((5,)), caption=caption)


def _standalone_row(found: Standalone, cost: LayerCost) -> tuple[Cell, ...]:
    badge = Badge(f"stand-alone {'Q' if found.op_type == 'QuantizeLinear' else 'DQ'}", Tone.STANDALONE)
    return Link(found.tensor, found.nodes[0]), badge, found.reason.value, found.because, found.remedy, _kilobytes(cost)
