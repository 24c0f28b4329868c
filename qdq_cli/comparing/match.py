"""Which tensors a float model and its quantized form share, found by name and through Q/DQ.

A quantized tensor is the image of the float tensor that its Q reads: `x -> Q -> DQ`. Tools differ in which of the three
keeps the name `x`, and some fuse the activation in front of `x` into the Q.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.comparing.alignment import fits
from qdq_cli.graph.nodes import FLOAT_TYPES, consumers, is_activation, is_constant

CODE_TYPES = frozenset(
    {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.INT4, ir.DataType.UINT4}
)
"""Element types that quantized tensors are stored in."""

_FLOATS = FLOAT_TYPES | {ir.DataType.DOUBLE}

_IMAGE_NAMES = ("{}_DequantizeLinear_Output", "{}_DequantizeLinear", "{}_dequantized")
"""What tools call the DQ image of a tensor whose own name is gone."""


@dataclass(frozen=True)
class Match:
    """A float tensor that both models have.

    Args:
        tensor: Its name in the reference.
        measured: Name of the float tensor of the quantized model that stands for it.
        fed: Name of the tensor of the quantized model that the reference's can be put in for, ahead of the Q that reads
            it; None where only the image behind Q/DQ is left.
    """

    tensor: str
    measured: str
    fed: str | None


def match_tensors(reference: ir.Model, quantized: ir.Model) -> tuple[Match, ...]:
    """Find the float tensors of the main graph that both models have, in the reference's order, graph inputs first.

    Tensors whose shapes contradict each other, and what a folding took away (the result of a convolution whose batch
    norm is in its weights now), have no partner.

    Args:
        reference: The float model, comparable and typed as far as can be inferred.
        quantized: The same for the quantized model.
    """
    others = ir.convenience.create_value_mapping(quantized.graph)
    values = (*reference.graph.inputs, *(value for node in reference.graph for value in node.outputs))
    used = (value for value in values if value.uses() or value.is_graph_output())
    found = (_match(value, others) for value in used if _is_float(value))
    return tuple(match for match in found if match is not None)


def _is_float(value: ir.Value) -> bool:
    return bool(value.name) and value.dtype in _FLOATS and (value.dtype == ir.DataType.DOUBLE or is_activation(value))


def _match(value: ir.Value, others: dict[str, ir.Value]) -> Match | None:
    name = value.name or ""
    other = others.get(name)
    if other is None:
        images = (others.get(pattern.format(name)) for pattern in _IMAGE_NAMES)
        image = next((image for image in images if image is not None and is_image(image)), None)
        return None if image is None or not fits(value, image) else Match(name, image.name or "", None)
    if is_constant(other) or not fits(value, other):
        return None
    if is_image(other):
        return Match(name, name, None)
    if other.dtype in CODE_TYPES or is_quantize(other.producer()):
        image = _image_of_codes(other)
        return None if image is None else Match(name, image.name or "", None)
    if other.dtype is not None and other.dtype not in _FLOATS:
        return None
    image = _fused_image(value, other)
    return Match(name, name if image is None else image.name or "", name)


def is_image(value: ir.Value) -> bool:
    """Say whether a DequantizeLinear of any domain makes a value."""
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def is_quantize(node: ir.Node | None) -> bool:
    """Say whether a node is a QuantizeLinear of any domain."""
    return node is not None and node.op_type == "QuantizeLinear"


def _image_of_codes(codes: ir.Value) -> ir.Value | None:
    readers = (node for node, slot in consumers(codes) if slot == 0 and node.op_type == "DequantizeLinear")
    return next((node.outputs[0] for node in readers), None)


def _fused_image(value: ir.Value, other: ir.Value) -> ir.Value | None:
    """Return the image of a tensor whose Q does the work of the activation that made it; None where it does not.

    onnxruntime's quantizer drops a Relu or Clip in front of an asymmetric Q: the convolution then writes under the
    name of the Relu's result, and only behind the Q it is that result.
    """
    made, remade = value.producer(), other.producer()
    if made is None or remade is None or made.op_type == remade.op_type or made.op_type not in ("Relu", "Clip"):
        return None
    readers = [node for node, slot in consumers(other) if slot == 0 and is_quantize(node)]
    if not readers or len(readers) < len(other.uses()) or other.is_graph_output():
        return None
    return _image_of_codes(readers[0].outputs[0])
