"""What a tensor is, whatever it is called: a digest of the computation that makes it.

The digest of a value covers its operator, attributes, and the digests of its operands down to graph inputs and weight
bytes. Two exports of one network agree on it although they name and order nodes differently or keep weights in another
file; any change of weights or topology above a tensor changes it. A calibration cache is tied to a model by these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from qdq_cli.graph.nodes import is_constant

_SIZE = 16


def tensor_digests(graph: ir.Graph) -> dict[str, str]:
    """Return the digest of every named value of a graph (nodes in topological order), in hexadecimal.

    Graph inputs count by name, element type and rank-wise shape: feeding another input is another computation.
    """
    digests: dict[ir.Value, bytes] = {value: _of_input(value) for value in graph.inputs}
    for node in graph:
        _add_node(node, digests)
    return {value.name or "": digest.hex() for value, digest in digests.items()}


def graph_fingerprint(graph: ir.Graph) -> str:
    """Return one digest for a whole graph: what its outputs compute, in their order, in hexadecimal."""
    return fingerprint_of(graph, tensor_digests(graph))


def fingerprint_of(graph: ir.Graph, digests: Mapping[str, str]) -> str:
    """Return what `graph_fingerprint` does, from the digests of the graph's tensors."""
    return _digest(
        b"graph", *(digests.get(value.name or "", value.name or "").encode() for value in graph.outputs)
    ).hex()


def _digest(*parts: bytes) -> bytes:
    hasher = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def _of_input(value: ir.Value) -> bytes:
    dims = [str(dim) if isinstance(dim, int) else "?" for dim in value.shape] if value.shape is not None else ["*"]
    return _digest(b"input", (value.name or "").encode(), str(value.dtype).encode(), ",".join(dims).encode())


def _of_constant(value: ir.Value) -> bytes:
    tensor = value.const_value
    if tensor is None:
        return _digest(b"unknown", (value.name or "").encode())
    shape = ",".join(map(str, tensor.shape.numpy()))
    if tensor.dtype == ir.DataType.STRING:
        return _digest(b"strings", shape.encode(), tensor.tobytes())
    return _digest(b"constant", str(tensor.dtype).encode(), shape.encode(), _bytes_of(tensor))


def _bytes_of(tensor: ir.TensorProtocol) -> bytes:
    """Hash large data where it lies (memory-mapped) instead of copying it."""
    array = tensor.numpy()
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        return hashlib.blake2b(tensor.tobytes(), digest_size=_SIZE).digest()
    return hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=_SIZE).digest()


def _add_node(node: ir.Node, digests: dict[ir.Value, bytes]) -> None:
    operands = [_operand(value, digests) for value in node.inputs]
    while operands and operands[-1] == b"":
        operands.pop()  # trailing omitted inputs are the same as none
    head = (node.domain.encode(), node.op_type.encode(), *_attributes(node, digests), *operands)
    for number, value in enumerate(node.outputs):
        digests[value] = _digest(b"node", *head, str(number).encode())


def _operand(value: ir.Value | None, digests: dict[ir.Value, bytes]) -> bytes:
    if value is None:
        return b""
    if value not in digests:
        digests[value] = _of_constant(value) if is_constant(value) else _digest(b"outer", (value.name or "").encode())
    return digests[value]


def _attributes(node: ir.Node, digests: dict[ir.Value, bytes]) -> Iterable[bytes]:
    for name in sorted(node.attributes):
        attribute = node.attributes[name]
        yield name.encode()
        if attribute.type == ir.AttributeType.GRAPH:
            yield _of_body(attribute.as_graph(), digests)
        elif attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            yield _digest(str(tensor.dtype).encode(), str(tuple(tensor.shape.numpy())).encode(), tensor.tobytes())
        else:
            yield repr(attribute.value).encode()


def _of_body(body: ir.Graph, outer: dict[ir.Value, bytes]) -> bytes:
    """Digest an If/Loop body; what it captures is known from outside."""
    known = dict(outer)
    known |= {value: _digest(b"body input", str(number).encode()) for number, value in enumerate(body.inputs)}
    for node in body:
        _add_node(node, known)
    return _digest(b"body", *(_operand(value, known) for value in body.outputs))
