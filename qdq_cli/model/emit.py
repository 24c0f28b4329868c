"""The one writer of Q and DQ: every node of either kind that gets into a graph is made here.

It writes every stored type, with zero points of that type; per channel and per block nodes carry their axis, not
negative (A20, A21), and blocks their size. Scale and zero point are initializers where they come from `QParams`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qparams import QParams, quantize
from calibrators.qtypes import QType
from qdq_cli.model.names import Names

LARGE_BYTES = 1 << 20
"""A weight of so many bytes is quantized when its codes are written, and not before."""


@dataclass(frozen=True)
class Parameters:
    """The operands and attributes of a Q or DQ.

    Args:
        scale: One number, one a slice along `axis`, or one a block.
        zero_point: Of the shape of the scale, in the stored type; None for 0.
        axis: Where slices or blocks lie; None for one scale.
        block_size: Values of a block; None without blocks.
    """

    scale: ir.Value
    zero_point: ir.Value | None
    axis: int | None = None
    block_size: int | None = None


def quantize_node(source: ir.Value, parameters: Parameters, result: ir.Value, name: str) -> ir.Node:
    """Make a Q that is in no graph yet.

    Args:
        source: The floats.
        parameters: Scale and zero point.
        result: The codes, as the node's output.
        name: Name of the node.
    """
    return _node("QuantizeLinear", source, parameters, result, name)


def dequantize_node(codes: ir.Value, parameters: Parameters, result: ir.Value, name: str) -> ir.Node:
    """Make a DQ that is in no graph yet; as `quantize_node`."""
    return _node("DequantizeLinear", codes, parameters, result, name)


def like(node: ir.Node, result: ir.Value, name: str) -> ir.Node:
    """Make a Q or DQ that does what another one does, to the same tensor."""
    return pair_half(node.op_type, node.inputs, node.attributes.values(), result, name)


def pair_half(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Iterable[ir.Attr],
    result: ir.Value,
    name: str,
    domain: str = "",
) -> ir.Node:
    """Make a Q or DQ from all its parts; whoever moves or copies one hands them on from where it stood."""
    return ir.Node(domain, op_type, inputs, attributes, outputs=[result], name=name)


def _node(op_type: str, source: ir.Value, parameters: Parameters, result: ir.Value, name: str) -> ir.Node:
    operands = [source, parameters.scale, *(() if parameters.zero_point is None else (parameters.zero_point,))]
    attributes = [] if parameters.axis is None else [ir.AttrInt64("axis", parameters.axis)]
    attributes += [] if parameters.block_size is None else [ir.AttrInt64("block_size", parameters.block_size)]
    return pair_half(op_type, operands, attributes, result, name)


def stored_dtype(qtype: QType) -> ir.DataType:
    """The element type of codes in a file.

    Source: ONNX TensorProto.DataType; a QType has its name in lower case.
    """
    return ir.DataType[qtype.name.upper()]


def stored(codes: NDArray[Any], qtype: QType) -> ir.TensorProtocol:
    """Codes as a tensor of their stored type: 4-bit integers get packed in a file, floats are views of bit patterns."""
    dtype = stored_dtype(qtype)
    array = np.ascontiguousarray(codes).reshape(codes.shape)
    return ir.Tensor(array.astype(dtype.numpy()) if qtype.grid is None else array.view(dtype.numpy()), dtype=dtype)


def codes_when_read(array: NDArray[Any], qparams: QParams) -> ir.TensorProtocol:
    """Return the codes of a weight; those of a large one are computed when they are read, so that one is in memory."""

    def codes() -> ir.TensorProtocol:
        return stored(quantize(array, qparams), qparams.qtype)

    if array.nbytes < LARGE_BYTES:
        return codes()
    return ir.LazyTensor(codes, dtype=stored_dtype(qparams.qtype), shape=ir.Shape(array.shape))


class Emitter:
    """Adds Q, DQ and their constants to one graph.

    Args:
        graph: The graph.
        names: Its names; every further node has to be named through them.
    """

    def __init__(self, graph: ir.Graph, names: Names | None = None) -> None:
        self._graph = graph
        self.names = names or Names(graph)

    def constant(self, wanted: str, tensor: ir.TensorProtocol) -> ir.Value:
        """Add an initializer; its name is the one wanted, or the next that is free."""
        name = self.names.value(wanted)
        kind = ir.TensorType(tensor.dtype)
        value = ir.Value(name=name, type=kind, shape=ir.Shape(tensor.shape.numpy()), const_value=tensor)
        tensor.name = name
        self._graph.register_initializer(value)
        return value

    def codes(self, wanted: str, codes: NDArray[Any], qtype: QType) -> ir.Value:
        """Add codes as an initializer of their stored type."""
        return self.constant(wanted, stored(codes, qtype))

    def blank(self, wanted: str, like: ir.Value, qtype: QType) -> ir.Value:
        """Add an initializer of zeros in the shape of another value; they take no memory."""
        dtype = stored_dtype(qtype)
        shape = () if like.shape is None else like.shape.numpy()
        return self.constant(wanted, ir.Tensor(np.broadcast_to(np.zeros((), dtype.numpy()), shape), dtype=dtype))

    def parameters(self, qparams: QParams, tensor: str) -> Parameters:
        """Add scale and zero point of a tensor as initializers."""
        scale = self.constant(f"{tensor}_scale", ir.Tensor(np.asarray(qparams.scale)))
        zero_point = self.codes(f"{tensor}_zero_point", qparams.zero_point, qparams.qtype)
        return Parameters(scale, zero_point, qparams.axis, qparams.block_size)

    def pair(self, value: ir.Value, qparams: QParams, tensor: str) -> ir.Value:
        """Add a Q and a DQ of a tensor right behind what makes it; returns what the DQ gives."""
        parameters = self.parameters(qparams, tensor)
        return self.dequantize(self.quantize(value, parameters, tensor), parameters, tensor, value)

    def quantize(self, source: ir.Value, parameters: Parameters, tensor: str) -> ir.Value:
        """Add a Q right behind what makes its input; returns the codes."""
        zero_point = parameters.zero_point
        dtype = ir.DataType.UINT8 if zero_point is None or zero_point.dtype is None else zero_point.dtype
        codes = ir.Value(type=ir.TensorType(dtype), shape=source.shape)
        return self._insert("QuantizeLinear", source, parameters, codes, tensor)

    def dequantize(self, codes: ir.Value, parameters: Parameters, tensor: str, like: ir.Value) -> ir.Value:
        """Add a DQ right behind what makes its input; returns the floats, of the type and shape of `like`."""
        floats = ir.Value(type=like.type, shape=like.shape)
        return self._insert("DequantizeLinear", codes, parameters, floats, tensor)

    def _insert(
        self, op_type: str, source: ir.Value, parameters: Parameters, result: ir.Value, tensor: str
    ) -> ir.Value:
        unique = self.names.node(f"{tensor}_{op_type}")
        result.name = self.names.value(f"{unique}_Output")
        self.place(_node(op_type, source, parameters, result, unique), source)
        return result

    def place(self, node: ir.Node, source: ir.Value) -> None:
        """Put a new node right behind what makes a value it reads, so that the file stays in topological order."""
        maker = source.producer()
        if maker is not None:
            self._graph.insert_after(maker, node)
        elif len(self._graph):
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.append(node)
