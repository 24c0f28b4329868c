"""Repairs of where pairs stand: what TensorRT reads, but cannot fuse (rules, section 3).

The exact ones (merge, Relu, Pad) keep every number. The others take a rounding away or add one, as the rules want it;
`fix` keeps them only where the simulator predicts no more stand-alone kernels than before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibrators import INT8, Range, qparams_of
from qdq_cli.fixing.clips import insert_clip, is_never_negative
from qdq_cli.fixing.record import Left, Outcome, Repair
from qdq_cli.model.emit import Emitter
from qdq_cli.model.insertion import take_over_output
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, input_at, is_op, name_of, only_consumer
from qdq_cli.model.scales import TensorScale, holds_constant, is_dequantize, is_quantize, tensor_scale
from qdq_cli.placement.absorption import absorbing_lead
from qdq_cli.placement.target import Epilogue
from qdq_cli.placement.topology import steps_to_common_ancestor
from qdq_cli.targets.tensorrt.lint_operators import absorbing_lead_of
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.simulation import Layer, Reason, Simulation
from qdq_cli.targets.tensorrt.table import TENSORRT

_SIGNED = frozenset({ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT4})
"""Stored types that reach as far below a zero point of 0 as above it."""


@dataclass(frozen=True)
class Pair:
    """A per-tensor Q on an activation and one DQ that reads it.

    Args:
        tensor: The float tensor that is quantized.
        quantize: The Q.
        dequantize: The DQ.
        scale: What both say.
    """

    tensor: ir.Value
    quantize: ir.Node
    dequantize: ir.Node
    scale: TensorScale

    @property
    def result(self) -> ir.Value:
        """The float tensor that comes back."""
        return self.dequantize.outputs[0]


def pairs_of(graph: ir.Graph) -> list[Pair]:
    """Return every pair on an activation whose Q and DQ say the same, in graph order."""
    tensors = dict.fromkeys(node.inputs[0] for node in graph if is_quantize(node) and node.inputs)
    activations = (value for value in tensors if value is not None and not holds_constant(value))
    return [pair for value in activations for pair in pairs_of_tensor(value)]


def move_behind_clips(graph: ir.Graph) -> Outcome:
    """Move a pair between a weighted operator or Add and its Relu or Clip behind that, if every number stays (P3)."""
    done, left = [], []
    for pair in pairs_of(graph):
        use = only_consumer(pair.result)
        if use is None or use[1] != 0 or OPERATORS.epilogue(use[0]) is not Epilogue.CLIP:
            continue
        fused = absorbing_lead_of(pair.tensor) is not None or is_op(pair.tensor.producer(), "Add")
        if not fused or only_consumer(pair.quantize.outputs[0]) is None:
            continue
        obstacle = _obstacle_to_moving(pair, use[0])
        if obstacle:
            left.append(Left("P3", pair.quantize.name or "", obstacle))
            continue
        _move_behind(graph, pair, use[0])
        done.append(_repair("P3", pair, f"its pair moved behind {use[0].op_type} '{use[0].name}'", True))
    return done, left


def _obstacle_to_moving(pair: Pair, clip: ir.Node) -> str:
    result = clip.outputs[0]
    if result.is_graph_output():
        return f"{clip.op_type} '{clip.name}' makes a graph output"
    others = [use.node for use in result.uses() if is_quantize(use.node)]
    scales = {tensor_scale(node) for node in others} - {pair.scale}
    if scales:
        return f"the Q behind {clip.op_type} '{clip.name}' has another scale"
    if pair.scale.zero_point != 0:
        return "its zero point is not 0"
    bounds = [constant_at(clip, slot) for slot in (1, 2)] if clip.op_type == "Clip" else []
    steps = [float(bound.reshape(())) / pair.scale.scale for bound in bounds if bound is not None]
    if any(step != round(step) and abs(step) < INT8.qmax for step in steps):
        return f"the bounds of {clip.op_type} '{clip.name}' are no multiples of the scale"
    return ""


def _move_behind(graph: ir.Graph, pair: Pair, node: ir.Node) -> None:
    """Let `node` read the float tensor, and everything behind it read the pair, or an equal pair that is there."""
    result = node.outputs[0]
    node.replace_input_with(0, pair.tensor)
    readers = [use for use in result.uses() if not is_quantize(use.node)]
    if not readers and result.uses():
        _drop(graph, pair)
        return
    pair.quantize.replace_input_with(0, result)
    graph.insert_after(node, (pair.quantize, pair.dequantize))
    for use in readers:
        use.node.replace_input_with(use.idx, pair.result)
    _take_type_of(pair, result)


def move_before_pads(graph: ir.Graph) -> Outcome:
    """Move a pair between a zero Pad and a convolution before the Pad, which then fuses (P14)."""
    done = []
    for pair in pairs_of(graph):
        pad = pair.tensor.producer()
        feeds = [use.node for use in pair.result.uses()]
        if pad is None or not is_op(pad, "Pad") or not OPERATORS.commutes(pad) or pair.scale.zero_point != 0:
            continue
        if only_consumer(pair.tensor) is None or only_consumer(pair.quantize.outputs[0]) is None:
            continue
        source = input_at(pad, 0)
        if source is None or not feeds or not all(is_op(node, "Conv", "ConvTranspose") for node in feeds):
            continue
        for use in list(pair.result.uses()):
            use.node.replace_input_with(use.idx, pair.tensor)
        pair.quantize.replace_input_with(0, source)
        graph.insert_before(pad, (pair.quantize, pair.dequantize))
        pad.replace_input_with(0, pair.result)
        _take_type_of(pair, source)
        done.append(_repair("P14", pair, f"its pair moved before Pad '{pad.name}'", True))
    return done, []


def drop_float_ends(graph: ir.Graph, simulation: Simulation) -> Outcome:
    """Take away pairs whose result is read in float alone: nothing runs in INT8 because of them (P2, P15, P16)."""
    ends = {Reason.FLOAT_CONSUMER, Reason.BOUNDARY_OUTPUT}
    float_reads = {
        (name, found.consumer) for found in simulation.standalone if found.reason in ends for name in found.nodes
    }
    done = []
    for pair in pairs_of(graph):
        readers = {use.node.name or "" for use in pair.result.uses()} | (
            {""} if pair.result.is_graph_output() else set()
        )
        alone = only_consumer(pair.quantize.outputs[0]) is not None
        if not alone or not readers or not all((pair.dequantize.name or "", name) in float_reads for name in readers):
            continue
        if pair.result.is_graph_output() and (pair.tensor.is_graph_output() or pair.tensor.is_graph_input()):
            continue
        _drop(graph, pair)
        done.append(_repair("P2", pair, "its pair is gone: only float operators or the graph's output read it", False))
    return done, []


def free_absorbing_branches(graph: ir.Graph) -> Outcome:
    """Where both operands of a residual Add are quantized, take the pair off the branch that absorbs the Add (P8).

    One absorbing branch loses its pair; of two, the main one (the longer path from the common ancestor; section 3.2).
    """
    by_result = {pair.result: pair for pair in pairs_of(graph)}
    done = []
    for add in graph:
        reads = [input_at(add, slot) for slot in (0, 1)] if is_op(add, "Add") and len(add.inputs) == 2 else []
        pairs = [by_result.get(value) for value in reads if value is not None]
        if len(pairs) != 2 or pairs[0] is None or pairs[1] is None or pairs[0].result is pairs[1].result:
            continue
        free = _absorbing_of(pairs[0], pairs[1])
        if free is None:
            continue
        _drop(graph, free)
        text = f"its pair is gone, so that its kernel absorbs the Add '{add.name}'"
        done.append(_repair("P8", free, text, False))
    return done, []


def _absorbing_of(first: Pair, second: Pair) -> Pair | None:
    able = [pair for pair in (first, second) if _would_absorb(pair)]
    if len(able) < 2:
        return able[0] if able else None
    steps = steps_to_common_ancestor(first.tensor, second.tensor)
    return second if steps is not None and steps[1] > steps[0] else first


def _would_absorb(pair: Pair) -> bool:
    """Say whether the tensor would be an absorbing operand without its pair: nothing else reads it or the pair."""
    if only_consumer(pair.tensor) is None or only_consumer(pair.quantize.outputs[0]) is None:
        return False
    return only_consumer(pair.result) is not None and absorbing_lead(pair.tensor) is not None


def quantize_residuals(
    graph: ir.Graph, names: Names, simulation: Simulation, ranges: Mapping[str, Range], skip: frozenset[str]
) -> Outcome:
    """Give float residual branches the pair they lack, with the scale of their tensor's Q or a known range (P8).

    Args:
        graph: Changed in place.
        names: Names of the graph.
        simulation: Its simulation, which knows the kernels that absorb an Add.
        ranges: Tensor name -> range, for tensors without a Q.
        skip: Names of Adds to leave alone.
    """
    inside = {name: layer for layer in simulation.weighted if layer.quantized for name in layer.nodes}
    done, left = [], []
    for add in list(graph):
        layer = inside.get(add.name or "") if is_op(add, "Add") else None
        if layer is None or (add.name or "") in skip:
            continue
        operands = _open_residual(add, layer)
        if operands is None:
            continue
        value = _with_a_range(*operands, ranges)
        outcome = _quantized(graph, names, value, ranges)
        if outcome is None:
            why = f"its residual '{value.name}' has no Q and no known range (--ranges)"
            left.append(Left("P8", add.name or "", why))
            continue
        result, why = outcome
        add.replace_input_with(add.inputs.index(value), result)
        done.append(Repair("P8", add.name or "", name_of(value), f"its residual reads {why}", False))
    return done, left


def _open_residual(add: ir.Node, layer: Layer) -> tuple[ir.Value, ir.Value] | None:
    """Return the residual of an Add that a kernel absorbed, and its other operand, where it is a float without a pair.

    Args:
        add: The Add.
        layer: The kernel.
    """
    first, second = input_at(add, 0), input_at(add, 1)
    for value, other in ((first, second), (second, first)):
        if value is None or other is None or not _is_open(value):
            continue
        if not _is_main(value, layer):
            return value, other
    return None


def _is_open(value: ir.Value) -> bool:
    """Say whether an operand is a float activation without a pair."""
    return not holds_constant(value) and not is_dequantize(value.producer())


def _with_a_range(residual: ir.Value, other: ir.Value, ranges: Mapping[str, Range]) -> ir.Value:
    """Return the operand to quantize: the residual, or the other one where only its range is known and either would do.

    Of two branches that end in a kernel each, the one without a pair absorbs the Add (section 3.2).
    """
    if _has_range(residual, ranges) or not _has_range(other, ranges):
        return residual
    return other if _is_open(other) and absorbing_lead(residual) is not None else residual


def _has_range(value: ir.Value, ranges: Mapping[str, Range]) -> bool:
    return bool(pairs_of_tensor(value)) or (value.name or "") in ranges


def _is_main(value: ir.Value, layer: Layer) -> bool:
    """Say whether an operand of an absorbed Add is made by the kernel that absorbs it."""
    producer = value.producer()
    return producer is not None and (producer.name or "") in layer.nodes


def _quantized(
    graph: ir.Graph, names: Names, value: ir.Value, ranges: Mapping[str, Range]
) -> tuple[ir.Value, str] | None:
    pair = next((pair for pair in pairs_of_tensor(value)), None)
    if pair is not None:
        return pair.result, f"the pair '{pair.quantize.name}' of its tensor"
    kept = ranges.get(value.name or "")
    if kept is None:
        return None
    qparams = qparams_of(kept, TENSORRT.activations, np.float32 if value.dtype is None else value.dtype.numpy())
    return Emitter(graph, names).pair(value, qparams, name_of(value)), f"a new pair with the range {kept.amax:g}"


def pairs_of_tensor(value: ir.Value) -> list[Pair]:
    """Return the pairs on one tensor."""
    found = []
    for use in value.uses():
        scale = tensor_scale(use.node) if is_quantize(use.node) else None
        for reader in use.node.outputs[0].consumers() if scale is not None else ():
            if scale is not None and is_dequantize(reader) and tensor_scale(reader) == scale:
                found.append(Pair(value, use.node, reader, scale))
    return found


def _drop(graph: ir.Graph, pair: Pair) -> None:
    """Let what reads a pair read its tensor, and take the pair out; a Clip stays where its range was an activation."""
    tensor = _in_its_range(graph, pair) if _may_be_an_activation(pair) else pair.tensor
    if pair.result.is_graph_output():
        take_over_output(pair.result, tensor)
    else:
        pair.result.replace_all_uses_with(tensor)
    graph.remove(pair.dequantize, safe=True)
    if not pair.quantize.outputs[0].uses():
        graph.remove(pair.quantize, safe=True)


def _may_be_an_activation(pair: Pair) -> bool:
    """Say whether the range of a pair may stand for a Relu or Clip before it.

    ONNX Runtime's quantizer removes those where a range that is not symmetric saturates at the same numbers.
    """
    symmetric = pair.scale.zero_point == 0 and pair.scale.qtype in _SIGNED
    return not symmetric and not is_never_negative(pair.tensor)


def _in_its_range(graph: ir.Graph, pair: Pair) -> ir.Value:
    """Return the tensor of a pair clipped to what its integers stand for."""
    info = np.iinfo(pair.scale.qtype.numpy())
    ends = [(end - pair.scale.zero_point) * pair.scale.scale for end in (info.min, info.max)]
    return insert_clip(graph, Names(graph), pair.quantize, ends)


def _take_type_of(pair: Pair, value: ir.Value) -> None:
    """Give the values of a moved pair the shape of the tensor it stands on now."""
    for moved in (pair.quantize.outputs[0], pair.result):
        moved.shape = value.shape


def _repair(rule: str, pair: Pair, done: str, exact: bool) -> Repair:
    return Repair(rule, pair.quantize.name or "", pair.tensor.name or "", done, exact)
