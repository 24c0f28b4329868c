"""Writes NVFP4 and MXFP8 as TensorRT's importer reads them: blocks whose scales are small floats.

Activations: one node makes codes and scales of blocks along the last axis, then DQs give floats again. Weights: codes
and scales are stored, and the same DQs stand behind them. What the DQs of NVFP4 give is FP32 always, and a Cast behind
them gives the type of the data: a builder that was asked takes no DQ there that gives another type (decision 20).

Source: the custom operators of TensorRT (docs/TRT_custom_ops.md of onnx/onnx-tensorrt); rules, section 7.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibrators.block_scales import BlockScales, tensor_scale
from calibrators.qtypes import FP8_E4M3
from calibrators.scheme import BLOCK_FORMATS, ScaleForm
from qdq_cli.model.dynamic import CODES, DOMAIN, FP4_QUANTIZE, MXFP8_DEQUANTIZE, MXFP8_QUANTIZE, SCALES
from qdq_cli.model.emit import Emitter

_SINGLE = ir.DataType.FLOAT


@dataclass(frozen=True)
class Coded:
    """Codes in a graph with the scales of their blocks.

    Args:
        codes: The codes.
        scales: One a block: FP8 codes, or exponents.
        tensor: FP32 number that FP8 scales are multiplied with; None for exponents.
        axis: Where the blocks lie.
        size: Values of a block.
    """

    codes: ir.Value
    scales: ir.Value
    tensor: ir.Value | None
    axis: int
    size: int


def dynamic_pair(emitter: Emitter, value: ir.Value, name: str, amax: float) -> ir.Value:
    """Quantize a tensor in blocks right behind what makes it; returns what the DQs give.

    Args:
        emitter: Of the graph.
        value: FP32 or FP16, its last axis a multiple of the blocks.
        name: Of the format, as in `BLOCK_FORMATS`.
        amax: Largest absolute value of the tensor, which NVFP4 has to know beforehand.
    """
    known, tensor = BLOCK_FORMATS[name], value.name or ""
    powers = known.scales is ScaleForm.E8M0
    op_type = MXFP8_QUANTIZE if powers else FP4_QUANTIZE
    scale = None
    if not powers:
        scale = emitter.constant(f"{tensor}_scale", ir.Tensor(np.asarray(tensor_scale(amax, known.qtype))))
    results = [
        ir.Value(type=ir.TensorType(CODES[op_type]), shape=value.shape),
        ir.Value(type=ir.TensorType(SCALES[op_type])),
    ]
    said = {"output_dtype": int(CODES[op_type])} if powers else {"scale_type": int(SCALES[op_type])}
    attributes = {"axis": -1, "block_size": known.size, **said}
    made = ir.Node(
        DOMAIN,
        op_type,
        [value, *(() if scale is None else (scale,))],
        [ir.AttrInt64(key, number) for key, number in attributes.items()],
        outputs=results,
        name=emitter.names.node(f"{tensor}_QuantizeLinear"),
    )
    for result, suffix in zip(results, ("Output", "Scales"), strict=True):
        result.name = emitter.names.value(f"{made.name}_{suffix}")
    emitter.place(made, value)
    return _floats(emitter, Coded(results[0], results[1], scale, -1, known.size), value, tensor)


def stored_blocks(
    emitter: Emitter, codes: ir.Value, scales: BlockScales, value: ir.Value, along: tuple[int, int]
) -> ir.Value:
    """Put the DQs of a weight behind its codes; returns what they give.

    Args:
        emitter: Of the graph.
        codes: The codes, an initializer.
        scales: Of its blocks.
        value: The weight.
        along: The axis of the blocks, and their size.
    """
    name = value.name or ""
    if scales.tensor is None:
        blocks, tensor = emitter.constant(f"{name}_scale", ir.Tensor(scales.codes)), None
    else:
        blocks = emitter.codes(f"{name}_block_scale", scales.codes, FP8_E4M3)
        tensor = emitter.constant(f"{name}_scale", ir.Tensor(np.asarray(scales.tensor, np.float32)))
    return _floats(emitter, Coded(codes, blocks, tensor, *along), value, name)


def _floats(emitter: Emitter, coded: Coded, like: ir.Value, name: str) -> ir.Value:
    """Add the DQs of codes, and a Cast where they do not give the type of the data; returns the floats."""
    dtype = like.dtype or _SINGLE
    along = {"axis": coded.axis, "block_size": coded.size}
    if coded.tensor is None:
        said = {**along, "output_dtype": int(dtype)}
        inputs = (coded.codes, coded.scales)
        return _added(emitter, (DOMAIN, MXFP8_DEQUANTIZE), inputs, said, (dtype, f"{name}_DequantizeLinear", like))
    inputs, wide = (coded.scales, coded.tensor), (_SINGLE, f"{name}_scale_DequantizeLinear", coded.scales)
    scales = _added(emitter, ("", "DequantizeLinear"), inputs, {}, wide)
    said, result = along, (_SINGLE, f"{name}_DequantizeLinear", like)
    found = _added(emitter, ("", "DequantizeLinear"), (coded.codes, scales), said, result)
    if dtype is _SINGLE:
        return found
    return _added(emitter, ("", "Cast"), (found,), {"to": int(dtype)}, (dtype, f"{name}_Cast", like))


def _added(
    emitter: Emitter,
    operator: tuple[str, str],
    inputs: tuple[ir.Value, ...],
    attributes: dict[str, int],
    result: tuple[ir.DataType, str, ir.Value],
) -> ir.Value:
    """Add one node behind the last thing it reads.

    Args:
        emitter: Of the graph.
        operator: Domain and type.
        inputs: What it reads.
        attributes: Its numbers.
        result: Type of what it gives, name of the node, and a value of the shape of that.
    """
    dtype, name, like = result
    floats = ir.Value(type=ir.TensorType(dtype), shape=like.shape)
    said = [ir.AttrInt64(key, number) for key, number in attributes.items()]
    node = ir.Node(*operator, inputs, said, outputs=[floats], name=emitter.names.node(name))
    floats.name = emitter.names.value(f"{node.name}_Output")
    made = [value for value in inputs if value.producer() is not None]
    emitter.place(node, made[-1] if made else inputs[0])
    return floats
