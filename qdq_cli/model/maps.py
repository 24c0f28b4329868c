"""Graph outputs that are maps (ZipMap of scikit-learn's classifiers): the graph library has no type for them.

They are computed by ordinary nodes, so a model is held without their types, each kept beside its value, and they are
put back into whatever is written.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx import GraphProto, TypeProto, ValueInfoProto

from qdq_cli.model.wellformed import bodies_of
from qdq_cli.process.errors import ModelError

DECLARED = "declared_type"
"""Key of a value's `meta`: the bytes of the type that the file declares for it."""


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """Make the graph of a protobuf; the maps among its outputs keep their types beside them.

    Args:
        proto: As it was when this returns.

    Raises:
        ModelError: A graph input is a map, or what a body takes or returns.
        ValueError: It is no model, as the other errors of `ir.serde.deserialize_model` say too.
    """
    _refuse_inner_maps(proto.graph)
    kept = [(info, info.type.SerializeToString()) for info in _main(proto.graph) if _is_map(info.type)]
    try:
        for info, _ in kept:
            info.ClearField("type")
        model: ir.Model = ir.serde.deserialize_model(proto)
    finally:
        for info, declared in kept:
            info.type.ParseFromString(declared)
    types = {info.name: declared for info, declared in kept}
    for value in model.graph.outputs if types else ():
        if value.name in types:
            value.meta[DECLARED] = types[value.name]
    return model


def put_back(model: ir.Model, proto: onnx.ModelProto) -> onnx.ModelProto:
    """Declare the maps among the outputs of a protobuf made from a model as they were declared; returns it."""
    types = {value.name: value.meta[DECLARED] for value in model.graph.outputs if DECLARED in value.meta}
    for info in proto.graph.output if types else ():
        if info.name in types:
            info.type.ParseFromString(types[info.name])
    return proto


def has_maps(model: ir.Model) -> bool:
    """Say whether an output of a model is a map."""
    return any(DECLARED in value.meta for value in model.graph.outputs)


def _is_map(kind: TypeProto) -> bool:
    """Say whether a type is a map, or holds one."""
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return _is_map(kind.sequence_type.elem_type)
    if which == "optional_type":
        return _is_map(kind.optional_type.elem_type)
    return bool(which == "map_type")


def _main(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from graph.output
    yield from graph.value_info


def _refuse_inner_maps(graph: GraphProto) -> None:
    """Refuse maps that are fed.

    Raises:
        ModelError: There is one.
    """
    for info in graph.input:
        if _is_map(info.type):
            raise ModelError(
                f"its input '{info.name}' is a map, and samples are tensors",
                "Export the model without the operators that read maps (CastMap, DictVectorizer).",
            )
    for node in graph.node:
        for attribute in node.attribute:
            for body in bodies_of(attribute):
                if any(_is_map(info.type) for info in (*body.input, *_main(body))):
                    raise ModelError(
                        f"a body of the {node.op_type} node '{node.name}' declares a map, which cannot be kept",
                        "Export the model without the operators that make maps (for scikit-learn: zipmap=False).",
                    )
                _refuse_inner_maps(body)
