"""What a tensor is, whatever it is called: a digest of the computation that makes it.

The digest of a value covers its operator, attributes, and the digests of its operands down to graph inputs and weight
bytes. Two exports of one network agree on it although they name and order nodes differently, write out defaults or not,
or keep weights in another file; any change of weights or topology above a tensor changes it. A calibration cache is
tied to a model by these.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
import onnx.defs
import onnx_ir as ir

from qdq_cli.model.nodes import ONNX_DOMAIN, defined_values, inner_graphs, is_constant

RECIPE = "qdq.recipe"
"""Key in a constant's metadata (never saved): the digest of how it was computed. It counts in place of the values where
their last bit may depend on the processor that computed them."""

_SIZE = 16

_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_SLIDING = _CONVOLUTIONS | {"MaxPool", "AveragePool", "LpPool"}
_ABSENT = {"pads": 0, "output_padding": 0, "strides": 1, "dilations": 1}
"""Attributes of sliding windows that mean nothing where every element is this (ONNX gives such defaults in words)."""


def tensor_digests(graph: ir.Graph) -> dict[str, str]:
    """Return the digest of every named value of a graph (nodes in topological order), in hexadecimal.

    Graph inputs count by name, element type and shape, all symbolic dimensions alike: feeding another input is another
    computation. Those of a value in a body cover the operator that runs the body, and so what a Loop starts from.
    """
    walk = _Walk(graph)
    found = {value.name: walk.digests[value] for value in defined_values(graph) if value.name and value in walk.digests}
    _add_bodies(graph, walk.digests, found)
    return {name: digest.hex() for name, digest in found.items()}


def _add_bodies(graph: ir.Graph, digests: Mapping[ir.Value, bytes], found: dict[str, bytes]) -> None:
    """Add the values in the bodies of a graph's nodes, by what runs them, and those of the bodies in these."""
    for node in graph:
        bodies = list(inner_graphs(node)) if node.attributes.data else []
        runs = next((found[value.name] for value in node.outputs if value.name in found), b"")
        for number, body in enumerate(bodies):
            for value in (*body.inputs, *(value for inner in body for value in inner.outputs)):
                if value.name:
                    found.setdefault(value.name, _digest(b"inside", runs, str(number).encode(), digests[value]))
            _add_bodies(body, digests, found)


def fingerprint_of(graph: ir.Graph, digests: Mapping[str, str]) -> str:
    """Return what `graph_fingerprint` does, from the digests of the graph's tensors."""
    return _digest(
        b"graph", *(digests.get(value.name or "", value.name or "").encode() for value in graph.outputs)
    ).hex()


class _Walk:
    """One pass over a graph and the bodies in it.

    Args:
        graph: Its nodes in topological order.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.digests: dict[ir.Value, bytes] = {value: _of_input(value) for value in graph.inputs}
        self._opset = graph.opset_imports.get(ONNX_DOMAIN, 0)
        for node in graph:
            self._add(node, 0)
        for value in graph.outputs:
            self._of(value)

    def _add(self, node: ir.Node, depth: int) -> None:
        operands = [b"" if value is None else self._of(value) for value in node.inputs]
        while operands and operands[-1] == b"":
            operands.pop()  # trailing omitted inputs are the same as none
        head = (node.domain.encode(), node.op_type.encode(), *self._attributes(node, depth), *operands)
        for number, value in enumerate(node.outputs):
            self.digests[value] = _digest(b"node", *head, str(number).encode())

    def _of(self, value: ir.Value) -> bytes:
        if value not in self.digests:
            self.digests[value] = self._of_constant(value)
        return self.digests[value]

    def _of_constant(self, value: ir.Value) -> bytes:
        if RECIPE in value.meta:
            return bytes.fromhex(value.meta[RECIPE])
        if is_constant(value) and value.const_value is not None:
            return _of_tensor(value.const_value)
        return _digest(b"unknown", (value.name or "").encode())

    def _attributes(self, node: ir.Node, depth: int) -> Iterator[bytes]:
        defaults = _defaults(node.op_type, self._opset) if node.domain == ONNX_DOMAIN else {}
        for name in sorted(node.attributes):
            attribute = node.attributes[name]
            plain = _plain(attribute)
            if plain is not None and (plain == defaults.get(name) or _says_nothing(node, name)):
                continue
            yield name.encode()
            yield attribute.type.name.encode()
            if plain is not None:
                yield plain.encode()
            elif attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
                single = attribute.type == ir.AttributeType.GRAPH
                for body in (attribute.as_graph(),) if single else attribute.as_graphs():
                    yield self._of_body(body, depth + 1)
            else:
                single = attribute.type == ir.AttributeType.TENSOR
                for tensor in (attribute.as_tensor(),) if single else attribute.as_tensors():
                    yield _of_tensor(tensor)

    def _of_body(self, body: ir.Graph, depth: int) -> bytes:
        """Digest an If/Loop body; what it captures is known from outside."""
        for number, value in enumerate(body.inputs):
            self.digests[value] = _digest(b"body input", str(depth).encode(), str(number).encode())
        for node in body:
            self._add(node, depth)
        return _digest(b"body", str(len(body.inputs)).encode(), *(self._of(value) for value in body.outputs))


def _digest(*parts: bytes) -> bytes:
    hasher = hashlib.blake2b(digest_size=_SIZE)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def _of_input(value: ir.Value) -> bytes:
    dims = [str(dim) if isinstance(dim, int) else "?" for dim in value.shape] if value.shape is not None else ["*"]
    return _digest(b"input", (value.name or "").encode(), str(value.dtype).encode(), ",".join(dims).encode())


def _of_tensor(tensor: ir.TensorProtocol | None) -> bytes:
    """Digest a constant: element type, shape and values, large data where it lies."""
    if tensor is None:
        return b""
    head = (b"constant", str(tensor.dtype).encode(), ",".join(map(str, tensor.shape.numpy())).encode())
    if isinstance(tensor, ir.StringTensor):
        return _digest(*head, *tensor.string_data())
    array = np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
    return _digest(*head, hashlib.blake2b(array.data, digest_size=_SIZE).digest())


def _plain(attribute: ir.Attr) -> str | None:
    """Return the value of an attribute that is a number, a text or a list of them; None for tensors and bodies."""
    kind = attribute.type
    if kind in (ir.AttributeType.TENSOR, ir.AttributeType.TENSORS, ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return None
    return repr(attribute.value)


@functools.cache
def _defaults(op_type: str, opset: int) -> Mapping[str, str]:
    """Return the defaults of an operator's attributes, spelled like `_plain`."""
    if not 0 < opset <= onnx.defs.onnx_opset_version() or not onnx.defs.has(op_type, opset, ""):
        return {}
    attributes = onnx.defs.get_schema(op_type, opset, "").attributes
    values = [entry.default_value for entry in attributes.values() if entry.default_value.name]
    return {value.name: repr(ir.from_proto(value).value) for value in values}


def _says_nothing(node: ir.Node, name: str) -> bool:
    """Say whether an attribute of a convolution or pooling operator is the same as none."""
    if node.domain != ONNX_DOMAIN or node.op_type not in _SLIDING:
        return False
    if name == "kernel_shape" and node.op_type in _CONVOLUTIONS:
        return True  # the weight has it
    return name in _ABSENT and all(element == _ABSENT[name] for element in node.attributes[name].as_ints())
