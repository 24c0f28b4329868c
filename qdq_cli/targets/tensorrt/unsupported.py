"""Operators that no TensorRT release reads, with what to do about each (rules, section 1.9).

The importer looks an operator up by its name; one it does not know has to be a plugin in the registry. So a plugin
that ships with TensorRT is fine in any domain, and everything else outside the ONNX domain is refused.

Sources: the operator page of onnx-tensorrt (docs/operators.md) for what has no importer; TensorRT's plugin/README.md
and onnx-tensorrt's docs/TRT_custom_ops.md for the names it brings along.
"""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.foreign import WAY_OUT, is_optimizer_made
from qdq_cli.model.nodes import ONNX_DOMAIN, input_at, ints_attribute, is_constant, is_op
from qdq_cli.model.opset import is_onnx_operator
from qdq_cli.model.scales import is_pair_half

RUNTIME_DOMAIN = "com.microsoft"

INTEGER_OPERATORS = frozenset(
    {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QLinearAdd"}
    | {"QLinearMul", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearConcat", "QLinearLeakyRelu"}
    | {"QLinearSigmoid", "QLinearSoftmax", "QLinearWhere", "QLinearReduceMean", "QGemm", "QAttention"}
    | {"DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat"}
)
"""Operators that compute on stored integers themselves."""

NO_IMPORTER = frozenset(
    {"Det", "StringNormalizer", "StringConcat", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"}
    | {"SequenceConstruct", "SequenceEmpty", "SequenceAt", "SequenceInsert", "SequenceErase", "SequenceLength"}
    | {"SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement"}
)
"""ONNX operators without an importer: determinants, text, sequences and optional values."""

PLUGINS = frozenset(
    {"BatchTilePlugin_TRT", "BatchedNMS_TRT", "BatchedNMSDynamic_TRT", "CustomQKVToContextPluginDynamic", "Clip_TRT"}
    | {"CoordConvAC", "CropAndResize", "CropAndResizeDynamic", "DecodeBbox3DPlugin", "DetectionLayer_TRT"}
    | {"DisentangledAttention_TRT", "EfficientNMS_TRT", "EfficientNMS_ONNX_TRT", "EfficientNMS_Implicit_TF_TRT"}
    | {"EfficientNMS_Explicit_TF_TRT", "CustomEmbLayerNormPluginDynamic", "CustomFCPluginDynamic"}
    | {"FlattenConcat_TRT", "CustomGeluPluginDynamic", "GenerateDetection_TRT", "GridAnchor_TRT", "GridAnchorRect_TRT"}
    | {"GroupNormalizationPlugin", "InstanceNormalization_TRT", "LReLU_TRT", "ModulatedDeformConv2d"}
    | {"MultilevelCropAndResize_TRT", "MultilevelProposeROI_TRT", "MultiscaleDeformableAttnPlugin_TRT", "NMS_TRT"}
    | {"NMSDynamic_TRT", "Normalize_TRT", "RPROI_TRT", "PillarScatterPlugin", "PriorBox_TRT", "ProposalLayer_TRT"}
    | {"Proposal", "ProposalDynamic", "PyramidROIAlign_TRT", "Region_TRT", "Reorg_TRT", "ROIAlign_TRT"}
    | {"ResizeNearest_TRT", "ScatterElements", "ScatterND", "CustomSkipLayerNormPluginDynamic", "SpecialSlice_TRT"}
    | {"VoxelGeneratorPlugin"}
)
"""Names of the plugins that ship with TensorRT."""

PLUGIN_DOMAINS = frozenset({"trt", "trt.plugins", "tensorrt", "tensorrt.plugins"})
"""Domains, in small letters, that exporters write plugins in: the user's own ones are loaded with the engine."""

_OWN_PREFIX = "TRT_"

_PLUGIN = "Load a plugin of that name (from TensorRT 8.6 on trtexec --staticPlugins), or export without this operator."
_QDQ = "Export in the Q/DQ format (ONNX Runtime: QuantFormat.QDQ), not with integer operators."
_MOVABLE = "`qdq fix` writes Q/DQ of 8 bits in the ONNX domain; quantize other types to INT8."
_WITHOUT = "Export the model without it; nothing replaces it here."


def refusal(node: ir.Node) -> tuple[str, str] | None:
    """Say what TensorRT refuses about a node by its operator alone, and what to do; None where it reads it.

    Args:
        node: A node in any domain.

    Returns:
        The operator with its domain, and one sentence with the way out.
    """
    op_type, domain = node.op_type, node.domain
    if domain == ONNX_DOMAIN:
        return _in_onnx_domain(node)
    found = f"{domain}.{op_type}"
    if op_type in INTEGER_OPERATORS:
        return found, _QDQ
    if domain == RUNTIME_DOMAIN and op_type in ("QuantizeLinear", "DequantizeLinear"):
        return found, _MOVABLE
    if is_optimizer_made(node):
        return found, WAY_OUT
    if op_type in PLUGINS or op_type.startswith(_OWN_PREFIX) or domain.lower() in PLUGIN_DOMAINS:
        return None
    return f"{found}, which is no operator of ONNX and no plugin that ships with TensorRT", _PLUGIN


def _in_onnx_domain(node: ir.Node) -> tuple[str, str] | None:
    op_type = node.op_type
    if op_type in INTEGER_OPERATORS:
        return op_type, _QDQ
    if op_type in NO_IMPORTER:
        return op_type, _WITHOUT
    if op_type == "MaxPool":
        return _max_pool(node)
    if op_type in PLUGINS or op_type.startswith(_OWN_PREFIX) or is_onnx_operator(op_type):
        return None
    return f"{op_type}, which is no operator of ONNX and no plugin that ships with TensorRT", _PLUGIN


def _max_pool(node: ir.Node) -> tuple[str, str] | None:
    if any(size != 1 for size in ints_attribute(node, "dilations") or ()):
        return "MaxPool with dilations", "Export it without dilations; nothing replaces them here."
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return "MaxPool whose Indices are read", "Export it without Indices (and without MaxUnpool)."
    return None


def reads_stored_constant(node: ir.Node) -> ir.Value | None:
    """Return an INT8 constant that a node other than Q and DQ reads, which engines cannot hold; None without one."""
    if is_pair_half(node) or node.op_type in INTEGER_OPERATORS:
        return None
    slots = (0,) if is_op(node, "Clip") else range(len(node.inputs))  # the bounds of Clip become attributes
    for slot in slots:
        value = input_at(node, slot)
        if value is not None and value.dtype is ir.DataType.INT8 and is_constant(value):
            return value
    return None
