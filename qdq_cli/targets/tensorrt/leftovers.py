"""Everything that is no weighted kernel: pooling, pointwise groups, commuting operators, and what stays float (4.5)."""

from __future__ import annotations

from collections import defaultdict

import onnx_ir as ir

from qdq_cli.model.dynamic import is_dynamic_quantize
from qdq_cli.model.foreign import hides_product
from qdq_cli.model.nodes import input_at, is_constant, is_op, is_shape_computation
from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize
from qdq_cli.placement.operators import OpClass, is_spatial_mean, operator_of
from qdq_cli.placement.topology import is_pointwise
from qdq_cli.targets.tensorrt.assembly import (
    Assembly,
    Kernel,
    Slot,
    activation_dequantize,
    is_run_time,
    trailing_quantize,
    unshuffled,
)
from qdq_cli.targets.tensorrt.einsum import FLOAT, is_product
from qdq_cli.targets.tensorrt.onnx_types import coded_precision, precision_of
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import LayerKind

POINTWISE = "Whether pointwise kernels read INT8 and write float depends on the GPU (section 9, item 11)."
FOREIGN = "ONNX Runtime's optimizer made it, and TensorRT has no such operator (section 1.9)."
DYNAMIC = "It computes the scales of its blocks while the network runs, so it is a kernel of its own (section 7)."
NORM = (
    "A batch normalization outside a convolution in INT8 is documented for pre-activation networks only (section 2.2)."
)
GATHER = "One report says that Q/DQ around Gather do not pair up (section 9, item 10)."
RESIZE = "One user saw a nearest Resize stay float (section 9, item 9)."
NO_EVIDENCE = "Commutes in arithmetic; that TensorRT crosses it was not seen in any public engine (section 2.3)."

_DOUBTS = {"Gather": GATHER, "GatherND": GATHER, "GatherElements": GATHER, "Resize": RESIZE, "Upsample": RESIZE}
_DOUBTS |= dict.fromkeys(("Expand", "Tile", "DepthToSpace", "SpaceToDepth", "ReduceMax", "ReduceMin"), NO_EVIDENCE)


def build_leftovers(assembly: Assembly) -> None:
    """Build a kernel for every node that is in none yet."""
    for nodes in _pointwise_groups(assembly):
        _build_pointwise(assembly, nodes)
    for node in assembly.nodes:
        if node in assembly.kernel_of or is_quantize(node) or is_dequantize(node) or not _is_layer(node):
            continue
        if is_spatial_mean(node):
            _build_pooling(assembly, node)
        elif node in assembly.on_codes:
            _build_commuting(assembly, node)
        elif is_dynamic_quantize(node):
            assembly.add(Kernel(node, LayerKind.OTHER, [node], node.outputs[0], because=[DYNAMIC]))
        elif hides_product(node):
            assembly.add(Kernel(node, LayerKind.WEIGHTED, [node], node.outputs[0], because=[FOREIGN]))
        elif is_product(node):
            assembly.add(Kernel(node, LayerKind.WEIGHTED, [node], node.outputs[0], because=[FLOAT]))
        else:
            assembly.add(
                Kernel(node, LayerKind.OTHER, [node], node.outputs[0], because=_why_not_on_codes(assembly, node))
            )


def _is_layer(node: ir.Node) -> bool:
    """Say whether a node computes on run-time data; shape computations and constants are no layers."""
    if is_shape_computation(node) or not node.outputs or holds_constant(unshuffled(node.outputs[0])):
        return False
    return not node.inputs or any(value is not None and not is_constant(value) for value in node.inputs)


def _why_not_on_codes(assembly: Assembly, node: ir.Node) -> list[str]:
    """Say why a class C operator works on floats; there is nothing to say about class F."""
    if operator_of(node).op_class is not OpClass.COMMUTING:
        return []
    if obstacle := assembly.operators.obstacle_to_commuting(node):
        return [f"Neither Q nor DQ can cross it: {obstacle} (section 2.3)."]
    return ["It could work on INT8 codes (class C), but no Q behind it and no DQ before it reaches it (R4, R5)."]


def _build_commuting(assembly: Assembly, node: ir.Node) -> None:
    codes = precision_of(node.outputs[0].dtype)
    kernel = Kernel(node, LayerKind.COMMUTING, [node], node.outputs[0], codes=codes)
    kernel.because.append(f"It moves or selects values, so it works on the {codes.value} codes (class C; R4, R5).")
    if node.op_type in _DOUBTS:
        kernel.uncertain.append(_DOUBTS[node.op_type])
    assembly.add(kernel)


