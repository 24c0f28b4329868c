"""What a runtime on CPUs is predicted to make of a model, on a page: its graph, its operators, Q and DQ left."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from qdq_cli.placement.prediction import Alone
from qdq_cli.screen import anchors
from qdq_cli.screen.amounts import share_text, short_count
from qdq_cli.screen.graph import Edge, Graph, Node, Shade
from qdq_cli.screen.page import Badge, Cell, Facts, Link, Meter, Section, Table, Tone
from qdq_cli.screen.page_text import NOTHING, number
from qdq_cli.targets.fused_work import FusedWork, OperatorWork, because_text
from qdq_cli.targets.page_blocks import in_blocks


def fused_sections(title: str, found: FusedWork, model: ir.Model) -> tuple[Section, ...]:
    """Compose the sections.

    Args:
        title: Name of the runtime.
        found: What was weighed.
        model: The model.
    """
    graph = Section(
        "Graph",
        f"The operators as {title} is predicted to compute them, in the order of the model: on integers or in floats "
        "by their colour. Lines are tensors; those of the colour of integers carry codes.",
        (_graph(found, model),),
    )
    tables = [_operators(found), *([_alone(found)] if found.alone else [])]
    about = (
        f"What {title} is predicted to compute on integers, without running it; of one sample where the batch is open."
    )
    return graph, Section(f"Predicted operators in {title}", about, (Facts(_totals(found)), *tables))


def _totals(found: FusedWork) -> tuple[tuple[str, Cell], ...]:
    inside = sum(not entry.boundary for entry, _ in found.alone)
    rows: list[tuple[str, Cell]] = [
        ("on integers", f"{found.weighted_on_codes} of {found.weighted} weighted operators"),
        ("Q/DQ that stay", f"{inside} inside, {len(found.alone) - inside} at inputs and outputs"),
    ]
    if found.macs_percent is not None:
        rows.append(("MACs on integers", share_text(found.macs_percent)))
    if found.traffic_percent is not None:
        rows.append(("traffic in codes", f"{share_text(found.traffic_percent)} of the activation elements moved"))
    return tuple(rows)


def _operators(found: FusedWork) -> Table:
    most = max((each.macs or 0 for each in found.operators), default=0) or 1
    rows = tuple(_row(each, most) for each in found.operators)
    columns = ("operator", "in the model", "computed as", "because", "MACs, M", "elements moved, k")
    return Table(columns, rows, frozenset((4, 5)), caption="operators in the order of the model")


def _row(each: OperatorWork, most: int) -> tuple[Cell, ...]:
    kind = Badge(each.becomes, Tone.INT8) if each.becomes else Badge("float", Tone.FLOAT)
    macs = NOTHING if each.macs is None else number(each.macs / 1e6) if each.macs else ""
    moved = NOTHING if each.codes is None else number((each.codes + (each.floats or 0)) / 1e3)
    bar = Meter(macs, each.macs / most) if each.macs else macs
    return Link(each.name, each.name), each.op_type, kind, each.because, bar, moved


def _alone(found: FusedWork) -> Table:
    rows = tuple(
        (
            entry.tensor,
            Badge(_sign(entry), Tone.STANDALONE),
            because_text(entry),
            NOTHING if size is None else number(size / 1e3),
        )
        for entry, size in found.alone
    )
    return Table(("tensor", "operator", "because", "elements, k"), rows, frozenset((3,)), caption="Q and DQ that stay")


def _sign(entry: Alone) -> str:
    return "Q" if entry.op_type == "QuantizeLinear" else "DQ"


def _graph(found: FusedWork, model: ir.Model) -> Graph:
    ends = [value.name or "" for value in model.graph.inputs]
    nodes = [_end(name, "graph input") for name in ends] + [_box(each) for each in found.operators]
    made = {name: place for place, name in enumerate(ends)}
    made.update({name: len(ends) + place for place, each in enumerate(found.operators) for name in each.writes})
    edges = [edge for place, each in enumerate(found.operators) for edge in _edges(each, len(ends) + place, made)]
    for value in model.graph.outputs:
        nodes.append(_end(value.name or "", "graph output"))
        if (source := made.get(value.name or "")) is not None:
            edges.append(Edge(source, len(nodes) - 1, value.name or "", Shade.FP32))
    boxes, separator = in_blocks(tuple(nodes), tuple(edges))
    return Graph(boxes, tuple(edges), separator=separator)


def _edges(each: OperatorWork, place: int, made: dict[str, int]) -> Sequence[Edge]:
    shade = Shade.INT8 if each.becomes else Shade.FP32
    return [Edge(made[name], place, name, shade) for name in each.reads if name in made and made[name] < place]


def _end(name: str, what: str) -> Node:
    return Node(f"{what} {name}", name, Shade.END, facts=(("what", what),), members=(name,))


def _box(each: OperatorWork) -> Node:
    facts = [("computed as", each.becomes or "float"), *((("because", each.because),) if each.because else ())]
    facts += [("MACs", "not known" if each.macs is None else short_count(each.macs))] if each.macs != 0 else []
    shows = [("Values", anchors.values_of(name)) for name in (*each.reads, *each.writes)]
    return Node(
        each.name,
        each.op_type,
        Shade.INT8 if each.becomes else Shade.FP32,
        macs=each.macs,
        facts=tuple(facts),
        shows=(("Weight, by channel", anchors.channels_of(each.name)), *shows),
        members=(*each.reads, *each.writes),
    )
