"""Names that the importer looks up in its registry of plugins: those TensorRT brings along, and those of a deployment.

Sources: TensorRT's plugin/README.md, and onnx-tensorrt's docs/TRT_custom_ops.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx_ir as ir

from qdq_cli.model.nodes import ONNX_DOMAIN, every_node
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import did_you_mean, some_of

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
    | {"ResizeNearest_TRT", "CustomSkipLayerNormPluginDynamic", "SpecialSlice_TRT", "VoxelGeneratorPlugin"}
)
"""Names of the plugins that ship with TensorRT."""

PLUGIN_DOMAINS = frozenset({"trt", "trt.plugins", "tensorrt", "tensorrt.plugins"})
"""Domains, in small letters, that exporters write plugins in: the user's own ones are loaded with the engine."""

_OWN_PREFIX = "TRT_"

_SEPARATOR = "::"


def is_shipped(node: ir.Node) -> bool:
    """Say whether a node goes by the name of a plugin that ships with TensorRT, or is in a domain of plugins."""
    op_type = node.op_type
    return op_type in PLUGINS or op_type.startswith(_OWN_PREFIX) or node.domain.lower() in PLUGIN_DOMAINS


def is_named(node: ir.Node, plugins: Collection[str]) -> bool:
    """Say whether a deployment has a plugin for a node.

    Args:
        node: A node in any domain.
        plugins: What `--plugin` named: an operator in any domain, or `domain::operator`.
    """
    return bool(plugins) and (node.op_type in plugins or f"{node.domain}{_SEPARATOR}{node.op_type}" in plugins)


def check_plugins(graph: ir.Graph, plugins: Iterable[str]) -> None:
    """Refuse names of plugins that nothing in a model goes by.

    Args:
        graph: The model's graph, as the file has it.
        plugins: What `--plugin` named.

    Raises:
        UsageError: No node has one of the names.
    """
    names = tuple(plugins)
    if not names:
        return
    nodes = list(every_node(graph))
    for name in names:
        if not any(is_named(node, (name,)) for node in nodes):
            raise UsageError(f"No operator of the model is called '{name}', which --plugin names.", _near(name, nodes))


def _near(name: str, nodes: Iterable[ir.Node]) -> str:
    """Say which names there are: those that look alike, then those outside of the default domain."""
    nodes = list(nodes)
    every = {node.op_type for node in nodes} | {_full(node) for node in nodes if node.domain != ONNX_DOMAIN}
    own = sorted({_full(node) for node in nodes if node.domain != ONNX_DOMAIN})
    others = f"Custom operators: {some_of(own, 6)}." if own else "The model has operators of ONNX alone."
    return f"{did_you_mean(name, tuple(sorted(every)))} {others}".lstrip()


def _full(node: ir.Node) -> str:
    return f"{node.domain}{_SEPARATOR}{node.op_type}"
