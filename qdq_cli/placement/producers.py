"""Float operators that a quantized Concat reads from: a kernel for each."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import is_op
from qdq_cli.placement.groups import Run
from qdq_cli.placement.operators import data_slots
from qdq_cli.placement.target import Target
from qdq_cli.placement.topology import Topology
from qdq_cli.placement.wants import Wants


def float_producers(graph: Topology, runs: Run, wants: Wants, target: Target) -> list[str]:
    """Report every quantized Concat most of whose inputs come from float operators: one kernel for each (P13)."""
    notes = []
    for node in graph.nodes:
        if node not in runs.nodes or not is_op(node, "Concat"):
            continue
        reads = [node.inputs[slot] for slot in data_slots(node)]
        able = sum(value in wants.capable for value in reads)
        if 2 * able >= len(reads):
            continue
        kernels = {start for value in reads if value is not None for start in _starts(value, runs)} - wants.capable
        if len(kernels) > 1:
            notes.append(
                f"Concat '{node.name}' joins {len(reads) - able} of {len(reads)} inputs from float operators, which "
                f"takes {target.title} {len(kernels)} extra kernels; --exclude its reader if that is slow (P13)."
            )
    return notes


def _starts(value: ir.Value, runs: Run) -> set[ir.Value]:
    """Return the tensors in front of a run that one of its tensors comes from."""
    found: set[ir.Value] = set()
    front = [value]
    while front:
        value = front.pop()
        maker = value.producer()
        if maker is None or maker not in runs.nodes:
            found.add(value)
        else:
            front += [read for slot in data_slots(maker) if (read := maker.inputs[slot]) is not None]
    return found
