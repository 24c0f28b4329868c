"""With which options `qdq quantize` would write a file of the same kind again: its target, and its type."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.config.forms import DEFAULT_TARGET, QuantType
from qdq_cli.model.dynamic import CODES, is_dynamic_quantize
from qdq_cli.model.nodes import every_node, input_at, is_constant
from qdq_cli.model.provenance import target_of
from qdq_cli.model.scales import is_dequantize, is_quantize, stored_type

_COMPUTED = {
    ir.DataType.INT8: QuantType.INT8,
    ir.DataType.UINT8: QuantType.INT8,
    ir.DataType.FLOAT8E4M3FN: QuantType.FP8,
}
_IN_BLOCKS = {ir.DataType.FLOAT4E2M1: QuantType.NVFP4, ir.DataType.FLOAT8E4M3FN: QuantType.MXFP8}
_STORED = {
    ir.DataType.INT4: QuantType.INT4_WEIGHTS,
    ir.DataType.UINT4: QuantType.INT4_WEIGHTS,
    ir.DataType.INT8: QuantType.INT8_WEIGHTS,
    ir.DataType.UINT8: QuantType.INT8_WEIGHTS,
}


def options_of(model: ir.Model) -> tuple[str, ...]:
    """Return the options that differ from the defaults, such as `--target onnxruntime`.

    Args:
        model: A quantized model as it was read. Of several types there is no option, so none is named.
    """
    target = target_of(model)
    kinds = _computed(model) or _stored(model)
    kind = next(iter(kinds)) if len(kinds) == 1 else QuantType.INT8
    return (
        *((f"--target {target}",) if target not in ("", DEFAULT_TARGET) else ()),
        *((f"--type {kind.value}",) if kind is not QuantType.INT8 else ()),
        *(("--experimental",) if kind.experimental else ()),
    )


def _computed(model: ir.Model) -> set[QuantType]:
    """The types of what is quantized while the model runs."""
    found = set()
    for node in every_node(model.graph):
        data = input_at(node, 0)
        if is_dynamic_quantize(node):
            found.add(_IN_BLOCKS[CODES[node.op_type]])
        elif is_quantize(node) and data is not None and not is_constant(data):
            found.add(_COMPUTED.get(stored_type(node), QuantType.INT8))
    return found


def _stored(model: ir.Model) -> set[QuantType]:
    """The types of weights that are stored as codes."""
    nodes = [node for node in every_node(model.graph) if is_dequantize(node) or is_quantize(node)]
    return {_STORED[kind] for node in nodes if (kind := stored_type(node)) in _STORED}
