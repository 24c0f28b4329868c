"""A model as protobuf bytes in pieces, its large weights as they lie in memory or on disk.

Building the whole protobuf first and serializing it then would hold every weight three times. The pieces written one
after the other are one ModelProto: its graph is a length-delimited field, and protobuf lets the fields of a message
come in any order, so the large initializers can stand behind everything else of the graph.

Source: protobuf.dev, "Encoding" (records, varints, field order); onnx.proto for the field numbers.
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir

from qdq_cli.model.external_data import external_initializers
from qdq_cli.model.maps import put_back
from qdq_cli.model.stored_tensor import BITS
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import each

INSIDE_BYTES = 1024
"""Tensors up to this size are small enough to go the ordinary way (scales, shapes)."""

_ELSEWHERE = "left-out"
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # ModelProto.graph, GraphProto.initializer, TensorProto.raw_data
_LENGTH_DELIMITED = 2


@dataclass(frozen=True)
class Encoded:
    """A model about to be written.

    Args:
        size_bytes: Length of all pieces together.
        head: Everything before the large weights.
        weights: The large weights, each with the bytes that announce it.
    """

    size_bytes: int
    head: bytes
    weights: tuple[tuple[bytes, ir.TensorProtocol], ...]

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the model, one weight after the other; the same bytes on every run."""
        yield self.head
        for announcement, tensor in each(self.weights):
            yield announcement
            yield tensor.tobytes()


def file_mentions(path: Path, words: Iterable[str]) -> bool:
    """Say whether any of these words, such as names of operators, occurs in a model file; no weight is read for it."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(word.encode()) >= 0 for word in words)


def encode(model: ir.Model) -> Encoded:
    """Encode a model with every weight inside.

    Raises:
        ModelError: Something in it is no valid ONNX.
    """
    large = [(value.name or "", tensor) for value, tensor in _large_initializers(model)]
    with weights_left_out(model), _small_in_memory(model):
        proto = to_proto(model)
    small = [tensor for tensor in proto.graph.initializer if tensor.data_location != onnx.TensorProto.EXTERNAL]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    rest = proto.SerializeToString(deterministic=True)
    weights = tuple((_announcement(name, tensor), tensor) for name, tensor in large)
    behind = sum(len(announcement) + tensor.nbytes for announcement, tensor in weights)
    head = rest + _tag(_GRAPH, len(graph) + behind) + graph
    return Encoded(len(head) + behind, head, weights)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return the protobuf of a model; tensors that are on disk stay references.

    Raises:
        ModelError: Something in it is no valid ONNX, such as text that is not UTF-8.
    """
    with as_valid_onnx():
        return put_back(model, ir.to_proto(model))


@contextlib.contextmanager
def as_valid_onnx() -> Iterator[None]:
    """Turn what the graph library raises about a model that is no valid ONNX into a ModelError."""
    try:
        yield
    except (ir.serde.SerdeError, TypeError, ValueError) as error:
        raise ModelError(f"The model cannot be written as ONNX: {root_cause(error)}.") from error


def root_cause(error: BaseException) -> str:
    """Return what the error at the start of a chain says first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error without its full stop, the name of its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _large_initializers(model: ir.Model) -> list[tuple[ir.Value, ir.TensorProtocol]]:
    return [
        (value, tensor)
        for value in model.graph.initializers.values()
        if (tensor := value.const_value) is not None and tensor.nbytes > INSIDE_BYTES and _is_plain(tensor)
    ]


def _is_plain(tensor: ir.TensorProtocol) -> bool:
    """Say whether the tensor is its bytes and nothing else that a protobuf could hold."""
    return tensor.dtype != ir.DataType.STRING and not tensor.doc_string and not tensor.metadata_props


@contextlib.contextmanager
def weights_left_out(model: ir.Model) -> Iterator[None]:
    """Let the large initializers of the main graph stand as references to data that is elsewhere.

    What is made of the model meanwhile stays small: enough for ONNX's own passes, which copy what they are given.
    """
    large = _large_initializers(model)
    try:
        for value, tensor in large:
            value.const_value = _reference(value.name or "", tensor)
        yield
    finally:
        for value, tensor in large:
            value.const_value = tensor


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a protobuf with the large initializers of its main graph as references to data that is elsewhere."""
    graph = proto.graph
    copy = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    for field in ("node", "input", "output", "value_info"):
        getattr(copy.graph, field).extend(getattr(graph, field))
    elsewhere = [onnx.StringStringEntryProto(key="location", value=_ELSEWHERE)]
    for tensor in graph.initializer:
        if math.prod(tensor.dims) * BITS.get(tensor.data_type, 8) <= 8 * INSIDE_BYTES:  # ByteSize() would encode it
            copy.graph.initializer.append(tensor)
        else:
            copy.graph.initializer.add(
                name=tensor.name,
                data_type=tensor.data_type,
                dims=tensor.dims,
                data_location=onnx.TensorProto.EXTERNAL,
                external_data=elsewhere,
            )
    return copy


def is_left_out(tensor: ir.TensorProtocol | None) -> bool:
    """Say whether a tensor is such a reference."""
    return isinstance(tensor, ir.ExternalTensor) and tensor.location == _ELSEWHERE


def _reference(name: str, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
    shape = ir.Shape(tensor.shape.numpy())
    return ir.ExternalTensor(_ELSEWHERE, 0, tensor.nbytes, tensor.dtype, shape=shape, name=name)


@contextlib.contextmanager
def _small_in_memory(model: ir.Model) -> Iterator[None]:
    """Let the initializers that are on disk stand as views of their memory maps."""
    held = external_initializers(model)
    try:
        for value, tensor in held:
            if not is_left_out(tensor):
                value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
        yield
    finally:
        for value, tensor in held:
            value.const_value = tensor


def _announcement(name: str, tensor: ir.TensorProtocol) -> bytes:
    """Return everything of an initializer that comes before its bytes."""
    header = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=tensor.shape.numpy())
    inner: bytes = header.SerializeToString(deterministic=True) + _tag(_RAW_DATA, tensor.nbytes)
    return _tag(_INITIALIZER, len(inner) + tensor.nbytes) + inner


def _tag(field: int, length: int) -> bytes:
    """Return the key and the length of a length-delimited field."""
    return bytes([field << 3 | _LENGTH_DELIMITED]) + _varint(length)


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
