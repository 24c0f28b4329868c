"""A model in operators that ONNX Runtime's CPU computes as they are defined: exact products, and no blocks of FP4."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.model.ordinary_blocks import BLOCK_OPERATORS, ordinary_blocks
from qdq_cli.model.products import PRODUCTS, exact_products

OTHERS = (*PRODUCTS, *BLOCK_OPERATORS)
"""Operators that a file has to mention so that its ordinary form may be another one."""


def ordinary(model: ir.Model) -> ir.Model:
    """Return the model, or a copy that computes what it is defined to with what runs everywhere.

    Args:
        model: Left as it is; weights that stay are shared with the copy.
    """
    return exact_products(ordinary_blocks(model))
