"""Operators that ONNX Runtime's graph optimizer makes out of ordinary ones; a file saved behind it holds them.

They say nothing to any other runtime, and hide convolutions and matrix products from whoever reads the model.

Source: ONNX Runtime, "Graph optimizations" (extended and layout optimizations) and docs/ContribOperators.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import onnx_ir as ir

from qdq_cli.screen.sentences import some_of

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

HIDDEN_PRODUCTS = frozenset(
    {"FusedConv", "FusedGemm", "FusedMatMul", "FusedMatMulActivation", "TransposeMatMul", "NhwcConv", "NhwcFusedConv"}
    | {"Attention", "PackedAttention", "MultiHeadAttention", "PackedMultiHeadAttention", "GroupQueryAttention"}
    | {"DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "Conv", "ConvTranspose", "Gemm", "MatMul"}
)
"""Those of both kinds in which convolutions and matrix products are hidden."""

ORIGINAL = "take the model from before, or save it at its level ORT_ENABLE_BASIC, which keeps the operators of ONNX."

WAY_OUT = f"ONNX Runtime's optimizer made it: {ORIGINAL}"


def is_optimizer_made(node: ir.Node) -> bool:
    """Say whether a node is an operator that ONNX Runtime's optimizer makes, not an exporter."""
    domain = node.domain
    return bool(domain) and (domain in LAYOUT_DOMAINS or (domain == "com.microsoft" and node.op_type in FUSED))


def hides_product(node: ir.Node) -> bool:
    """Say whether such an operator computes what a convolution or a matrix product does."""
    return is_optimizer_made(node) and node.op_type in HIDDEN_PRODUCTS


def named(nodes: Iterable[ir.Node]) -> str:
    """List operators with their domains and numbers, the commonest first, and a few of their nodes' names."""
    nodes = list(nodes)
    kinds = Counter(f"{node.domain}.{node.op_type}" for node in nodes)
    counts = some_of([f"{kind} {number}x" for kind, number in kinds.most_common()], 4)
    names = some_of([f"'{node.name}'" for node in nodes])
    return f"{counts}; {names}"
