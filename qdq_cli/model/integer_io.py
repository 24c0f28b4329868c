"""Models whose inputs and outputs are integers: the Q of an input and the DQ of an output are left to whoever runs it.

Scale and zero point stand in the metadata of the model, under `qdq.codes.NAME`, as JSON:
`{"type": "uint8", "scale": 0.00784313725490196, "zero_point": 128}`, so that a program without floats can use it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qparams import QParams, dequantize, quantize
from calibrators.qtypes import QTYPES
from qdq_cli.model.emit import Emitter, Parameters, dequantize_node
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import consumers, is_float, name_of
from qdq_cli.model.scales import TensorScale, is_dequantize, is_quantize, tensor_scale

_KEY = "qdq.codes."


@dataclass(frozen=True)
class Codes:
    """How the integers of an input or output stand for real values: real = (code - zero_point) * scale.

    Args:
        type: Their type: `int8` or `uint8`.
        scale: Real units a step.
        zero_point: The code of 0.0.
    """

    type: str
    scale: float
    zero_point: int

    @property
    def qparams(self) -> QParams:
        """The same, for the arithmetic."""
        qtype = QTYPES[self.type]
        return QParams(np.asarray(self.scale, np.float32), np.asarray(self.zero_point, qtype.dtype), qtype=qtype)

    def quantized(self, values: NDArray[Any]) -> NDArray[Any]:
        """The codes of floats."""
        return quantize(values, self.qparams)

    def dequantized(self, codes: NDArray[Any]) -> NDArray[Any]:
        """The floats of codes, FP32."""
        return dequantize(codes, self.qparams)

    def __str__(self) -> str:
        return f"{self.type}, scale {self.scale:.6g}, zero point {self.zero_point}"


def codes_in(metadata: Mapping[str, str]) -> dict[str, Codes]:
    """Read from a model's metadata which of its inputs and outputs are integers; what is malformed is none."""
    found = {}
    for key, text in metadata.items():
        codes = _read(text) if key.startswith(_KEY) else None
        if codes is not None:
            found[key.removeprefix(_KEY)] = codes
    return found


def as_taken(codes: Mapping[str, Codes], name: str, array: NDArray[Any]) -> NDArray[Any]:
    """What an input is fed for an array: its codes where it takes integers and the array has floats, else the array.

    Args:
        codes: Those of the model, as from `codes_in`.
        name: The input.
        array: Any shape.
    """
    return codes[name].quantized(array) if name in codes and array.dtype.kind == "f" else array


