"""Why a Q or DQ stays a kernel of its own, and what would remove it (rules, section 4.6)."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.nodes import input_at, int_attribute, is_op
from qdq_cli.model.scales import holds_constant, is_dequantize, is_pair_half, is_quantize
from qdq_cli.placement.operators import OpClass, is_weighted, operator_of
from qdq_cli.placement.topology import comes_from_inputs
from qdq_cli.targets.tensorrt.assembly import Assembly, Kernel, Slot, activation_dequantize
from qdq_cli.targets.tensorrt.importing import onnx_name
from qdq_cli.targets.tensorrt.kernels import DECONV, operands_of
from qdq_cli.targets.tensorrt.onnx_types import coded_precision, precision_of
from qdq_cli.targets.tensorrt.remedies import LEAVE, REMEDIES
from qdq_cli.targets.tensorrt.simulation import LayerKind, Reason, Standalone

ATTENTION = "It disappears where TensorRT builds a fused attention kernel (section 3.3)."
RESCALE = "A convolution before it may swallow both; otherwise DQ and Q become one rescaling kernel (R3)."


@dataclass(frozen=True)
class _Finding:
    reason: Reason
    because: str
    uncertain: str = ""
    remedy: str = ""
    """What would remove it, where that is not what `REMEDIES` says of the reason."""


def standalone(assembly: Assembly) -> tuple[Standalone, ...]:
    """Return every Q and every use of a DQ that no kernel absorbed, in graph order; those of constants fold (S3)."""
    found = []
    for node in assembly.nodes:
        if not is_pair_half(node) or not node.outputs or holds_constant(node.outputs[0]):
            continue
        tensor = input_at(node, 0)
        if is_quantize(node):
            if tensor is not None and node not in assembly.absorbed_quantizes:
                finding = _why_quantize(assembly, node, tensor)
                found.append(_record(assembly, node, assembly.tensor_name(tensor), "", finding))
        else:
            name = assembly.tensor_name(node.outputs[0])
            reads = _why_dequantize(assembly, node.outputs[0])
            found += [_record(assembly, node, name, consumer, finding) for consumer, finding in reads]
    return tuple(found)


def _record(assembly: Assembly, node: ir.Node, tensor: str, consumer: str, finding: _Finding) -> Standalone:
    floats = input_at(node, 0) if is_quantize(node) else node.outputs[0]
    return Standalone(
        op_type=node.op_type,
        nodes=assembly.origins(node),
        tensor=tensor,
        consumer=consumer,
        reason=finding.reason,
        because=finding.because,
        remedy=finding.remedy or REMEDIES[finding.reason],
        uncertain=finding.uncertain,
        precision=coded_precision(node),
        float_precision=precision_of(floats.dtype if floats is not None else None),
    )


# Q: what makes the tensor, and who else reads it.


def _why_quantize(assembly: Assembly, node: ir.Node, tensor: ir.Value) -> _Finding:
    name, producer = assembly.tensor_name(tensor), tensor.producer()
    if comes_from_inputs(tensor):
        beside = (use.node for use in tensor.uses() if is_quantize(use.node) and use.node.graph is node.graph)
        first = min(beside, key=lambda other: other.name or "")
        if first is node:
            return _Finding(Reason.BOUNDARY_INPUT, f"'{name}' comes from the graph's inputs in float (P16).")
        return _Finding(Reason.SCALE_MISMATCH, f"'{name}' is quantized with several scales (P6).")
    if producer is None or is_dequantize(producer):
        return _Finding(Reason.SCALE_MISMATCH, f"'{name}' was quantized with another scale before (R3).", RESCALE)
    kernel = assembly.kernel_of.get(producer)
    if kernel is None or not _could_write_codes(assembly, kernel, producer):
        return _why_float_producer(assembly, kernel, node, producer)
    shared = _shared_with(tensor, name, node)
    if shared is not None:
        return shared
    if kernel.residual is not None and activation_dequantize(kernel.residual) is None:
        residual = "" if kernel.residual.value is None else assembly.tensor_name(kernel.residual.value)
        because = (
            f"The residual '{residual}' of '{onnx_name(kernel.lead)}' is float, so its result is too (4.4, case 4)."
        )
        return _Finding(Reason.RESIDUAL_FLOAT, because)
    if kernel.lead.op_type == "ConvTranspose":
        because = f"'{onnx_name(kernel.lead)}' is a ConvTranspose with an activation, which does not absorb a Q."
        return _Finding(Reason.DECONV, because, DECONV)
    return _why_float_producer(assembly, kernel, node, producer)


def _could_write_codes(assembly: Assembly, kernel: Kernel, producer: ir.Node) -> bool:
    """Say whether the producer would write INT8 if this Q were its only reader and its residual fitted."""
    if kernel.kind in (LayerKind.WEIGHTED, LayerKind.POINTWISE):
        return kernel.codes is not None
    if kernel.kind is LayerKind.POOLING:
        return assembly.operators.has(producer) and activation_dequantize(Slot(producer, 0)) is not None
    commuting = operator_of(producer).op_class is OpClass.COMMUTING
    return commuting and not assembly.operators.obstacle_to_commuting(producer)


def _shared_with(tensor: ir.Value, name: str, node: ir.Node) -> _Finding | None:
    """Return the finding for a tensor that something else reads too (P6, P7), or None."""
    others = [use.node for use in tensor.uses() if use.node is not node]
    outside = [other for other in others if not is_quantize(other) or other.graph is not node.graph]
    floats = sorted({onnx_name(other) for other in outside})  # what goes into a body goes there in float
    if tensor.is_graph_output():
        remedy = f"Leave its INT8 readers float ({LEAVE}); nothing else removes it while the graph returns it (P7)."
        return _Finding(Reason.MIXED_FANOUT, f"'{name}' is also a graph output, in float (P7).", remedy=remedy)
    if floats:
        shown = ", ".join(f"'{other}'" for other in floats[:3]) + (", ..." if len(floats) > 3 else "")
        return _Finding(Reason.MIXED_FANOUT, f"'{name}' is also read in float, by {shown} (P7).")
    return _Finding(Reason.SCALE_MISMATCH, f"'{name}' is quantized with several scales (P6).") if others else None


def _why_float_producer(assembly: Assembly, kernel: Kernel | None, quantize: ir.Node, producer: ir.Node) -> _Finding:
    tensor = quantize.inputs[0]
    name = "" if tensor is None else assembly.tensor_name(tensor)
    made_by = f"'{name}' is made in float by {producer.op_type} '{onnx_name(producer)}'"
    commuting = operator_of(producer).op_class is OpClass.COMMUTING
    if commuting and (obstacle := assembly.operators.obstacle_to_commuting(producer)):
        return _Finding(Reason.NONCOMMUTING, f"{made_by}, which Q cannot cross: {obstacle} (section 2.3).")
    if kernel is not None and kernel.kind is LayerKind.POOLING:
        return _Finding(
            Reason.NONCOMMUTING, f"{made_by}, which Q cannot cross: it averages, and its input is float (P9)."
        )
    if kernel is not None and kernel.kind is LayerKind.POINTWISE:
        depthwise = _depthwise_before(assembly, kernel)
        if depthwise is not None:
            because = (
                f"{made_by} behind the grouped convolution '{onnx_name(depthwise)}', which has no such epilogue (P5)."
            )
            return _Finding(Reason.DEPTHWISE_ACT, because)
    uncertain = ATTENTION if producer.op_type == "Softmax" and _feeds_product(quantize) else ""
    return _Finding(Reason.FLOAT_PRODUCER, f"{made_by}.", uncertain, _remedy_behind(producer))


def _remedy_behind(producer: ir.Node) -> str:
    """Say what removes a Q behind an operator that cannot be quantized, or not by Q/DQ on one input; else ""."""
    if _has_no_int8_form(producer):
        return (
            f"{producer.op_type} has no INT8 form; take the pair away where INT8 saves its readers less than this "
            f"kernel takes ({LEAVE}); nothing else removes it (P15)."
        )
    if is_weighted(producer) and operands_of(producer).weight is None:
        return f"Quantize both of its operands (`qdq quantize --mha`), or leave its reader float ({LEAVE}) (P15)."
    return ""


def _has_no_int8_form(node: ir.Node) -> bool:
    return operator_of(node).op_class is OpClass.FLOAT or node.op_type == "Einsum"


def _feeds_product(quantize: ir.Node) -> bool:
    """Say whether a matrix product of two activations reads what a Q writes, as in attention (section 3.3)."""
    readers = (use.node for dequantize in quantize.outputs[0].consumers() for use in dequantize.outputs[0].uses())
    return any(is_op(reader, "MatMul") and operands_of(reader).weight is None for reader in readers)


def _depthwise_before(assembly: Assembly, kernel: Kernel) -> ir.Node | None:
    """Return the quantized grouped convolution whose result a pointwise kernel is the activation of, or None."""
    for value in (value for node in kernel.nodes for value in node.inputs if value is not None):
        producer = value.producer()
        before = None if producer is None else assembly.kernel_of.get(producer)
        if before is not None and before.codes is not None and before.result is value and _is_grouped(before.lead):
            return before.lead
    return None


def _is_grouped(node: ir.Node) -> bool:
    return is_op(node, "Conv") and int_attribute(node, "group", 1) != 1


# DQ: what reads it.


def _why_dequantize(assembly: Assembly, result: ir.Value) -> list[tuple[str, _Finding]]:
    """Return (consumer, finding) for every use of a DQ that stays, the graph output first."""
    found = []
    if result.is_graph_output():
        because = f"The graph returns '{result.name}' in float (P16)."
        found.append(("", _Finding(Reason.BOUNDARY_OUTPUT, because)))
    for use in result.uses():
        slot = Slot(use.node, use.idx)
        if not assembly.absorbs(slot) and not is_quantize(use.node):
            found.append((onnx_name(use.node), _why_read_in_float(assembly, slot)))
    return sorted(found, key=lambda item: item[0])


def _why_read_in_float(assembly: Assembly, slot: Slot) -> _Finding:
    node, kernel = slot.node, assembly.kernel_of.get(slot.node)
    reader = f"{node.op_type} '{onnx_name(node)}'"
    if kernel is not None and kernel.residual == slot:
        because = f"{reader} adds it in the kernel of '{onnx_name(kernel.lead)}', which writes float (4.4, case 5)."
        return _Finding(Reason.RESIDUAL_NOT_REQUANTIZED, because)
    if operator_of(node).op_class is OpClass.COMMUTING:
        return _why_not_crossed(assembly, node, reader)
    if kernel is not None and kernel.kind is LayerKind.POOLING:
        return _Finding(Reason.NONCOMMUTING, f"{reader} averages, and its result is not quantized (4.5).")
    detail = f" {kernel.because[0]}" if kernel is not None and kernel.because and kernel.codes is None else ""
    remedy = f"Take the pair away; {node.op_type} has no INT8 form (P15)." if _has_no_int8_form(node) else ""
    return _Finding(Reason.FLOAT_CONSUMER, f"{reader} reads it in float.{detail}", remedy=remedy)


def _why_not_crossed(assembly: Assembly, node: ir.Node, reader: str) -> _Finding:
    if obstacle := assembly.operators.obstacle_to_commuting(node):
        return _Finding(Reason.NONCOMMUTING, f"DQ cannot cross {reader}: {obstacle} (section 2.3).")
    dequantized = [activation_dequantize(Slot(node, index)) is not None for index in range(len(node.inputs))]
    if is_op(node, "Concat") and all(dequantized):
        return _Finding(Reason.SCALE_MISMATCH, f"{reader} joins tensors of different scales (P11, R5).")
    return _Finding(Reason.FLOAT_CONSUMER, f"{reader} reads it in float.")
