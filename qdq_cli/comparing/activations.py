"""The activation side of a quantized graph: which Q reads which tensor, and the graph without these Q/DQ."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qtypes import QTYPES, QType
from qdq_cli.comparing.match import CODE_TYPES, is_image, is_quantize
from qdq_cli.model.nodes import constant_at, consumers, input_at
from qdq_cli.model.scales import stored_type
from qdq_cli.placement.operators import OpClass, operator_of


@dataclass(frozen=True)
class CodeRange:
    """What one scale can hold.

    Args:
        low: Real value of qmin.
        high: Real value of qmax.
        scale: Real units a step; of a float type, the real value of its 1.0.
        zero_point: The code of 0.0.
        qtype: The stored type, of a floating-point type; None for integers.
    """

    low: float
    high: float
    scale: float
    zero_point: int
    qtype: QType | None = None

    @property
    def amax(self) -> float:
        """Largest absolute value that is kept."""
        return max(abs(self.low), abs(self.high))

    def code(self, value: float) -> float:
        """The code of a real value."""
        kept = min(max(value, self.low), self.high)
        if self.qtype is not None:
            return float(nearest(np.asarray(kept / self.scale), self.qtype))
        return float(np.rint(kept / self.scale)) + self.zero_point


def float_type(node: ir.Node) -> QType | None:
    """Return the floating-point type of what a Q writes or a DQ reads; None for integers."""
    qtype = QTYPES.get(stored_type(node).name.lower())
    return None if qtype is None or qtype.grid is None else qtype


def nearest(scaled: NDArray[np.float64], qtype: QType) -> NDArray[np.float64]:
    """Return the values of a floating-point type that are nearest to others, which are in units of the scale."""
    zero = np.zeros((), qtype.dtype)
    return qtype.decode(qtype.encode(np.array(scaled, np.float32), zero), zero).astype(np.float64)


def code_limits(node: ir.Node) -> tuple[int, int]:
    """Return qmin and qmax of what a Q writes or a DQ reads; those of INT32 for a bias."""
    kind, floats = stored_type(node), float_type(node)
    if floats is not None:
        return floats.qmin, floats.qmax
    name = kind.name if kind in CODE_TYPES else "INT32"
    bits = next(bits for bits in (32, 16, 8, 4) if name.endswith(str(bits)))
    return (0, 2**bits - 1) if name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def code_range(node: ir.Node) -> CodeRange | None:
    """Return what a Q or DQ of one constant scale can hold; None for several scales, or one that is computed."""
    scale, zero_point = constant_at(node, 1), constant_at(node, 2)
    if scale is None or scale.size != 1 or (input_at(node, 2) is not None and zero_point is None):
        return None
    qmin, qmax = code_limits(node)
    floats = float_type(node)
    step = float(scale.reshape(()))
    zero = 0 if zero_point is None or floats is not None else int(zero_point.reshape(()))
    if not np.isfinite(step) or step <= 0:
        return None
    return CodeRange((qmin - zero) * step, (qmax - zero) * step, step, zero, floats)


def pairs_left_out(quantized: ir.Model, constant_nodes: Collection[ir.Node]) -> Mapping[ir.Value, ir.Value]:
    """Say what stands for the results of the Q and DQ of activations in the graph without them.

    Args:
        quantized: Comparable.
        constant_nodes: Nodes that depend on constants alone: weights behind Q/DQ, which stay.

    Returns:
        Result of each Q and DQ that can be left out -> its input. A Q can where its codes reach a DQ at once, or
        through operators that move values and take floats as well; where anything else reads codes, those stay.
    """
    quantizes = [node for node in quantized.graph if is_quantize(node) and node not in constant_nodes]
    straight = {node.outputs[0] for node in quantizes if _only_dequantized(node.outputs[0])}
    floating = {node.outputs[0] for node in quantizes}
    if not _reach(quantized, floating):
        floating = straight
        _reach(quantized, floating)
    left_out: dict[ir.Value, ir.Value] = {}
    for node in quantized.graph:
        source = input_at(node, 0)
        if source is None or not node.outputs:
            continue
        is_q = is_quantize(node) and node.outputs[0] in floating
        if is_q or (is_image(node.outputs[0]) and source in floating):
            left_out[node.outputs[0]] = source
    return left_out


def _only_dequantized(codes: ir.Value) -> bool:
    readers = [node for node, slot in consumers(codes) if slot == 0]
    return len(readers) == len(codes.uses()) and all(node.op_type == "DequantizeLinear" for node in readers)


def _reach(quantized: ir.Model, floating: set[ir.Value]) -> bool:
    """Add what becomes float with these codes; says whether every reader can take floats."""
    for node in quantized.graph:
        reads = [value for value in node.inputs if value in floating]
        if not reads or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        codes = [value for value in node.inputs if value is not None and value.dtype in CODE_TYPES]
        if operator_of(node).op_class is not OpClass.COMMUTING or any(value not in floating for value in codes):
            return False
        floating.update(out for out in node.outputs if out.dtype in CODE_TYPES or len(node.outputs) == 1)
    return True
