"""The kernels found so far while a graph is simulated: which node is in which layer, which Q and DQ are absorbed.

State of one simulation, passed from the weighted operators to pooling, pointwise groups and what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx_ir as ir

from qdq_cli.model.dynamic import is_dynamic_quantize
from qdq_cli.model.nodes import FLOAT_TYPES, input_at, is_activation, is_constant, only_consumer
from qdq_cli.model.scales import (
    element_count,
    holds_constant,
    is_dequantize,
    is_quantize,
    returns_another_type,
    stored_type,
    tensor_scale,
)
from qdq_cli.placement.propagate import Propagation, nodes_on_codes
from qdq_cli.placement.target import OperatorTable
from qdq_cli.targets.tensorrt.importing import is_shuffle, onnx_name
from qdq_cli.targets.tensorrt.made_float import is_made_float
from qdq_cli.targets.tensorrt.onnx_types import bits_of, coded_precision, precision_of
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import Layer, LayerKind, Operand, Stored

EIGHT_BITS = frozenset({ir.DataType.INT8, ir.DataType.UINT8})
"""Stored types taken as INT8; TensorRT refuses UINT8, which the lint says (A16), so the rest can still be predicted."""

COMPUTED = EIGHT_BITS | {ir.DataType.FLOAT8E4M3FN}
"""Stored types that products are computed on, with one scale for an activation."""


class Slot(NamedTuple):
    """One input slot of one node; a DQ is absorbed for each of its slots alone (R2)."""

    node: ir.Node
    number: int

    @property
    def value(self) -> ir.Value | None:
        """The tensor in the slot."""
        return input_at(self.node, self.number)


@dataclass
class Kernel:
    """One layer under construction.

    Args:
        lead: The node the layer is named after.
        kind: What it is made of.
        nodes: All its nodes, the lead first.
        result: The tensor it writes.
        codes: The type of the codes that it computes on; None where it computes in float.
        residual: The slot of an absorbed Add that reads the residual branch, if any.
        trailing: The Q absorbed at its end, if any.
        weight: The slot of its constant weight, if it has one.
        because: Sentences for the user.
        uncertain: What is not known for sure.
    """

    lead: ir.Node
    kind: LayerKind
    nodes: list[ir.Node]
    result: ir.Value
    codes: Precision | None = None
    residual: Slot | None = None
    trailing: ir.Node | None = None
    weight: Slot | None = None
    because: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)


class Assembly:
    """Kernels of a propagated clone.

    Args:
        graph: The clone's main graph after propagation.
        tensors: Value -> the name the user knows it by; new values have their own names.
        propagation: How it was propagated.
        operators: What the builder does with each operator.
    """

    def __init__(
        self, graph: ir.Graph, tensors: Mapping[ir.Value, str], propagation: Propagation, operators: OperatorTable
    ) -> None:
        self.operators = operators
        self.nodes = tuple(graph)  # the graph stays as it is from here on
        self._tensors = tensors
        self._origins = propagation.origins
        self.on_codes = frozenset(nodes_on_codes(graph))
        self._codes = {value for node in self.on_codes for value in node.outputs}
        self.position: Mapping[ir.Node, int] = {node: place for place, node in enumerate(self.nodes)}
        self.kernels: list[Kernel] = []
        self.kernel_of: dict[ir.Node, Kernel] = {}
        self._absorbed_slots: dict[ir.Node, set[int]] = defaultdict(set)
        self.absorbed_quantizes: set[ir.Node] = set()

    def add(self, kernel: Kernel) -> None:
        """Take a finished kernel in."""
        self.kernels.append(kernel)
        for node in kernel.nodes:
            self.kernel_of[node] = kernel
        if kernel.trailing is not None:
            self.absorbed_quantizes.add(kernel.trailing)

    def absorb(self, slots: Iterable[Slot]) -> None:
        """Note that a kernel takes the DQ in each of these slots in."""
        for slot in slots:
            self._absorbed_slots[slot.node].add(slot.number)

    def absorbs(self, slot: Slot) -> bool:
        """Say whether a kernel takes the DQ in a slot in."""
        return slot.number in self._absorbed_slots.get(slot.node, ())

    def layers(self) -> tuple[Layer, ...]:
        """Return the kernels as records, in graph order."""
        ordered = sorted(self.kernels, key=lambda kernel: self.position[kernel.lead])
        return tuple(self._layer(kernel) for kernel in ordered)

    def tensor_name(self, value: ir.Value) -> str:
        """Return the name the user knows a tensor by: for codes, the float tensor they stand for."""
        producer = value.producer()
        if value not in self._tensors and producer is not None and is_quantize(producer):
            source = input_at(producer, 0)
            return "" if source is None else self.tensor_name(source)
        return self._tensors.get(value, value.name) or ""

    def _layer(self, kernel: Kernel) -> Layer:
        inside = {value for node in kernel.nodes for value in node.outputs}
        read = [
            self._operand(Slot(node, index), value)
            for node in kernel.nodes
            for index, value in enumerate(node.inputs)
            if value is not None and value not in inside and is_run_time(value)
        ]
        written = self._written_as(kernel)
        names = [onnx_name(node) for node in sorted(kernel.nodes, key=self.position.__getitem__)]
        return Layer(
            name=onnx_name(kernel.lead),
            op_type=kernel.lead.op_type,
            kind=kernel.kind,
            nodes=tuple(dict.fromkeys(names)),
            # A residual kernel may read one tensor twice; a pointwise one that does so loads it once.
            inputs=tuple(read if kernel.kind is LayerKind.WEIGHTED else dict.fromkeys(read)),
            outputs=tuple(sorted(self._written(kernel))),
            output_type=written.kind,
            quantized=kernel.codes is not None,
            absorbed=tuple(self._absorbed(kernel)),
            because=tuple(kernel.because),
            uncertain=" ".join(kernel.uncertain),
            precision=_computed_in(kernel),
            output_precision=written,
            weight=None if kernel.weight is None else _stored(kernel, kernel.weight),
        )

    def origins(self, node: ir.Node) -> tuple[str, ...]:
        """Return the names of the ONNX nodes a Q or DQ of the clone comes from."""
        return self._origins.get(node.name or "") or (onnx_name(node),)

    def _written(self, kernel: Kernel) -> set[str]:
        """Return what leaves a kernel; a result that nothing reads is written all the same."""
        members = set(kernel.nodes)
        leaving = {
            self.tensor_name(value)
            for node in kernel.nodes
            for value in (node.outputs[:1] if is_dynamic_quantize(node) else node.outputs)
            if value.is_graph_output() or any(use.node not in members for use in value.uses())
        }
        return leaving or {self.tensor_name(kernel.result)}

    def _absorbed(self, kernel: Kernel) -> list[str]:
        slots = [Slot(node, index) for node in kernel.nodes for index in sorted(self._absorbed_slots.get(node, ()))]
        found: dict[ir.Node, None] = {}
        for slot in slots:
            value = unshuffled(slot.value)
            while value is not None and (producer := value.producer()) is not None and _is_pair_of(producer, value):
                found[producer] = None
                scale = input_at(producer, 1)
                if scale is not None and is_dequantize(maker := scale.producer()) and maker is not None:
                    found[maker] = None  # the scales of the blocks are codes too (NVFP4)
                value = input_at(producer, 0)
        if kernel.trailing is not None:
            found[kernel.trailing] = None
        return list(dict.fromkeys(name for node in found for name in self.origins(node)))

    def _operand(self, slot: Slot, value: ir.Value) -> Operand:
        producer = value.producer()
        if self.absorbs(slot) and producer is not None:
            read = coded_precision(producer)
        else:
            read = precision_of(value.dtype)
            if read.is_quantized and slot.node not in self.on_codes:
                read = Precision.OTHER  # a tensor of integers, and no codes
        return Operand(self.tensor_name(value), read.kind, read)

    def _written_as(self, kernel: Kernel) -> Precision:
        if kernel.trailing is not None:
            return coded_precision(kernel.trailing)
        result = precision_of(kernel.result.dtype)
        if is_dynamic_quantize(kernel.lead):
            return Precision.MXFP8 if result is Precision.FP8 else result
        return result if kernel.result in self._codes or not result.is_quantized else Precision.OTHER


def _computed_in(kernel: Kernel) -> Precision:
    """Return the type a kernel computes in: that of its codes, of its result, or of a float that it reads."""
    if kernel.codes is not None:
        return kernel.codes
    for value in (kernel.result, *kernel.lead.inputs):
        if value is not None and value.dtype in FLOAT_TYPES:
            return precision_of(value.dtype)
    return precision_of(kernel.result.dtype) if kernel.result.dtype is None else Precision.OTHER


def _stored(kernel: Kernel, slot: Slot) -> Stored | None:
    """Say how the weight of a kernel is stored; where floats are computed, a pair around floats leaves floats."""
    weight = unshuffled(slot.value)
    if weight is None:
        return None
    producer, count = weight.producer(), element_count(weight)
    is_coded = producer is not None and is_dequantize(producer)
    if producer is None or not is_coded or (kernel.codes is None and not is_constant(input_at(producer, 0))):
        precision, bits = precision_of(weight.dtype), bits_of(weight.dtype)
    else:
        precision = coded_precision(producer)
        bits = precision.bits or bits_of(stored_type(producer))
    alone = precision not in _FLOATS and kernel.codes is None
    made_float = alone and producer is not None and is_made_float(kernel.lead, producer)
    return Stored(precision, None if count is None else int(count * bits / 8), alone, made_float)


_FLOATS = (Precision.FP32, Precision.FP16, Precision.BF16)


def _is_pair_of(node: ir.Node, value: ir.Value) -> bool:
    """Say whether a node is a DQ, or the Q of a constant: what folds into the kernel that reads it."""
    return is_dequantize(node) or (is_quantize(node) and holds_constant(value))


def is_run_time(value: ir.Value) -> bool:
    """Say whether a tensor is an activation, quantized or not; constants, also behind Q and DQ, are not."""
    quantized = value.dtype in COMPUTED or value.dtype is None
    return (quantized or is_activation(value)) and not holds_constant(unshuffled(value))


def activation_dequantize(slot: Slot) -> ir.Node | None:
    """Return the per-tensor DQ of an activation in a slot, or None."""
    value = slot.value
    producer = None if value is None else value.producer()
    if producer is None or not is_dequantize(producer) or holds_constant(value):
        return None
    scale = tensor_scale(producer)
    if scale is None or scale.qtype not in COMPUTED or returns_another_type(producer):
        return None
    return producer


def trailing_quantize(value: ir.Value, codes: Precision | None = None) -> ir.Node | None:
    """Return the Q that is the only consumer of a tensor, or None (4.4, case 1).

    Args:
        value: A tensor.
        codes: The type of codes that its kernel could write; None for any.
    """
    use = only_consumer(value)
    if use is None or use[1] != 0 or not is_quantize(use[0]):
        return None
    scale = tensor_scale(use[0])
    if scale is None or scale.qtype not in COMPUTED or codes not in (None, precision_of(scale.qtype)):
        return None
    return use[0]


def blocks_of(slot: Slot) -> ir.Node | None:
    """Return the DQ in a slot that reads blocks which the network quantizes while it runs, or None."""
    producer = None if slot.value is None else slot.value.producer()
    codes = None if producer is None or not is_dequantize(producer) else input_at(producer, 0)
    return producer if codes is not None and is_dynamic_quantize(codes.producer()) else None


def unshuffled(value: ir.Value | None) -> ir.Value | None:
    """Follow a weight back over the shuffles between its DQ and its operator."""
    while value is not None and (producer := value.producer()) is not None and is_shuffle(producer):
        value = input_at(producer, 0)
    return value
