"""What ONNX Runtime's optimizer makes of a Q/DQ model on the CPU, without ONNX Runtime.

It moves Q and DQ over operators that move data, takes a Relu or Clip away that the codes behind it make superfluous,
gives every reader a DQ of its own, and then looks at each operator with the DQs before and the Qs behind it. Source:
ONNX Runtime 1.24, core/optimizer/qdq_transformer: qdq_propagation, qdq_util (IsClipMadeRedundantByQ),
weight_bias_quantization, ensure_unique_dq_for_node_unit, selectors_actions/qdq_selectors and
qdq_selector_action_transformer. `tests/targets/test_fusion.py` holds it against what the optimizer writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from qdq_cli.model.nodes import (
    constant_at,
    consumers,
    float_attribute,
    input_at,
    is_constant,
    is_op,
    only_consumer,
)
from qdq_cli.model.opset import opset_of
from qdq_cli.model.scales import (
    element_count,
    is_dequantize,
    is_pair_half,
    is_quantize,
    stored_type,
    tensor_scale,
)
from qdq_cli.placement.bias import bias_use
from qdq_cli.placement.kept_float import is_rounded
from qdq_cli.placement.prediction import Alone, Fused, Fusions
from qdq_cli.placement.propagate import propagate
from qdq_cli.targets.onnxruntime.double_pairs import join_double_pairs

_INT32, _INT8 = ir.DataType.INT32, ir.DataType.INT8
_BYTES = (ir.DataType.UINT8, _INT8)

CROSSED = ("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice")
"""Operators that it moves Q and DQ over."""

KEEPING = (*CROSSED, "Expand", "Flatten", "Gather", "GatherElements", "Tile", "Resize", "ReduceMax", "ReduceMin")
"""Operators that stay themselves on codes, between a DQ and a Q of one scale."""

UNARY = ("AveragePool", "LeakyRelu", "GlobalAveragePool", "Sigmoid", "Softmax")
BINARY = ("Add", "Mul")

HIGHEST_OPSET = 22
"""Q and DQ of later opsets are not looked at: their versions are 10, 13, 19 and 21."""


def fuse(model: ir.Model) -> Fusions:
    """Say what becomes of a model, which is left as it is."""
    copy = model.clone()
    if opset_of(copy) <= HIGHEST_OPSET:
        join_double_pairs(copy)
    unread = _unread(copy)
    copy.graph.outputs.extend(unread)  # so that they stay where they are, as they do there
    if opset_of(copy) <= HIGHEST_OPSET:
        propagate(copy, may_move=_is_crossed, only_moves=True)
    return _Optimizer(copy, unread).run()


def _unread(model: ir.Model) -> list[ir.Value]:
    """Return the results of DQs that nothing reads: its optimizer takes none of them away."""
    made = (node.outputs[0] for node in model.graph if is_dequantize(node))
    return [value for value in made if not value.uses() and not value.is_graph_output()]


def _is_crossed(node: ir.Node) -> bool:
    """Say whether Q and DQ move over a node: no Q of another scale waits behind it."""
    first, *others = (bool(value.uses()) or value.is_graph_output() for value in node.outputs)
    if not is_op(node, *CROSSED) or not first or any(others):
        return False
    before = None if (value := input_at(node, 0)) is None else value.producer()
    scale = tensor_scale(before) if is_dequantize(before) else None
    behind = [tensor_scale(reader) for reader, slot in consumers(node.outputs[0]) if is_quantize(reader) and slot == 0]
    return scale is None or all(other == scale for other in behind)


class _Optimizer:
    """Looks at a model whose Q and DQ have moved, operator by operator."""

    def __init__(self, model: ir.Model, unread: Sequence[ir.Value] = ()) -> None:
        self._nodes = list(model.graph)
        self._unread = frozenset(unread)
        self._opset = opset_of(model)
        self._dropped: dict[ir.Node, ir.Node] = {}
        self._taken: set[ir.Node] = set()
        self._fused: dict[ir.Node, str] = {}
        self._left: dict[str, str] = {}

    def run(self) -> Fusions:
        """Fuse what can be, and tell what stays."""
        if self._opset <= HIGHEST_OPSET:
            for node in self._nodes:
                self._look_at(node)
        fused = tuple(
            Fused(node.name or "", node.op_type, name, self._writes_codes(node)) for node, name in self._fused.items()
        )
        dropped = tuple(node.name or "" for node in self._dropped)
        return Fusions(fused, tuple(self._alone()), self._left, dropped)

    def _look_at(self, node: ir.Node) -> None:
        if is_pair_half(node) or node.domain:
            return
        if is_op(node, *KEEPING, "Concat") and self._reads_codes(node):
            self._fused[node] = node.op_type
            return
        before = [_dequantize(value) for value in node.inputs if value is not None]
        given = [found for found in before if found is not None]
        rule = _RULES.get(node.op_type)
        if rule is None or not given or node in self._fused:
            return
        if any(scale is not None and scale.dtype in _HALF for scale in (found.inputs[1] for found in given)):
            self._left[node.name or ""] = HALF
            return
        bias = _added_bias(node) if is_op(node, "MatMul") else None
        if bias is not None:
            self._look_at_sum(node, bias, given)
            return
        behind = self._behind(node)
        self._settle(node, rule(node, given, behind), _name_of_kernel(node, behind), behind)

    def _look_at_sum(self, node: ir.Node, bias: ir.Value, given: Given) -> None:
        """Look at a product and the Add behind it as one Gemm, which has the name of the product."""
        add = next(reader for reader, _ in consumers(node.outputs[0]))
        behind = self._behind(add)
        why = _product(node, given, behind)
        why = why or _bias(bias, (given[0], given[1]), behind)
        self._settle(node, why, "QGemm", behind)
        if not why:
            self._fused[add] = "QGemm"

    def _settle(self, node: ir.Node, why: str, name: str, behind: Behind) -> None:
        if why:
            self._left[node.name or ""] = why
            return
        self._fused[node] = name
        self._taken.update(behind or ())

    # What stands around an operator.

    def _reads_codes(self, node: ir.Node) -> bool:
        """Say whether a Q or DQ moved over an operator: its data are codes then."""
        value = input_at(node, 0)
        return value is not None and value.dtype in _BYTES

    def _writes_codes(self, node: ir.Node) -> bool:
        """Say whether a Q stands behind an operator, or has moved over it."""
        return node.outputs[0].dtype in _BYTES or self._behind(node) is not None

    def _behind(self, node: ir.Node) -> tuple[ir.Node, ...] | None:
        """Return the Qs behind an operator, one for each result that is used; None where anything else reads one."""
        found = []
        for value in node.outputs:
            if not value.name or not (value.uses() or value.is_graph_output()):
                continue
            quantize = self._quantize(value)
            if quantize is None:
                return None
            found.append(quantize)
        return tuple(found) or None

    def _quantize(self, value: ir.Value) -> ir.Node | None:
        """Return the one Q that reads a tensor, over a clipping that it makes superfluous."""
        use = only_consumer(value)
        if use is None:
            return None
        reader, slot = use
        if is_quantize(reader):
            return reader if slot == 0 else None
        if not is_op(reader, "Relu", "Clip"):
            return None
        behind = only_consumer(reader.outputs[0])
        if behind is None or not is_quantize(behind[0]) or not _is_superfluous(reader, behind[0]):
            return None
        self._dropped[reader] = behind[0]
        return behind[0]

    # What stays.

    def _alone(self) -> list[Alone]:
        found = []
        for node in self._nodes:
            if is_quantize(node) and node not in self._taken and not is_constant(input_at(node, 0)):
                found.append(_alone_quantize(node))
            elif is_dequantize(node):
                found += self._alone_dequantizes(node)
            elif is_op(node, "MaxPool") and len(node.outputs) > 1 and _dequantize_at(node, 0) is not None:
                found += _pair_behind(node)
        return found

    def _alone_dequantizes(self, node: ir.Node) -> list[Alone]:
        """One for each reader in float: every reader gets a DQ of its own."""
        made = node.outputs[0]
        readers = [reader for reader, _ in consumers(made) if reader not in self._fused]
        ends = [(reader.name or "", False) for reader in readers]
        ends += [("", made not in self._unread)] if made.is_graph_output() else []
        return [Alone(node.name or "", node.op_type, made.name or "", name, at_end) for name, at_end in ends]


def _pair_behind(pool: ir.Node) -> list[Alone]:
    """Q and DQ that moving a DQ over a MaxPool leaves behind it, where its indices keep it from running on codes."""
    made = pool.outputs[0]
    readers = [reader for reader, _ in consumers(made) if not is_quantize(reader)]
    name, own = made.name or "", pool.name or ""
    pair = [Alone(f"{name}_dq", "DequantizeLinear", name, reader.name or "", False) for reader in readers]
    return [Alone(f"{name}_q", "QuantizeLinear", name, own, False), *pair] if readers else []


def _alone_quantize(node: ir.Node) -> Alone:
    value = input_at(node, 0)
    maker = None if value is None else value.producer()
    name = "" if value is None else value.name or ""
    return Alone(node.name or "", node.op_type, name, "" if maker is None else maker.name or "", maker is None)


def _dequantize(value: ir.Value) -> ir.Node | None:
    maker = value.producer()
    return maker if maker is not None and is_dequantize(maker) else None


def _is_superfluous(clip: ir.Node, quantize: ir.Node) -> bool:
    """Say whether codes end before a clipping does anything (IsClipMadeRedundantByQ)."""
    scale = tensor_scale(quantize)
    if scale is None or scale.qtype not in _BYTES:
        return False
    lowest, highest = (-128, 127) if scale.qtype is _INT8 else (0, 255)
    if clip.op_type == "Relu":
        return scale.zero_point == lowest
    ends = [constant_at(clip, slot) if input_at(clip, slot) is not None else None for slot in (1, 2)]
    if any(input_at(clip, slot) is not None and end is None for slot, end in zip((1, 2), ends, strict=True)):
        return False
    low = -np.inf if ends[0] is None else np.float32(ends[0])
    high = np.inf if ends[1] is None else np.float32(ends[1])
    step = np.float32(scale.scale)
    return bool(np.rint(low / step) + scale.zero_point <= lowest and np.rint(high / step) + scale.zero_point >= highest)


_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

Given = list[ir.Node]
Behind = tuple[ir.Node, ...] | None

NO_Q = "its result is read as floats, and its kernel writes codes alone"
OPERAND = "not every operand comes from a DQ"
TYPES = "operands and result are not of one type"
BIAS = "its bias is neither INT32 nor a float that ONNX Runtime makes INT32 of"
HALF = "its scales are FP16 or BF16, and its kernel takes FP32 ones"
SCALES = "the scales before and behind it differ"


def _same_type(given: Given, behind: Behind) -> bool:
    types = {stored_type(node) for node in (*given, *(behind or ()))}
    return len(types) == 1 and types <= set(_BYTES)


def _all_given(node: ir.Node, given: Given) -> bool:
    return len(given) == sum(value is not None for value in node.inputs)


def _pointwise(node: ir.Node, given: Given, behind: Behind) -> str:
    if not _all_given(node, given):
        return OPERAND
    if behind is None:
        return NO_Q
    return "" if _same_type(given, behind) else TYPES


def _keeping(node: ir.Node, given: Given, behind: Behind) -> str:
    if len(given) != 1 or _dequantize_at(node, 0) is None:
        return OPERAND
    if behind is None or len(behind) != len([value for value in node.outputs if value.name]):
        return NO_Q
    if any(input_at(found, 0) is not value for found, value in zip(behind, node.outputs, strict=False)):
        return NO_Q  # a clipping between
    scales = {tensor_scale(found) for found in (*given, *behind)}
    return "" if len(scales) == 1 and None not in scales else SCALES


def _dequantize_at(node: ir.Node, slot: int) -> ir.Node | None:
    value = input_at(node, slot)
    return None if value is None else _dequantize(value)


def _weighted(node: ir.Node, given: Given, behind: Behind) -> str:
    data, weight = _dequantize_at(node, 0), _dequantize_at(node, 1)
    if data is not None and is_rounded(node):
        return TYPES if behind is not None and not _same_type([data], behind) else _no_q(node, behind)
    if data is None or weight is None:
        return OPERAND
    if why := _no_q(node, behind):
        return why
    if not _same_type([data], behind) or (stored_type(data) is _INT8 and stored_type(weight) is not _INT8):
        return TYPES
    bias = input_at(node, 2)
    if bias is not None and is_op(node, "Gemm") and float_attribute(node, "beta", 1.0) != 1.0:
        return BIAS
    return "" if bias is None else _bias(bias, (data, weight), behind)


def _no_q(node: ir.Node, behind: Behind) -> str:
    return NO_Q if behind is None and is_op(node, "Conv") else ""


def _bias(bias: ir.Value, operands: tuple[ir.Node, ir.Node], behind: Behind) -> str:
    """Say why a bias keeps an operator float, or "": a float one becomes INT32 where a Q is behind the operator."""
    data, weight = operands
    made = _dequantize(bias)
    if made is not None:
        return "" if stored_type(made) is _INT32 else BIAS
    sizes = None if (scale := input_at(weight, 1)) is None else element_count(scale)
    one = behind is not None and is_constant(bias) and len(bias.shape or ()) == 1 and tensor_scale(data) is not None
    return "" if one and sizes in (1, element_count(bias)) else BIAS


def _product(node: ir.Node, given: Given, behind: Behind) -> str:
    if len(given) != 2:
        return OPERAND
    first, second = (stored_type(found) for found in given)
    if first not in _BYTES or second not in _BYTES or (first is _INT8 and second is not _INT8):
        return TYPES
    return "" if behind is None or _same_type([given[0]], behind) else TYPES


def _added_bias(node: ir.Node) -> ir.Value | None:
    """Return what an Add puts onto a product of matrices, where ONNX Runtime makes a Gemm of both (MatMulAddFusion)."""
    use = bias_use(node)
    return None if use is None else input_at(*use)


Rule = Callable[[ir.Node, Given, Behind], str]

_RULES: dict[str, Rule] = {
    **dict.fromkeys((*UNARY, *BINARY, "Concat"), _pointwise),
    **dict.fromkeys((*KEEPING, "Split"), _keeping),
    **dict.fromkeys(("Conv", "Gemm"), _weighted),
    "MatMul": _product,
}
"""Operator -> why it is not computed on integers, "" where it is."""


def _name_of_kernel(node: ir.Node, behind: Behind) -> str:
    """Name what stands in an operator's place."""
    if is_op(node, "Gemm"):
        return "QGemm"
    if is_op(node, "MatMul") and behind is None:
        return "MatMulIntegerToFloat"
    return node.op_type if is_op(node, *KEEPING, "Split") else f"QLinear{node.op_type}"
