"""ONNX's own inference of types and shapes, asked in one place, and kept from what ends the process.

Where the type of its input is unknown, the inference of `ai.onnx.ml.LabelEncoder` reads through a null pointer (onnx
1.21 to 1.23, seen): behind an operator of an unknown domain, or one whose own inference fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx.shape_inference

from qdq_cli.model.dynamic import spell_for_inference
from qdq_cli.model.wire import file_mentions

_CRASHES = ("ai.onnx.ml", "LabelEncoder")

_ONNX = ("", "ai.onnx")


def inferred_graph(proto: onnx.ModelProto) -> onnx.GraphProto | None:
    """Infer element types and shapes as far as they can be; None where ONNX gives up on the model.

    Args:
        proto: The model, used for nothing else: a LabelEncoder whose input is not declared is taken out of it, and its
            outputs stay unknown; operators that quantize in blocks are written as ones whose shapes ONNX knows.
    """
    if any(entry.domain not in _ONNX for entry in proto.opset_import):
        for graph in _graphs(proto.graph):
            _without_label_encoders(graph)
            spell_for_inference(graph)
    try:
        return onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True).graph
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        return None


def may_crash(path: Path) -> bool:
    """Say whether a model file names the operator on which ONNX's inference can end the process."""
    return file_mentions(path, _CRASHES[1:])


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those in the bodies of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                yield from _graphs(body)


def _without_label_encoders(graph: onnx.GraphProto) -> None:
    unsafe = [node for node in graph.node if (node.domain, node.op_type) == _CRASHES]
    if unsafe:
        infos = (*graph.input, *graph.value_info)
        declared = {info.name for info in infos if info.type.tensor_type.elem_type}
        for node in unsafe:
            if not declared.issuperset(node.input):
                graph.node.remove(node)