def _build_pooling(assembly: Assembly, node: ir.Node) -> None:
    """Average pooling is one INT8 kernel with a DQ before and a Q behind, and float otherwise (4.5)."""
    kernel = Kernel(node, LayerKind.POOLING, [node], node.outputs[0])
    read, quantize = Slot(node, 0), trailing_quantize(node.outputs[0])
    dequantize = activation_dequantize(read)
    if not assembly.operators.has(node):
        kernel.because.append(f"There is no INT8 kernel for {node.op_type}, so it computes in float.")
    elif dequantize is None:
        kernel.because.append("Its input does not come from a DQ, so it stays float (4.5).")
    elif coded_precision(dequantize) is not Precision.INT8:
        kernel.because.append("Averages have an INT8 form and no FP8 form, so it stays float (section 7).")
    elif quantize is None:
        kernel.because.append("Its result is not read by a Q alone, so it stays float (4.5).")
    else:
        kernel.codes, kernel.trailing = Precision.INT8, quantize
        kernel.because.append("DQ before it and Q behind it: one INT8 kernel (4.5).")
        assembly.absorb([read])
    assembly.add(kernel)


def _build_pointwise(assembly: Assembly, nodes: list[ir.Node]) -> None:
    """A pointwise group is INT8 when all it reads comes from DQ (4.5)."""
    members = set(nodes)
    results = [value for node in nodes for value in node.outputs if _leaves(value, members)]
    kernel = Kernel(nodes[0], LayerKind.POINTWISE, nodes, results[0] if results else nodes[-1].outputs[0])
    inside = {value for node in nodes for value in node.outputs}
    reads = [
        Slot(node, index)
        for node in nodes
        for index, value in enumerate(node.inputs)
        if value is not None and value not in inside and is_run_time(value)
    ]
    floats = [slot for slot in reads if activation_dequantize(slot) is None]
    if reads and not floats:
        _quantize_pointwise(assembly, kernel, reads, results)
    elif len(floats) < len(reads) and floats[0].value is not None:
        kernel.because.append(f"It reads '{floats[0].value.name}' in float, so it stays float (4.5).")
    assembly.add(kernel)


def _quantize_pointwise(assembly: Assembly, kernel: Kernel, reads: list[Slot], results: list[ir.Value]) -> None:
    dequantize = activation_dequantize(reads[0])
    kernel.codes = codes = Precision.INT8 if dequantize is None else coded_precision(dequantize)
    kernel.trailing = trailing_quantize(results[0]) if len(results) == 1 else None
    assembly.absorb(reads)
    if kernel.trailing is not None:
        said = f"All it reads comes from DQ and only a Q reads its result: one {codes.value} kernel (4.5)."
        kernel.because.append(said)
    else:
        kernel.because.append(f"All it reads comes from DQ, so it may read {codes.value} and write float (4.5).")
        kernel.uncertain.append(POINTWISE)
    if any(is_op(node, "BatchNormalization") for node in kernel.nodes):
        kernel.uncertain.append(NORM)


def _leaves(value: ir.Value, nodes: set[ir.Node]) -> bool:
    return value.is_graph_output() or any(use.node not in nodes for use in value.uses())


def _pointwise_groups(assembly: Assembly) -> list[list[ir.Node]]:
    """Join pointwise nodes over tensors that only they read, into groups that are as large as one kernel can be.

    Two nodes may share a kernel only if nothing outside it lies between them. Every node gets a level that rises over
    each other node on the way, and a pointwise node is put off to the level of its readers where they agree; joining
    within a level only can then never close a cycle, whatever the order of the file.
    """
    free = [node for node in assembly.nodes if _is_free(assembly, node)]
    if not free:
        return []
    level = _levels(assembly, set(free))
    parent = {node: node for node in free}
    for node in free:
        readers = _inner_readers(node, level)
        if readers and all(level[reader] == level[node] for reader in readers):
            for reader in readers:
                parent[_root(parent, reader)] = _root(parent, node)
    groups: dict[ir.Node, list[ir.Node]] = defaultdict(list)
    for node in free:
        groups[_root(parent, node)].append(node)
    return list(groups.values())


def _is_free(assembly: Assembly, node: ir.Node) -> bool:
    if node in assembly.kernel_of:
        return False
    return (is_pointwise(node) or is_op(node, "BatchNormalization")) and _is_layer(node)


def _levels(assembly: Assembly, free: set[ir.Node]) -> dict[ir.Node, int]:
    level: dict[ir.Node, int] = {}
    for node in assembly.nodes:
        before = (value.producer() for value in node.inputs if value is not None)
        highest = max((level.get(source, 0) for source in before if source is not None), default=0)
        level[node] = highest if node in free else highest + 1
    for node in reversed(assembly.nodes):
        readers = _inner_readers(node, free) if node in free else []
        if readers and len({level[reader] for reader in readers}) == 1:
            level[node] = level[readers[0]]
    return {node: level[node] for node in free}


def _inner_readers(node: ir.Node, free: set[ir.Node] | dict[ir.Node, int]) -> list[ir.Node]:
    """Return the readers of a node if all of them are pointwise too and nothing else needs its result."""
    value = node.outputs[0]
    readers = [use.node for use in value.uses()]
    inner = not value.is_graph_output() and all(reader in free for reader in readers)
    return readers if inner and input_at(node, 0) is not None else []


def _root(parent: dict[ir.Node, ir.Node], node: ir.Node) -> ir.Node:
    while parent[node] is not node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node
