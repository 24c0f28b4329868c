"""Operators that ONNX Runtime's graph optimizer makes out of ordinary ones; a file saved behind it holds them.

They say nothing to any other runtime, and hide convolutions and matrix products from whoever reads the model.

Source: ONNX Runtime, "Graph optimizations" (extended and layout optimizations) and docs/ContribOperators.md.
"""

from __future__ import annotations

import onnx_ir as ir

LAYOUT_DOMAINS = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Domains of the layout optimizations: every operator in them is made."""

FUSED = frozenset(
    {"FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation", "TransposeMatMul", "NhwcConv", "NhwcFusedConv"}
    | {"NhwcMaxPool", "Gelu", "BiasGelu", "FastGelu", "QuickGelu", "BiasSplitGelu", "BiasAdd", "BiasDropout"}
    | {"BiasSoftmax", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization"}
    | {"SkipGroupNorm", "GroupNorm", "Attention", "PackedAttention", "MultiHeadAttention", "PackedMultiHeadAttention"}
    | {"DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "GroupQueryAttention", "RotaryEmbedding"}
    | {"RemovePadding", "RestorePadding", "GatedRelativePositionBias"}
)
"""Operators of the domain com.microsoft that fusions make."""

WAY_OUT = (
    "ONNX Runtime's optimizer made it: take the model from before, or save it at its level ORT_ENABLE_BASIC, "
    "which keeps the operators of ONNX."
)


def is_optimizer_made(node: ir.Node) -> bool:
    """Say whether a node is an operator that ONNX Runtime's optimizer makes, not an exporter."""
    return node.domain in LAYOUT_DOMAINS or (node.domain == "com.microsoft" and node.op_type in FUSED)
