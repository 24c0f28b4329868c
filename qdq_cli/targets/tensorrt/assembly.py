"""The kernels found so far while a graph is simulated: which node is in which layer, which Q and DQ are absorbed.

State of one simulation, passed from the weighted operators to pooling, pointwise groups and what is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx_ir as ir

from qdq_cli.model.nodes import input_at, is_activation, only_consumer
from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize, tensor_scale
from qdq_cli.placement.propagate import Propagation, nodes_on_codes
from qdq_cli.targets.tensorrt.importing import is_shuffle, onnx_name
from qdq_cli.targets.tensorrt.simulation import ElementType, Layer, LayerKind, Operand

EIGHT_BITS = frozenset({ir.DataType.INT8, ir.DataType.UINT8})
"""Stored types taken as INT8; TensorRT refuses UINT8, which the lint says (A16), so the rest can still be predicted."""


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
        int8: Whether it computes on INT8 operands.
        residual: The slot of an absorbed Add that reads the residual branch, if any.
        trailing: The Q absorbed at its end, if any.
        because: Sentences for the user.
        uncertain: What is not known for sure.
    """

    lead: ir.Node
    kind: LayerKind
    nodes: list[ir.Node]
    result: ir.Value
    int8: bool = False
    residual: Slot | None = None
    trailing: ir.Node | None = None
    because: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)


class Assembly:
    """Kernels of a propagated clone.

    Args:
        graph: The clone's main graph after propagation.
        tensors: Value -> the name the user knows it by; new values have their own names.
        propagation: How it was propagated.
    """

    def __init__(self, graph: ir.Graph, tensors: Mapping[ir.Value, str], propagation: Propagation) -> None:
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
            Operand(self.tensor_name(value), self._type_read(Slot(node, index)))
            for node in kernel.nodes
            for index, value in enumerate(node.inputs)
            if value is not None and value not in inside and is_run_time(value)
        ]
        writes_codes = kernel.trailing is not None or kernel.result in self._codes
        names = [onnx_name(node) for node in sorted(kernel.nodes, key=self.position.__getitem__)]
        return Layer(
            name=onnx_name(kernel.lead),
            op_type=kernel.lead.op_type,
            kind=kernel.kind,
            nodes=tuple(dict.fromkeys(names)),
            # A residual kernel may read one tensor twice; a pointwise one that does so loads it once.
            inputs=tuple(read if kernel.kind is LayerKind.WEIGHTED else dict.fromkeys(read)),
            outputs=tuple(sorted(self._written(kernel))),
            output_type=ElementType.INT8 if writes_codes else ElementType.FLOAT,
            quantized=kernel.int8,
            absorbed=tuple(self._absorbed(kernel)),
            because=tuple(kernel.because),
            uncertain=" ".join(kernel.uncertain),
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
            for value in node.outputs
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
                value = input_at(producer, 0)
        if kernel.trailing is not None:
            found[kernel.trailing] = None
        return list(dict.fromkeys(name for node in found for name in self.origins(node)))

    def _type_read(self, slot: Slot) -> ElementType:
        codes = self.absorbs(slot) or slot.node in self.on_codes
        return ElementType.INT8 if codes else ElementType.FLOAT


def _is_pair_of(node: ir.Node, value: ir.Value) -> bool:
    """Say whether a node is a DQ, or the Q of a constant: what folds into the kernel that reads it."""
    return is_dequantize(node) or (is_quantize(node) and holds_constant(value))


def is_run_time(value: ir.Value) -> bool:
    """Say whether a tensor is an activation, quantized or not; constants, also behind Q and DQ, are not."""
    quantized = value.dtype in EIGHT_BITS or value.dtype is None
    return (quantized or is_activation(value)) and not holds_constant(unshuffled(value))


def activation_dequantize(slot: Slot) -> ir.Node | None:
    """Return the per-tensor DQ of an activation in a slot, or None."""
    value = slot.value
    producer = None if value is None else value.producer()
    if producer is None or not is_dequantize(producer) or holds_constant(value):
        return None
    scale = tensor_scale(producer)
    return producer if scale is not None and scale.qtype in EIGHT_BITS else None


def trailing_quantize(value: ir.Value) -> ir.Node | None:
    """Return the Q that is the only consumer of a tensor, or None (4.4, case 1)."""
    use = only_consumer(value)
    if use is None or use[1] != 0 or not is_quantize(use[0]):
        return None
    scale = tensor_scale(use[0])
    return use[0] if scale is not None and scale.qtype in EIGHT_BITS else None


def unshuffled(value: ir.Value | None) -> ir.Value | None:
    """Follow a weight back over the shuffles between its DQ and its operator."""
    while value is not None and (producer := value.producer()) is not None and is_shuffle(producer):
        value = input_at(producer, 0)
    return value
