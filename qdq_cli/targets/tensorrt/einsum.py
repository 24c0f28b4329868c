"""Einsum as what it mostly is, a product of matrices: it counts among the weighted operators, and stays float."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.nodes import is_op

FLOAT = "Einsum runs in float: export the product as MatMul, which has an INT8 form."


def is_product(node: ir.Node) -> bool:
    """Say whether a node is an Einsum that multiplies operands, as a MatMul does."""
    return is_op(node, "Einsum") and len(node.inputs) > 1
