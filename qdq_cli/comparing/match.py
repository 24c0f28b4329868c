"""Which tensors a float model and its quantized form share, found by name and through Q/DQ.

A quantized tensor is the image of the float tensor that its Q reads: `x -> Q -> DQ`. Tools differ in which of the three
keeps the name `x`, and some fuse the activation in front of `x` into the Q.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.comparing.alignment import fits
from qdq_cli.comparing.pairs import codes_of
from qdq_cli.model.nodes import FLOAT_TYPES, consumers, is_activation, is_constant, only_consumer

CODE_TYPES = frozenset(
    {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT16, ir.DataType.UINT16, ir.DataType.INT4, ir.DataType.UINT4}
)
"""Element types that quantized tensors are stored in."""

_FLOATS = FLOAT_TYPES | {ir.DataType.DOUBLE}

ACTIVATIONS = ("Relu", "Clip")
"""Operators that a range can do the work of."""

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


@dataclass(frozen=True)
class Unmatched:
    """A float tensor of the reference that nothing in the quantized model stands for.

    Args:
        tensor: Its name.
        reason: Why, in words that may go for several.
    """

    tensor: str
    reason: str


def match_tensors(reference: ir.Model, quantized: ir.Model) -> tuple[Match, ...]:
    """Find the float tensors of the main graph that both models have, in the reference's order, graph inputs first.

    Tensors whose shapes contradict each other, and what a folding took away (the result of a convolution whose batch
    norm is in its weights now), have no partner.

    Args:
        reference: The float model, comparable and typed as far as can be inferred.
        quantized: The same for the quantized model; results of operators on codes have a partner where these are
            spelled out (`codes`).
    """
    return tuple(found for found in _look_up(reference, quantized) if isinstance(found, Match))


def unmatched_tensors(reference: ir.Model, quantized: ir.Model) -> tuple[Unmatched, ...]:
    """Find the other float tensors, each with the reason."""
    return tuple(found for found in _look_up(reference, quantized) if isinstance(found, Unmatched))


def _look_up(reference: ir.Model, quantized: ir.Model) -> Iterator[Match | Unmatched]:
    values = (*reference.graph.inputs, *(value for node in reference.graph for value in node.outputs))
    floats = [value for value in values if _is_float(value) and (value.uses() or value.is_graph_output())]
    others = ir.convenience.create_value_mapping(quantized.graph)
    names = {value.name for value in floats}
    merged = {value.name: source for value in floats if (source := _merged_source(value, others)) is not None}
    taken = {source.name for source in merged.values()}
    for value in floats:
        name = value.name or ""
        if name in taken:
            yield Unmatched(name, _MERGED)
        elif name in merged:
            image = _image_behind(merged[name])
            yield Unmatched(name, _ABSENT) if image is None else Match(name, image.name or "", merged[name].name)
        else:
            yield _match(value, others, names)


def _is_float(value: ir.Value) -> bool:
    return (
        bool(value.name)
        and isinstance(value.type, ir.TensorType)
        and value.dtype in _FLOATS
        and (value.dtype == ir.DataType.DOUBLE or is_activation(value))
    )


_ABSENT = "no tensor of that name in the quantized model"
_FOLDED = "a batch norm is folded into what makes it"
_MERGED = "a Q does the work of the Relu or Clip behind it"
_MOVED = "codes there that are moved on, and are compared where they are read"
_OTHER_SHAPE = "of another shape in the quantized model"


def _match(value: ir.Value, others: Mapping[str, ir.Value], names: Collection[str | None]) -> Match | Unmatched:
    name = value.name or ""
    other = others.get(name)
    if other is None:
        images = (others.get(pattern.format(name)) for pattern in _IMAGE_NAMES)
        image = next((image for image in images if image is not None and is_image(image)), None)
        return Unmatched(name, _why_absent(value, others)) if image is None else _image_match(value, image, names)
    if is_constant(other):
        return Unmatched(name, "a constant in the quantized model")
    if is_image(other):
        return _image_match(value, other, names)
    if other.dtype in CODE_TYPES or is_quantize(other.producer()):
        image = _image_of_codes(other)
        return Unmatched(name, "no DQ reads its codes") if image is None else _image_match(value, image, names)
    if other.dtype is not None and other.dtype not in _FLOATS:
        return Unmatched(name, f"{other.dtype.name.lower()} in the quantized model")
    if not fits(value, other):
        return Unmatched(name, _OTHER_SHAPE)
    image = _fused_image(value, other)
    return Match(name, name if image is None else image.name or "", name)


def _why_absent(value: ir.Value, others: Mapping[str, ir.Value]) -> str:
    if any(name in others for name in codes_of(value.name or "")):
        return _MOVED
    use = only_consumer(value)
    reader = None if use is None else use[0]
    if reader is not None and reader.op_type == "BatchNormalization":
        return _FOLDED
    other = None if reader is None else others.get(reader.outputs[0].name or "")
    is_merged = reader is not None and other is not None and _fused_image(reader.outputs[0], other) is not None
    return _MERGED if is_merged else _ABSENT


def _image_match(value: ir.Value, image: ir.Value, names: Collection[str | None]) -> Match | Unmatched:
    """Match a tensor that has an image with what the Q ahead of it reads, unless that is another tensor's.

    The image itself counts where more than Q and DQ is between: where Q does the work of a Relu, and at an output.
    """
    name, source = value.name or "", _quantized_source(image)
    if not fits(value, image):
        return Unmatched(name, _OTHER_SHAPE)
    if source is None or is_constant(source) or source.name in names:
        return Match(name, image.name or "", None)
    fed = source.name or ""
    return Match(name, image.name or "" if value.is_graph_output() or _is_fused(value, source) else fed, fed)


def _quantized_source(image: ir.Value) -> ir.Value | None:
    """What the Q reads that makes the codes of an image."""
    dequantize = image.producer()
    codes = None if dequantize is None else dequantize.inputs[0]
    quantize = None if codes is None else codes.producer()
    return quantize.inputs[0] if quantize is not None and is_quantize(quantize) else None


def _is_fused(value: ir.Value, other: ir.Value) -> bool:
    """Say whether a Relu or Clip that makes a tensor is gone in front of what stands for it."""
    made, remade = value.producer(), other.producer()
    return made is not None and made.op_type in ACTIVATIONS and (remade is None or remade.op_type != made.op_type)


def _merged_source(value: ir.Value, others: Mapping[str, ir.Value]) -> ir.Value | None:
    """Return the tensor of the quantized model that is this one behind its Q only; None where there is none.

    Operators on codes do the work of the Relu or Clip behind them with the range of their codes, and then these codes
    are named for what the Relu reads.
    """
    made, own = value.producer(), others.get(value.name or "")
    if made is None or made.op_type not in ACTIVATIONS or made.inputs[0] is None:
        return None
    read = made.inputs[0]
    other = others.get(read.name or "")
    if other is None or only_consumer(read) is None or is_image(other) or not fits(value, other):
        return None
    if own is not None and (not is_image(own) or _quantized_source(own) is not other):
        return None
    return other if _image_behind(other) is not None else None


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
    return _image_behind(other) if other.producer() is not None and _is_fused(value, other) else None


def _image_behind(value: ir.Value) -> ir.Value | None:
    """Return the image of a tensor that nothing but Q reads."""
    readers = [node for node, slot in consumers(value) if slot == 0 and is_quantize(node)]
    if not readers or len(readers) < len(value.uses()) or value.is_graph_output():
        return None
    return _image_of_codes(readers[0].outputs[0])
