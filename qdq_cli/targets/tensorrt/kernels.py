"""Weighted operators and what their kernels absorb (rules, section 4.4).

Each weighted operator takes, as far as its result has one consumer: batch-norm and constant scaling, one residual Add
it owns, Relu and Clip, one other activation. Then its output type follows from what reads the last tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.nodes import (
    input_at,
    int_attribute,
    is_activation,
    is_constant,
    is_op,
    may_have_one_shape,
    only_consumer,
    rank,
    static_dims,
)
from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize, returns_another_type, stored_type
from qdq_cli.placement.absorption import absorbing_lead, is_scaling
from qdq_cli.placement.operators import is_weighted
from qdq_cli.placement.target import Epilogue
from qdq_cli.placement.topology import pointwise_chain
from qdq_cli.targets.tensorrt.assembly import (
    Assembly,
    Kernel,
    Slot,
    activation_dequantize,
    blocks_of,
    trailing_quantize,
    unshuffled,
)
from qdq_cli.targets.tensorrt.grouping import groups_without_kernel
from qdq_cli.targets.tensorrt.importing import is_shuffle, onnx_name
from qdq_cli.targets.tensorrt.lint_scales import is_vector_of_one
from qdq_cli.targets.tensorrt.made_float import is_made_float
from qdq_cli.targets.tensorrt.onnx_types import coded_precision
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import LayerKind

DECONV = "Whether a Q fuses behind ConvTranspose differs between versions (section 9, item 2)."
DECONV_FLOAT = "INT8 is documented for ConvTranspose, but TensorRT for RTX 1.7 builds it in float (section 9, item 2)."
OWNER = "Both branches of the Add could absorb it; 8.4 took the one that comes last in the file (section 9, item 16)."
GROUPED = "No INT8 kernel is documented for its {groups}: it may run in float, or fail to build (A33, A34)."
LEFT_WEIGHT = "INT8 with the constant on the left is not documented (section 1.5)."
MOVED_WEIGHT = "The weight passes a shuffle behind its DQ; some versions cannot fuse that (A22)."
DEEP_WEIGHT = "Per-channel scales of a constant of rank 3 or more are documented for 2-D weights only (section 1.5)."
ALONE = (
    "Weights alone fuse into matrix products: INT8 by channels, INT4 in two blocks of inputs or more; in other forms, "
    "and in front of convolutions, a kernel of its own may make them float (section 7)."
)
MX = "MXFP8 may be made float before the product: nothing public shows in which type its kernels multiply (section 7)."
VECTOR = "A scale of shape [1] instead of a scalar keeps it in float in some versions (A2)."
ATTENTION = "A fused attention kernel may take this product with its neighbours (section 3.3)."


@dataclass(frozen=True)
class Operands:
    """The slots of a weighted operator that must be quantized (A31).

    Args:
        data: Slots that read activations.
        weight: Slot of the constant, or None for a product of two activations.
    """

    data: tuple[Slot, ...]
    weight: Slot | None


def fuse_weighted(assembly: Assembly, *, deconv_absorbs_q: bool) -> None:
    """Build the kernels of all weighted operators, in graph order."""
    for node in assembly.nodes:
        if is_weighted(node):
            kernel = _absorbed(assembly, node)
            _decide_types(assembly, kernel, deconv_absorbs_q=deconv_absorbs_q)
            assembly.add(kernel)


def operands_of(node: ir.Node) -> Operands:
    """Return which operands of a weighted operator hold activations and which one its constant weight."""
    first, second = Slot(node, 0), Slot(node, 1)
    if holds_constant(unshuffled(second.value)):
        return Operands((first,), second)
    if is_op(node, "MatMul", "Gemm", "Einsum"):
        if holds_constant(unshuffled(first.value)):
            return Operands((second,), first)
        return Operands((first, second), None)
    return Operands((first,), second)


def feeds_weight(value: ir.Value) -> bool:
    """Say whether a value is the weight of a weighted operator, directly or through shuffles (A22)."""
    return any(is_weight_read(use.node, use.idx) for use in value.uses())


def is_weight_read(reader: ir.Node, slot: int) -> bool:
    """Say whether what a node reads in a slot is the weight of a weighted operator, also through shuffles and Cast."""
    if is_shuffle(reader) or is_op(reader, "Cast"):
        return slot == 0 and feeds_weight(reader.outputs[0])
    weight = operands_of(reader).weight if is_weighted(reader) else None
    return weight is not None and weight.number == slot


def _codes_or_obstacle(assembly: Assembly, node: ir.Node, operands: Operands) -> Precision | str:
    """Return the type of the codes that a weighted operator computes on, or say why it does not (A31, A32)."""
    if is_op(node, "Einsum"):
        return "TensorRT computes Einsum in float."
    found: set[Precision] = set()
    for slot in operands.data:
        dequantize = activation_dequantize(slot) or blocks_of(slot)
        if dequantize is None:
            return _not_quantized(slot)
        found.add(coded_precision(dequantize))
    if operands.weight is not None:
        if obstacle := weight_obstacle(operands.weight):
            return obstacle
        weight = unshuffled(operands.weight.value)
        producer = None if weight is None else weight.producer()
        found.update(() if producer is None else {coded_precision(producer)})
    if len(found) > 1:
        types = " and ".join(sorted(precision.value for precision in found))
        return f"Its operands are {types}, which no kernel multiplies, so it computes in float (A32)."
    return assembly.operators.why_float(node) or found.pop()


def _not_quantized(slot: Slot) -> str:
    producer = None if slot.value is None else slot.value.producer()
    name = slot.value.name if slot.value is not None else "nothing"
    if producer is not None and is_dequantize(producer) and returns_another_type(producer):
        return f"Its input '{name}' comes from a DQ {_OTHER_TYPE}"
    return f"Its input '{name}' does not come from a per-tensor DQ, so it stays float (A31)."


_OTHER_TYPE = "that returns another type than its 16-bit scale, so it computes in float (A11)."


def weight_obstacle(slot: Slot) -> str:
    """Say why the operand in a weight slot is not a quantized weight, or "" where it is (A31, A32)."""
    weight = unshuffled(slot.value)
    producer = None if weight is None else weight.producer()
    name = "nothing" if weight is None else weight.name
    if producer is not None and is_dequantize(producer) and holds_constant(weight):
        if returns_another_type(producer):
            return f"The DQ of its weight is one {_OTHER_TYPE}"
        found = coded_precision(producer)
        if found.is_quantized:
            return ""
        return f"Its weight is stored as {stored_type(producer).name}, so it computes in float (A32)."
    kind = "is not behind Q and DQ" if holds_constant(weight) else "is computed at run time"
    return f"Its weight '{name}' {kind}, so it stays float (A31)."


def _absorbed(assembly: Assembly, node: ir.Node) -> Kernel:
    """Walk from a weighted operator over everything its kernel absorbs."""
    kernel = Kernel(node, LayerKind.WEIGHTED, [node], node.outputs[0])
    if is_op(node, "Einsum"):
        return kernel  # a layer of its own
    activated = False
    while True:
        use = only_consumer(kernel.result)
        if use is not None and is_scaling(*use, node):
            _take(kernel, use[0])
        elif use is not None and is_op(use[0], "Add") and not activated and kernel.residual is None:
            if not _absorbs_add(assembly, kernel, Slot(*use)):
                return kernel
        elif use is not None and assembly.operators.epilogue(use[0]) is Epilogue.CLIP and use[1] == 0:
            _take(kernel, use[0])
            activated = True
        elif activated or not _absorbs_activation(assembly, kernel):
            return kernel
        else:
            activated = True


def _take(kernel: Kernel, node: ir.Node) -> None:
    kernel.nodes.append(node)
    kernel.result = node.outputs[0]


def _absorbs_activation(assembly: Assembly, kernel: Kernel) -> bool:
    """Absorb an activation of one or several nodes; only kernels of one group have that epilogue (P5)."""
    chain = pointwise_chain(kernel.result)
    if chain is None or not any(assembly.operators.epilogue(node) is not Epilogue.NONE for node in chain.nodes):
        return False
    if int_attribute(kernel.lead, "group", 1) != 1:
        kernel.because.append("Its activation stays outside: grouped kernels have no such epilogue (P5).")
        return False
    kernel.nodes.extend(sorted(chain.nodes, key=assembly.position.__getitem__))
    kernel.result = chain.result
    return True


def _absorbs_add(assembly: Assembly, kernel: Kernel, read: Slot) -> bool:
    """Absorb a residual Add if this kernel owns it (4.4)."""
    add = read.node
    other = Slot(add, 1 - read.number)
    if len(add.inputs) != 2 or not is_activation(other.value):
        return False
    if not may_have_one_shape(kernel.result, other.value):  # a broadcast operand is no residual
        return False
    rival = absorbing_lead(other.value)
    if rival is not None and assembly.position[rival] > assembly.position[kernel.lead]:
        kernel.because.append(f"'{onnx_name(rival)}' absorbs the Add '{onnx_name(add)}' instead: it comes later (4.4).")
        return False
    if rival is not None:
        kernel.uncertain.append(OWNER)
    kernel.residual = other
    _take(kernel, add)
    return True


def _decide_types(assembly: Assembly, kernel: Kernel, *, deconv_absorbs_q: bool) -> None:
    """Decide INT8 or float for the operands, the residual and the result (A31; 4.4, cases 1-5)."""
    operands = operands_of(kernel.lead)
    codes = _codes_or_obstacle(assembly, kernel.lead, operands)
    kernel.weight = operands.weight
    if len(kernel.nodes) > 1:
        absorbed = ", ".join(f"'{onnx_name(node)}'" for node in kernel.nodes[1:])
        kernel.because.insert(0, f"It absorbs {absorbed} (4.4).")
    if isinstance(codes, str):
        kernel.because.insert(0, _of_weights_alone(assembly, kernel, operands) or codes)
        return
    kernel.codes = codes
    kernel.because.insert(0, f"Its operands come from DQ, so it runs in {codes.value} (A31).")
    for slot in (*operands.data, *((operands.weight,) if operands.weight is not None else ())):
        _absorb_operand(assembly, slot)
    kernel.uncertain.extend(_doubts(kernel, operands))
    _decide_output(assembly, kernel, deconv_absorbs_q=deconv_absorbs_q)


def _absorb_operand(assembly: Assembly, slot: Slot) -> None:
    """Absorb the DQ in a slot, and the one that makes the scales of its blocks (NVFP4)."""
    assembly.absorb([slot])
    dequantize = blocks_of(slot)
    scale = None if dequantize is None else Slot(dequantize, 1)
    if scale is not None and scale.value is not None and is_dequantize(scale.value.producer()):
        assembly.absorb([scale])


def _of_weights_alone(assembly: Assembly, kernel: Kernel, operands: Operands) -> str:
    """Say that only the weight is stored as codes, and absorb its DQ, where it is so; else "" (section 7)."""
    weight = None if operands.weight is None else unshuffled(operands.weight.value)
    producer = None if weight is None else weight.producer()
    if operands.weight is None or producer is None or not is_dequantize(producer):
        return ""
    if not is_constant(input_at(producer, 0)) or any(activation_dequantize(slot) for slot in operands.data):
        return ""
    assembly.absorb([operands.weight])
    if is_made_float(kernel.lead, producer):
        kernel.uncertain.append(ALONE)
    return f"Its weight alone is {coded_precision(producer).value}, so it computes in float (section 7)."


def _decide_output(assembly: Assembly, kernel: Kernel, *, deconv_absorbs_q: bool) -> None:
    quantize = trailing_quantize(kernel.result, kernel.codes)
    if quantize is None:
        kernel.because.append(_float_output_because(kernel.result))
        return
    if kernel.lead.op_type == "ConvTranspose" and not deconv_absorbs_q and _is_activated(assembly, kernel):
        kernel.because.append(
            "The Q behind its activation stays a kernel of its own: ConvTranspose does not absorb it."
        )
        return
    if kernel.residual is not None:
        if activation_dequantize(kernel.residual) is None:
            kernel.because.append("Its residual is float, so its result is float too (4.4, case 4).")
            return
        assembly.absorb([kernel.residual])
        kernel.because.append(f"Residual and result are both {coded_precision(quantize).value} (4.4, case 3).")
    kernel.trailing = quantize
    written = coded_precision(quantize).value
    kernel.because.append(f"Only the Q '{onnx_name(quantize)}' reads its result, so it writes {written} (4.4, case 1).")


def _float_output_because(result: ir.Value) -> str:
    if result.is_graph_output():
        return "Its result is a graph output, so it writes float (4.4)."
    readers = sorted({onnx_name(use.node) for use in result.uses() if not is_quantize(use.node)})
    if not readers:
        return "Several Qs of different scale read its result, so it writes float (P6)."
    shown = ", ".join(f"'{name}'" for name in readers[:3]) + (", ..." if len(readers) > 3 else "")
    return f"{shown} {'reads' if len(readers) == 1 else 'read'} its result in float, so it writes float (P7)."


def _is_activated(assembly: Assembly, kernel: Kernel) -> bool:
    return any(assembly.operators.epilogue(node) is not Epilogue.NONE for node in kernel.nodes)


def _doubts(kernel: Kernel, operands: Operands) -> list[str]:
    lead, doubts = kernel.lead, []
    weight = operands.weight
    if kernel.codes is Precision.MXFP8:
        doubts.append(MX)
    if any(_has_vector_scale(slot) for slot in operands.data):
        doubts.append(VECTOR)
    if lead.op_type == "ConvTranspose":
        doubts += [DECONV_FLOAT, *([DECONV] if trailing_quantize(kernel.result) is not None else [])]
    if weight is not None and (groups := groups_without_kernel(lead, _known_dims(weight.value))) is not None:
        doubts.append(GROUPED.format(groups=groups))
    if weight is None:
        doubts.append(ATTENTION)
    elif weight.number == 0:
        doubts.append(LEFT_WEIGHT)
    elif unshuffled(weight.value) is not weight.value:
        doubts.append(MOVED_WEIGHT)
    elif lead.op_type == "MatMul" and (rank(weight.value) or 2) > 2 and not _is_per_tensor(weight.value):
        doubts.append(DEEP_WEIGHT)
    return doubts


def _known_dims(value: ir.Value | None) -> tuple[int, ...]:
    """The shape of a weight, () where it is not known."""
    dims = static_dims(value)
    return tuple(dim for dim in dims if dim is not None) if dims is not None and None not in dims else ()


def _has_vector_scale(slot: Slot) -> bool:
    dequantize = activation_dequantize(slot)
    return dequantize is not None and is_vector_of_one(dequantize)


def _is_per_tensor(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    scale = None if producer is None else input_at(producer, 1)
    return scale is None or scale.const_value is None or scale.const_value.size == 1
