"""Repair of constants in types of quantization that other nodes than DQ read: engines hold none (section 1.9)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from qdq_cli.fixing.record import Left, Outcome, Repair
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import name_of
from qdq_cli.targets.tensorrt.importer.refusals import reads_stored_constant


def store_as_int32(graph: ir.Graph) -> Outcome:
    """Let nodes that read an INT8 constant read a Cast of the same numbers in INT32; a DQ goes on reading INT8."""
    names, casts = Names(graph), dict[ir.Value, ir.Value]()
    done: list[Repair] = []
    left: list[Left] = []
    for node in list(graph):
        while (value := reads_stored_constant(node)) is not None:
            if value.dtype is not ir.DataType.INT8:
                left.append(Left("1.9", node.name or "", f"only DQ reads a constant of {value.dtype}"))
                break
            casts[value] = casts.get(value) or _cast(graph, names, value)
            for slot in [slot for slot, read in enumerate(node.inputs) if read is value]:
                node.replace_input_with(slot, casts[value])
            text = f"the INT8 constant that {node.op_type} reads is stored as INT32, behind a Cast"
            done.append(Repair("1.9", node.name or "", name_of(value), text, True))
    return done, left


def _cast(graph: ir.Graph, names: Names, value: ir.Value) -> ir.Value:
    """Insert a Cast of a constant's numbers in INT32 at the beginning of a graph; returns what it makes."""
    if value.const_value is None:
        raise ValueError("a constant without data reached a repair")
    name = name_of(value)
    numbers = np.asarray(value.const_value.numpy()).astype(np.int32)
    wide = add_initializer(graph, names.value(f"{name}_int32"), numbers)
    result = ir.Value(name=names.value(f"{name}_int8"), type=value.type, shape=value.shape)
    attributes = [ir.AttrInt64("to", int(ir.DataType.INT8))]
    cast = ir.Node("", "Cast", [wide], attributes, outputs=[result], name=names.node(f"{name}_Cast"))
    graph.insert_before(graph[0], cast)
    return result
