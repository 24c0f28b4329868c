"""Which operands and results of an operator take a 16-bit float type, by ONNX's own type constraints.

Source: the operator schemas of the installed onnx package, at the opset of the model.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import onnx.defs
import onnx_ir as ir

from qdq_cli.model.nodes import ONNX_DOMAIN

_FLOAT = ir.DataType.FLOAT

LAST_OPSET = 23
"""The newest opset that a model is raised to: the first whose Q and DQ have FP32 scales beside 16-bit data."""

_APART = {
    "Resize": frozenset({1, 2}),
    "Upsample": frozenset({1}),
    "OneHot": frozenset({0, 1}),
    "Dropout": frozenset({1}),
}
"""Operands that say sizes, indices or shares; they stay FP32 whatever the data are."""

_APART_RESULTS = {"LayerNormalization": frozenset({1, 2})}
"""Results that have the type in which the operator computes (`stash_type`), which is FP32."""


@dataclass(frozen=True)
class Slots:
    """The FP32 operands and results of one node that take a 16-bit type.

    Args:
        inputs: Input slots.
        outputs: Output slots.
    """

    inputs: frozenset[int]
    outputs: frozenset[int]


NONE = Slots(frozenset(), frozenset())


def is_single(value: ir.Value | None) -> bool:
    """Say whether a value is a tensor of FP32."""
    return value is not None and isinstance(value.type, ir.TensorType) and value.type.dtype is _FLOAT


def low_slots(node: ir.Node, opset: int, dtype: ir.DataType) -> Slots:
    """Return the slots of a node of the default domain that may become `dtype`.

    An operator with an FP32 result that may not has no slots at all: it runs in FP32.
    """
    typing = _typing(node.op_type, opset, dtype)
    if typing is None:
        return NONE
    apart, apart_results = _APART.get(node.op_type, frozenset()), _APART_RESULTS.get(node.op_type, frozenset())
    inputs = {slot for slot, value in enumerate(node.inputs) if is_single(value) and slot not in apart}
    outputs = {slot for slot, value in enumerate(node.outputs) if is_single(value) and slot not in apart_results}
    if not all(_takes(typing.outputs, slot) for slot in outputs):
        return NONE
    return Slots(frozenset(slot for slot in inputs if _takes(typing.inputs, slot)), frozenset(outputs))


def first_opset(op_type: str, opset: int, dtype: ir.DataType) -> int | None:
    """Return the first opset, this one or a newer, in which an operator takes a type wherever it takes FP32."""
    for number in range(opset, LAST_OPSET + 1):
        typing = _typing(op_type, number, dtype)
        if typing is not None and all(typing.outputs) and any(typing.inputs or (True,)):
            return number
    return None


@dataclass(frozen=True)
class _Typing:
    """By formal operand and result: whether the type is allowed there. The last formal stands for all behind it."""

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]


def _takes(formals: tuple[bool, ...], slot: int) -> bool:
    return bool(formals) and formals[min(slot, len(formals) - 1)]


@functools.cache
def _typing(op_type: str, opset: int, dtype: ir.DataType) -> _Typing | None:
    if not onnx.defs.has(op_type, opset, ONNX_DOMAIN):
        return None
    schema = onnx.defs.get_schema(op_type, opset, ONNX_DOMAIN)
    spelled = f"tensor({dtype.name.lower()})"
    return _Typing(
        tuple(spelled in formal.types for formal in schema.inputs),
        tuple(spelled in formal.types for formal in schema.outputs),
    )
