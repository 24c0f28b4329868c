"""Read declared types and shapes as runtimes do: a negative size is a dynamic dimension, an element type of 0 is none.

GraphSurgeon, keras2onnx and MXNet write a dynamic batch as -1. ONNX Runtime runs any batch then, and so does TensorRT;
the graph library would take -1 for a size.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

from qdq_cli.model.wellformed import bodies_of


def read_declarations(model: onnx.ModelProto) -> None:
    """Take sizes below 0, and element types of 0, out of everything that a model declares, in place."""
    _read_graph(model.graph)
    for function in model.functions:
        _read_all(function.value_info)
        _read_bodies(function.node)


def _read_graph(graph: GraphProto) -> None:
    for infos in (graph.input, graph.output, graph.value_info):
        _read_all(infos)
    _read_bodies(graph.node)


def _read_bodies(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        for attribute in node.attribute:
            for body in bodies_of(attribute):
                _read_graph(body)


def _read_all(infos: Iterable[ValueInfoProto]) -> None:
    for info in infos:
        _read_type(info.type)
        if info.type.tensor_type.elem_type == TensorProto.UNDEFINED and info.type.HasField("tensor_type"):
            info.ClearField("type")


def _read_type(kind: TypeProto) -> None:
    """Take negative sizes out of a type, those of its elements included."""
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        _read_type(kind.sequence_type.elem_type)
    elif which == "optional_type":
        _read_type(kind.optional_type.elem_type)
    elif which == "map_type":
        _read_type(kind.map_type.value_type)
    elif which is not None:
        for dim in getattr(kind, which).shape.dim:
            if dim.dim_value < 0 or (dim.HasField("dim_param") and not dim.dim_param):
                dim.ClearField("dim_value")
                dim.ClearField("dim_param")