def _read(text: str) -> Codes | None:
    try:
        told = json.loads(text)
        codes = Codes(str(told["type"]), float(told["scale"]), int(told["zero_point"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    qtype = QTYPES.get(codes.type)
    whole = qtype is not None and qtype.grid is None and qtype.qmin <= codes.zero_point <= qtype.qmax
    return codes if whole and 0 < codes.scale < np.inf else None


def with_integer_io(model: ir.Model) -> tuple[str, ...]:
    """Let a model take and give integers where a Q stands at an input or a DQ at an output, in place.

    Names stay. What reads an input in floats, or through another scale, reads a DQ of the codes.

    Returns:
        The float inputs and outputs that have no such Q or DQ, and stay float.
    """
    graph, names = model.graph, Names(model.graph)
    left = [name for value in tuple(graph.inputs) if (name := _take_codes(model, value, names))]
    left += [name for place in range(len(graph.outputs)) if (name := _give_codes(model, place, names))]
    return tuple(left)


def _take_codes(model: ir.Model, value: ir.Value, names: Names) -> str:
    """Make an input integers; returns its name where it stays float, else ""."""
    if not is_float(value) or not value.uses():
        return ""
    name = name_of(value)
    first = next((node for node, _ in consumers(value) if is_quantize(node)), None)
    scale = tensor_scale(first)
    if first is None or scale is None:
        return name
    step, zero_point = first.inputs[1:3] if len(first.inputs) > 2 else (first.inputs[1], None)
    assert step is not None
    codes = ir.Value(name=name, type=ir.TensorType(scale.qtype), shape=value.shape)
    value.name = names.value(f"{name}_float")
    inputs = model.graph.inputs
    inputs[:] = [codes if each is value else each for each in inputs]
    for node in [node for node, _ in consumers(value) if is_quantize(node) and tensor_scale(node) == scale]:
        ir.convenience.replace_all_uses_with(node.outputs[0], codes)
        model.graph.remove(node, safe=True)
    if value.uses():
        result = ir.Value(name=names.value(f"{name}_dequantized"), type=value.type, shape=value.shape)
        ir.convenience.replace_all_uses_with(value, result)
        floats = dequantize_node(codes, Parameters(step, zero_point), result, names.node(f"{name}_DequantizeLinear"))
        model.graph.insert_before(next(iter(model.graph)), floats)
    _record(model, name, scale)
    return ""


def _give_codes(model: ir.Model, place: int, names: Names) -> str:
    """Make an output integers; returns its name where it stays float, else ""."""
    graph = model.graph
    value = graph.outputs[place]
    node, scale = value.producer(), tensor_scale(value.producer())
    if not is_float(value):
        return ""
    codes = node.inputs[0] if node is not None and is_dequantize(node) else None
    if node is None or codes is None or scale is None or not _is_free(codes):
        return name_of(value)
    name = name_of(value)
    value.name = names.value(f"{name}_float")
    codes.name, codes.shape, codes.type = name, codes.shape or value.shape, ir.TensorType(scale.qtype)
    graph.outputs[place] = codes
    if not value.uses() and not value.is_graph_output():
        graph.remove(node, safe=True)
    _record(model, name, scale)
    return ""


def _is_free(codes: ir.Value) -> bool:
    """Say whether codes can get the name of an output: they are computed, and no output yet."""
    return codes.producer() is not None and not codes.is_graph_output()


def _record(model: ir.Model, name: str, scale: TensorScale) -> None:
    found = {"type": scale.qtype.name.lower(), "scale": scale.scale, "zero_point": scale.zero_point}
    model.metadata_props[f"{_KEY}{name}"] = json.dumps(found)


def with_float_io(model: ir.Model) -> None:
    """Let a model take and give floats again, in place: a Q stands behind each integer input, a DQ behind each output.

    Names stay, and the metadata says nothing of integers any more. The opposite of `with_integer_io`.
    """
    emitter, known = Emitter(model.graph), dict(integer_ends(model))
    for ends, turned in ((model.graph.inputs, _quantized), (model.graph.outputs, _dequantized)):
        for place, value in enumerate(tuple(ends)):
            name = name_of(value)
            if name in known:
                value.name = emitter.names.value(f"{name}_codes")
                ends[place] = turned(value, name, known[name], emitter)
    for name in known:
        del model.metadata_props[f"{_KEY}{name}"]


def _quantized(codes: ir.Value, name: str, found: Codes, emitter: Emitter) -> ir.Value:
    """Make the floats that an input takes in place of codes."""
    floats = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=codes.shape)
    made = emitter.quantize(floats, emitter.parameters(found.qparams, name), name)
    ir.convenience.replace_all_uses_with(codes, made)
    return floats


def _dequantized(codes: ir.Value, name: str, found: Codes, emitter: Emitter) -> ir.Value:
    """Make the floats that an output gives in place of codes."""
    floats = ir.Value(type=ir.TensorType(ir.DataType.FLOAT), shape=codes.shape)
    made = emitter.dequantize(codes, emitter.parameters(found.qparams, name), name, floats)
    made.name = name
    return made


def integer_ends(model: ir.Model) -> Iterator[tuple[str, Codes]]:
    """Yield the inputs and outputs of a model that are integers, in its order."""
    known = codes_in(model.metadata_props)
    for value in (*model.graph.inputs, *model.graph.outputs):
        if name_of(value) in known:
            yield name_of(value), known[name_of(value)]
