"""What OpenVINO's CPU plugin makes of a Q/DQ model, without OpenVINO.

Its low precision transformations take the DQ in front of an operator into its kernel, where it has one on integers,
and otherwise behind the operator, where it only moves values or selects among them. What a convolution or a product is
followed by (activations, a sum with another tensor, a Q) is computed in the same kernel. Source: OpenVINO 2026.4,
src/common/low_precision_transformations, and src/plugins/intel_cpu/src/graph_optimizer.cpp (FuseConvolutionAndSimple-
Operation). `tests/targets/test_openvino_fusion.py` holds it against the execution graph that OpenVINO makes.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from qdq_cli.model.nodes import consumers, input_at, is_constant, is_op, only_consumer
from qdq_cli.model.scales import is_dequantize, is_pair_half, is_quantize, stored_type
from qdq_cli.placement.operators import is_weighted
from qdq_cli.placement.prediction import Alone, Fused, Fusions
from qdq_cli.placement.target import Epilogue, OperatorTable

_BYTES = (ir.DataType.UINT8, ir.DataType.INT8)

POOLS = ("AveragePool", "GlobalAveragePool", "ReduceMean")

KERNELS = {
    "Conv": "Convolution", "ConvTranspose": "Deconvolution", "Gemm": "FullyConnected", "MatMul": "FullyConnected",
    "AveragePool": "Pooling", "GlobalAveragePool": "Reduce", "ReduceMean": "Reduce",
}  # fmt: skip
"""Operator -> what its execution graph calls the kernel."""

DATA = "its data come from no DQ"
WEIGHT = "its weight comes from no DQ of constant codes"


def fuse(model: ir.Model, table: OperatorTable) -> Fusions:
    """Say what becomes of a model, which is left as it is.

    Args:
        model: A Q/DQ model, sorted.
        table: What the runtime does with operators.
    """
    return _Transformer(model, table).run()


class _Transformer:
    """Looks at a model operator by operator, and follows the codes that reach each."""

    def __init__(self, model: ir.Model, table: OperatorTable) -> None:
        self._nodes, self._table = list(model.graph), table
        self._codes: set[ir.Value] = set()
        self._fused: dict[ir.Node, str] = {}
        self._merged: dict[ir.Node, ir.Node] = {}
        self._taken: set[ir.Node] = set()
        self._left: dict[str, str] = {}

    def run(self) -> Fusions:
        """Find what is on integers, what their kernels compute besides, and which Q and DQ stay."""
        for node in self._nodes:
            self._look_at(node)
        fused = tuple(
            Fused(node.name or "", node.op_type, name, self._writes_codes(node)) for node, name in self._fused.items()
        )
        merged = tuple(node.name or "" for node in self._merged)
        return Fusions(fused, tuple(self._alone()), self._left, (), merged)

    def _look_at(self, node: ir.Node) -> None:
        if is_pair_half(node):
            if is_dequantize(node) and stored_type(node) in _BYTES:
                self._codes.update(node.outputs)
            return
        if node.domain or not self._table.has(node) or node in self._merged:
            return
        if is_weighted(node):
            self._look_at_product(node)
        elif is_op(node, *POOLS):
            if input_at(node, 0) in self._codes:
                self._fused[node] = KERNELS[node.op_type]
                self._follow(node)
        elif self._table.commutes(node) and (self._reads_codes(node) or self._is_quantized_before(node)):
            self._fused[node] = node.op_type
            self._codes.update(node.outputs)

    def _look_at_product(self, node: ir.Node) -> None:
        """Look at an operator with products: it wants codes of both operands."""
        given = [input_at(node, slot) in self._codes for slot in (0, 1)]
        if all(given):
            constant = _is_stored(input_at(node, 1)) or _is_stored(input_at(node, 0))
            self._fused[node] = KERNELS[node.op_type] if constant else "MatMul"
        elif any(given):
            self._left[node.name or ""] = WEIGHT if given[0] else DATA
        if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
            self._follow(node)

    def _reads_codes(self, node: ir.Node) -> bool:
        """Say whether all data of an operator that moves values are codes; Concat has several."""
        data = node.inputs if is_op(node, "Concat") else node.inputs[:1]
        return bool(data) and all(value in self._codes for value in data)

    def _is_quantized_before(self, node: ir.Node) -> bool:
        """Say whether the Q behind a Concat moves before it (MoveFakeQuantize)."""
        use = only_consumer(node.outputs[0]) if is_op(node, "Concat") else None
        if use is None or not is_quantize(use[0]) or stored_type(use[0]) not in _BYTES:
            return False
        self._taken.add(use[0])
        return True

    def _follow(self, node: ir.Node) -> None:
        """Find what the kernel of an operator computes besides: activations, one sum, the Q.

        Behind a convolution a sum without a Q goes into a kernel of its own, with whatever follows.
        """
        chain: list[ir.Node] = []
        last, sums = node, 0
        while (behind := self._behind(last)) and not is_quantize(behind[-1]):
            sums += is_op(behind[-1], "Add")
            if behind[-1] in self._merged or sums > 1 or (sums and node not in self._fused):
                break
            chain += behind
            last = behind[-1]
        quantize = behind[0] if behind and is_quantize(behind[0]) else None
        if quantize is not None and node in self._fused:
            self._taken.add(quantize)
        for each in chain:
            if is_op(each, "Add") and quantize is None and is_op(node, "Conv", "ConvTranspose"):
                return
            self._merged[each] = node

    def _behind(self, node: ir.Node) -> list[ir.Node]:
        """Return what reads a result alone and can be computed with it: a Q, a sum, an activation, both of a Swish."""
        made = node.outputs[0]
        use = only_consumer(made)
        if use is not None:
            reader, slot = use
            fits = slot == 0 if is_quantize(reader) else is_op(reader, "Add") or self._ends(reader)
            return [reader] if fits else []
        gates = [reader for reader, _ in consumers(made) if is_op(reader, "Sigmoid")]
        products = [reader for reader, _ in consumers(made) if is_op(reader, "Mul")]
        if made.is_graph_output() or len(made.uses()) != 2 or not (len(gates) == len(products) == 1):
            return []
        use = only_consumer(gates[0].outputs[0])
        return [gates[0], products[0]] if use is not None and use[0] is products[0] else []

    def _ends(self, node: ir.Node) -> bool:
        return not node.domain and self._table.epilogue(node) is not Epilogue.NONE

    def _last(self, node: ir.Node) -> ir.Node:
        """Return the operator that a kernel ends with."""
        start = node
        while (behind := self._behind(node)) and self._merged.get(behind[-1]) is start:
            node = behind[-1]
        return node

    def _writes_codes(self, node: ir.Node) -> bool:
        made = self._last(node).outputs[0]
        if made in self._codes:
            return True
        readers = [reader for reader, _ in consumers(made)]
        return bool(readers) and not made.is_graph_output() and all(map(is_quantize, readers))

    def _alone(self) -> Iterator[Alone]:
        for node in self._nodes:
            value = input_at(node, 0)
            if is_quantize(node) and node not in self._taken and not is_constant(value):
                maker = None if value is None else value.producer()
                if maker is None or maker not in self._fused:
                    name = "" if value is None else value.name or ""
                    yield Alone(node.name or "", node.op_type, name, _name(maker), maker is None)
            elif is_dequantize(node) and not _is_stored(node.outputs[0]):
                yield from self._alone_dequantizes(node)

    def _alone_dequantizes(self, node: ir.Node) -> Iterator[Alone]:
        made = node.outputs[0]
        for reader, _ in consumers(made):
            if reader not in self._fused and reader not in self._merged:
                yield Alone(node.name or "", node.op_type, made.name or "", _name(reader), False)
        if made.is_graph_output():
            yield Alone(node.name or "", node.op_type, made.name or "", "", True)


def _name(node: ir.Node | None) -> str:
    return "" if node is None else node.name or ""


def _is_stored(value: ir.Value | None) -> bool:
    """Say whether a value is a DQ of constant codes, or of constant floats that a Q reads."""
    maker = None if value is None else value.producer()
    while maker is not None and is_pair_half(maker):
        value = input_at(maker, 0)
        maker = None if value is None else value.producer()
    return is_constant(value)
