"""TensorRT's operators that quantize in blocks: the scales of a tensor's blocks are computed while the network runs.

Exporters write them in the domain `trt`, or in none. ONNX knows nothing of them, so types and shapes behind them are
inferred on operators that keep a shape as they do.

Source: the custom operators of TensorRT (docs/TRT_custom_ops.md of onnx/onnx-tensorrt).
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from qdq_cli.model.nodes import input_at, is_op

DOMAIN = "trt"

FP4_QUANTIZE = "TRT_FP4DynamicQuantize"
MXFP8_QUANTIZE = "TRT_MXFP8DynamicQuantize"
MXFP8_DEQUANTIZE = "TRT_MXFP8DequantizeLinear"

BLOCKS = {ir.DataType.FLOAT4E2M1: 16, ir.DataType.FLOAT8E4M3FN: 32}
"""Type of codes -> values of a block: NVFP4 and MXFP8."""

CODES = {FP4_QUANTIZE: ir.DataType.FLOAT4E2M1, MXFP8_QUANTIZE: ir.DataType.FLOAT8E4M3FN}
"""Operator -> type of the codes that it writes first."""

SCALES = {FP4_QUANTIZE: ir.DataType.FLOAT8E4M3FN, MXFP8_QUANTIZE: ir.DataType.FLOAT8E8M0}
"""Operator -> type of the scales of the blocks, its second output."""


def is_dynamic_quantize(node: ir.Node | None) -> bool:
    """Say whether a node quantizes blocks with scales that it computes itself."""
    return node is not None and node.op_type in CODES


def is_block_dequantize(node: ir.Node | None) -> bool:
    """Say whether a node is TensorRT's own DQ of blocks, for scales that are powers of two."""
    return node is not None and node.op_type == MXFP8_DEQUANTIZE


def is_about_blocks(node: ir.Node | None) -> bool:
    """Say whether a node is one of TensorRT's own operators on blocks."""
    return is_dynamic_quantize(node) or is_block_dequantize(node)


def is_of_two_steps(node: ir.Node) -> bool:
    """Say whether a node is one of the two DQs of NVFP4: of the scales of blocks, or of the codes by these."""
    if not is_op(node, "DequantizeLinear"):
        return False
    scale = input_at(node, 1)
    by_scales = scale is not None and is_op(scale.producer(), "DequantizeLinear")
    return by_scales or any(is_op(use.node, "DequantizeLinear") and use.idx == 1 for use in node.outputs[0].uses())


def spell_for_inference(graph: onnx.GraphProto) -> None:
    """Write these operators as Casts, which ONNX's inference follows; for a protobuf that is used for nothing else."""
    for node in graph.node:
        if node.op_type in CODES and node.input and node.output:
            for name in node.output[1:]:
                graph.value_info.append(onnx.helper.make_tensor_value_info(name, int(SCALES[node.op_type]), None))
            _become_cast(node, int(CODES[node.op_type]))
        elif node.op_type == MXFP8_DEQUANTIZE and node.input:
            said = [attribute.i for attribute in node.attribute if attribute.name == "output_dtype"]
            _become_cast(node, said[0] if said else int(ir.DataType.FLOAT))


def _become_cast(node: onnx.NodeProto, to: int) -> None:
    node.op_type, node.domain = "Cast", ""
    del node.input[1:], node.output[1:], node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("to", to))
