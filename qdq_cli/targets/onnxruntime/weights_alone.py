"""ONNX Runtime's tables for weights alone, as its optimizer makes MatMulNBits of them.

It takes a DQ along the inputs in front of a MatMul, or of a Gemm that does not transpose its weight, and the zero
points of blocks with it. Source: ONNX Runtime, core/optimizer/qdq_transformer (DQMatMulToMatMulNBits); seen with 1.32
for INT4 and INT8, blocks that divide the inputs and that do not.
"""

from __future__ import annotations

from dataclasses import replace

from calibrators.qtypes import INT4, INT8
from calibrators.scheme import Block, PerChannel, Scheme
from qdq_cli.placement.target import Target
from qdq_cli.targets import weights_alone

BLOCK_SIZES = (16, 32, 64, 128, 256)
"""Inputs that share a scale: the powers of two that its kernels know."""

DEFAULT_SIZE = 32
"""As its own quantizer has it."""


def in_int4(target: Target) -> Target:
    """Return the table for INT4 weights alone: each block has a zero point as well."""
    scheme = Scheme(INT4, symmetric=False, granularity=Block(0, DEFAULT_SIZE))
    table = weights_alone.weights_alone(target, scheme)
    return replace(table, lowest_opset=21, block_sizes=BLOCK_SIZES, processor=None)


def in_int8(target: Target) -> Target:
    """Return the table for INT8 weights alone, one scale an output channel."""
    return replace(weights_alone.weights_alone(target, Scheme(INT8, granularity=PerChannel(0))), processor=None)
