"""Write a plan into a model: the planned Q/DQ nodes (emission contract, rules section 1.10), by `model.emit`.

Every pair shares one scale and one zero point of its shape, both initializers, always three inputs (A14); biases stay
float (A27) where the target does not want them as INT32. The model that was planned is left as it is: what comes back
is another one with the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.errors import NonFiniteError
from calibrators.qparams import QParams, is_dead, qparams_of, quantize
from calibrators.ranges import Range, Ranges
from calibrators.scheme import Dynamic, ScaleForm, Scheme
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.model.bodies import lifted, places_of_bodies, put_back
from qdq_cli.model.dynamic import DOMAIN
from qdq_cli.model.emit import Emitter, Parameters, codes_when_read, stored_dtype
from qdq_cli.model.emit_blocks import dynamic_pair, stored_blocks
from qdq_cli.model.nodes import consumers, input_at, is_constant, is_op, name_of
from qdq_cli.model.opset import opset_of
from qdq_cli.placement.bias import bias_codes, bias_use
from qdq_cli.placement.half_joins import join_on_codes, runs_on_int8
from qdq_cli.placement.kept_float import keep_float
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.propagate import nodes_on_codes, propagate
from qdq_cli.placement.record import Use, WeightTarget
from qdq_cli.placement.rounded import given_ranges, own_ranges
from qdq_cli.placement.scale_type import scale_dtype
from qdq_cli.placement.shifts import Shifts
from qdq_cli.placement.target import Bias, Target
from qdq_cli.placement.weights import input_axis, transposed, transposed_qparams
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import each
from qdq_cli.screen.sentences import some_of

NO_RANGES: Mapping[str, NDArray[np.float32]] = MappingProxyType({})
"""Every weight is quantized over its whole range."""


@dataclass(frozen=True)
class Rewritten:
    """A model with the planned Q/DQ, and what was found on the way.

    Args:
        model: The model.
        notes: Sentences the user should read.
        int8_nodes: Names of the commuting nodes that read and write INT8 tensors (region form only).
        shifted: Tensors, by their names before, that are larger than there -> by how much, in their units.
    """

    model: ir.Model
    notes: tuple[str, ...]
    int8_nodes: tuple[str, ...] = ()
    shifted: Mapping[str, float] = field(default_factory=dict)


def rewrite(
    model: ir.Model,
    plan: Plan,
    ranges: Sequence[Range],
    *,
    weights: WeightForm | None,
    form: Form,
    weight_ranges: Mapping[str, NDArray[np.float32]] = NO_RANGES,
) -> Rewritten:
    """Return a prepared model with the planned Q/DQ nodes; the one passed in is left as it is.

    Args:
        model: The model the plan was made from. Its weights are shared, its graph is copied.
        plan: What to quantize.
        ranges: Of each scale group, in the tensors' units; [0, 0] for a group that held only zeros.
        weights: How weights are stored; None for codes of 0.0 in their place, and no weight is read.
        form: How the INT8 regions are written.
        weight_ranges: Weight -> amax a scale, or one for all its scales, where it is not quantized over its whole
            range. Such a weight is not read, unless it is stored as integers.

    Raises:
        ModelError: A weight holds NaN or Inf, or a tensor is BF16.
    """
    copy = model.clone()
    return rewrite_in_place(copy, plan, ranges, weights=weights, form=form, weight_ranges=weight_ranges)


def rewrite_in_place(
    model: ir.Model,
    plan: Plan,
    ranges: Sequence[Range],
    *,
    weights: WeightForm | None,
    form: Form,
    weight_ranges: Mapping[str, NDArray[np.float32]] = NO_RANGES,
) -> Rewritten:
    """Do the same in a model that nobody but the caller holds: a copy of its own. Copying twice would be in vain.

    Raises:
        ModelError: As `rewrite`; the model is half rewritten then.
    """
    how = _Form(weights, form, weight_ranges)
    if plan.has_blocks:
        model.opset_imports.setdefault(DOMAIN, 1)
    bodies = list(places_of_bodies(model.graph))
    found = [_write(model, _part_of(plan, model.graph) if bodies else plan, ranges, how)]
    for place in bodies:
        part = _part_of(plan, place.body)
        if part.targets or part.weights:
            copy = lifted(model, place)
            found.append(_write(copy.model, part, ranges, how))
            put_back(model, copy)
    dead = {name: channels for written in found for name, channels in written.dead.items()}
    small = list(dict.fromkeys(name for written in found for name in written.small))
    on_codes = tuple(sorted(name for written in found for name in written.on_codes))
    shifted = {name: amount for written in found for name, amount in written.shifted.items()}
    return Rewritten(model, _notes(dead, small), on_codes, shifted)


def _part_of(plan: Plan, graph: ir.Graph) -> Plan:
    """Return what a plan of a model says of its main graph or a body, and nothing of the bodies in it."""
    nodes = {node.name for node in graph}
    own = {value.name for value in (*graph.inputs, *(value for node in graph for value in node.outputs))}
    return replace(
        plan,
        targets=tuple(
            target
            for target in plan.targets
            if (target.uses[0].node in nodes if target.uses else target.tensor in own)  # one graph reads them all
        ),
        weights=tuple(target for target in plan.weights if target.use.node in nodes),
    )


@dataclass(frozen=True)
class _Form:
    """How a plan is written: as the arguments of `rewrite`."""

    weights: WeightForm | None
    regions: Form
    weight_ranges: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class _Written:
    """What was found in one graph.

    Args:
        dead: Weight -> how many of its channels are too small for a scale.
        small: Activations that are.
        shifted: As in `Rewritten`.
        on_codes: Names of the commuting nodes that read and write INT8 tensors (region form only).
    """

    dead: dict[str, int]
    small: list[str]
    shifted: dict[str, float]
    on_codes: tuple[str, ...] = ()


def _write(model: ir.Model, plan: Plan, ranges: Sequence[Range], how: _Form) -> _Written:
    """Write the part of a plan that concerns the main graph of a model."""
    writer = _Writer(model, plan.target)
    shifts = writer.shift(plan, ranges, how.weight_ranges)
    pairs = _pairs(plan, how.regions)
    small = [
        tensor
        for (tensor, group), uses in each(pairs.items())
        if writer.quantize_activation(tensor, uses, ranges[group], plan.scheme_of(group))
    ]
    for output in plan.targets:
        if output.is_output:
            writer.give_dequantized(output.tensor)
    shifts.end()
    dead: dict[str, int] = {}
    for target in each(plan.weights):
        channels = writer.quantize_weight(target, how.weights, how.weight_ranges.get(target.tensor))
        if channels:
            dead[target.tensor] = channels
    for target in plan.weights if plan.target.bias is Bias.INT32 else ():
        writer.quantize_bias(target)
    writer.drop_unread_constants()
    if plan.target.bias is Bias.INT32:
        keep_float(model.graph)
    if how.regions is Form.PAIRS:
        join_on_codes(model)
        return _Written(dead, small, shifts.tensors)
    opset = opset_of(model)
    propagate(model, may_move=lambda node: plan.target.operators.commutes(node) and runs_on_int8(node, opset))
    return _Written(dead, small, shifts.tensors, tuple(node.name or "" for node in nodes_on_codes(model.graph)))


def _notes(dead: Mapping[str, int], small: Sequence[str]) -> tuple[str, ...]:
    """Report what got the scale 1.0: channels of weights, and activations that are not zero but nearly (A19)."""
    notes = []
    if small:
        notes.append(
            f"Too small for a scale of their type, so the scale is 1.0 and all becomes zero: {some_of(small)}."
        )
    if dead:
        channels = sum(dead.values())
        found = "channel of zeros" if channels == 1 else "channels of zeros"
        notes.append(f"{channels} {found}, or of next to nothing, got the scale 1.0, in {some_of(list(dead))}.")
    return tuple(notes)


def _pairs(plan: Plan, form: Form) -> dict[tuple[str, int], list[Use]]:
    """Return tensor and group -> uses of the pairs to write; the region form moves what pairs write at run starts."""
    pairs: dict[tuple[str, int], list[Use]] = {}
    for target in plan.targets:
        if form is Form.PAIRS or not target.opens_run:
            pairs.setdefault((target.tensor, target.group), []).extend(target.uses)
    return pairs


class _Writer:
    """Holds the graph while nodes are added: nodes and values by name, and which names are free."""

    def __init__(self, model: ir.Model, target: Target) -> None:
        self._target = target
        self._graph = model.graph
        self._values: dict[str, ir.Value] = dict(ir.convenience.create_value_mapping(model.graph))
        self._nodes = {node.name or "": node for node in model.graph}
        self._emitter = Emitter(model.graph)
        self._replaced: dict[ir.Value, None] = {}
        self._laid_out: dict[tuple[object, ...], tuple[QParams, int]] = {}
        self._read: dict[Use, QParams] = {}

    def shift(self, plan: Plan, ranges: Sequence[Range], weight_ranges: Mapping[str, NDArray[np.float32]]) -> Shifts:
        """Shift the tensors of a plan that have a zero point, for a target that has none."""
        shifts = Shifts(self._graph, plan, ranges, self._values, self._emitter.names)
        self._values |= shifts.begin(weight_ranges)
        return shifts

    def quantize_activation(self, tensor: str, uses: Sequence[Use], kept: Range, scheme: Scheme) -> bool:
        """Let the uses of a tensor read its DQ; a pair the model already has on the tensor serves them too (P6).

        Returns:
            Whether the range is not zero, but so small that the scale is 1.0.
        """
        value = self._values[tensor]
        if isinstance(scheme.granularity, Dynamic):
            self._quantize_blocks(value, uses, kept, scheme)
            return False
        output = _existing_pair(value, scheme, self._graph)
        qparams = qparams_of(kept, scheme, scale_dtype(value))
        if self._target.shifts:  # the tensor has been shifted by its zero point
            qparams = replace(qparams, zero_point=np.zeros_like(qparams.zero_point))
        if output is None:
            output = self._emitter.pair(value, qparams, tensor)
            self._read |= dict.fromkeys(uses, qparams)
        for use in uses:
            self._nodes[use.node].replace_input_with(use.slot, output)
        return kept.amax > 0 and bool(is_dead(kept, scheme, qparams.scale.dtype))

    def _quantize_blocks(self, value: ir.Value, uses: Sequence[Use], kept: Range, scheme: Scheme) -> None:
        """Let the uses of a tensor read what is left of its blocks."""
        output = dynamic_pair(self._emitter, value, scheme.name, kept.amax)
        for use in uses:
            self._nodes[use.node].replace_input_with(use.slot, output)

    def give_dequantized(self, tensor: str) -> None:
        """Let the graph output of this name give what the DQ of the tensor gives; the tensor gets another name."""
        value = self._values[tensor]
        dequantized = _existing_pair(value, self._target.activations, self._graph)
        if dequantized is not None and value.is_graph_output():
            value.name = self._emitter.names.value(f"{tensor}_float")
            outputs = self._graph.outputs
            outputs[:] = [dequantized if output is value else output for output in outputs]
            dequantized.name = tensor

    def quantize_weight(self, target: WeightTarget, form: WeightForm | None, given: NDArray[np.float32] | None) -> int:
        """Quantize one constant operand for one node; returns how many of its channels are too small for a scale.

        Args:
            target: The operand.
            form: How it is stored; None for codes of 0.0 in its place.
            given: Its amax a scale, or one for all; None for its largest values.

        Raises:
            ModelError: It holds NaN or Inf (A7).
        """
        node = self._nodes[target.use.node]
        value = self._values[target.tensor]
        try:
            qparams, negligible = self._lay_out(_kept(value, target.scheme, given), target.scheme, value)
        except NonFiniteError as error:
            raise ModelError(
                f"The weight '{target.tensor}' of {node.op_type} '{node.name}' holds NaN or Inf, or values too large "
                "for a scale.",
                f"Export the model again, or keep the node float with --exclude '{node.name}'.",
            ) from error
        form = WeightForm.INT8 if target.alone and form is not None else form
        if qparams.scales is not ScaleForm.FLOAT:
            output = self._stored_blocks(value, qparams, form)
        elif form is WeightForm.FP32:
            output = self._emitter.pair(value, qparams, target.tensor)
        elif target.alone and input_axis(node) == 1:
            output = self._integer_weight(transposed(value), transposed_qparams(qparams), form)
            node.attributes["transB"] = ir.AttrInt64("transB", 0)
        else:
            output = self._integer_weight(value, qparams, form)
        node.replace_input_with(target.use.slot, output)
        self._replaced[value] = None
        self._read[target.use] = qparams
        return negligible

    def _stored_blocks(self, value: ir.Value, qparams: QParams, form: WeightForm | None) -> ir.Value:
        """Store a weight as codes in blocks with small scales, whatever the form of others."""
        name, emitter = f"{name_of(value)}_quantized", self._emitter
        read = None if form is None else codes_when_read(_array_of(value), qparams)
        codes = emitter.blank(name, value, qparams.qtype) if read is None else emitter.constant(name, read)
        along = (qparams.axis or 0, qparams.block_size or 1)
        return stored_blocks(emitter, codes, qparams.block_scales(), value, along)

    def quantize_bias(self, target: WeightTarget) -> None:
        """Store the bias of an operator as INT32 in steps of its products, where it has one that can be."""
        node, slot = bias_use(self._nodes[target.use.node]) or (None, 0)
        value = None if node is None else input_at(node, slot)
        data, weight = self._read.get(Use(target.use.node, 0)), self._read[target.use]
        if node is None or value is None or data is None or not is_constant(value):
            return
        found = bias_codes(_array_of(value), data, weight)
        if found is not None:
            name = name_of(value)
            codes = self._emitter.constant(f"{name}_quantized", ir.Tensor(found.codes))
            scale = self._emitter.constant(f"{name}_scale", ir.Tensor(found.scale))
            parameters = Parameters(scale, None, 0 if found.scale.ndim else None)
            node.replace_input_with(slot, self._emitter.dequantize(codes, parameters, name, value))
            self._replaced[value] = None

    def _lay_out(self, kept: Ranges, scheme: Scheme, weight: ir.Value) -> tuple[QParams, int]:
        """Return the scales of a weight, and how many of its ranges are too small for one.

        Done once for all weights of the same ranges: a draft gives one to all of them.
        """
        dtype = scale_dtype(weight)
        key = (kept.minima.shape, kept.minima.tobytes(), kept.maxima.tobytes(), scheme, dtype)
        if key not in self._laid_out:
            qparams = qparams_of(kept, scheme, dtype)
            self._laid_out[key] = qparams, int(np.count_nonzero(is_dead(kept, scheme, dtype)))
        return self._laid_out[key]

    def drop_unread_constants(self) -> None:
        """Remove the float initializers whose quantized form replaced them everywhere."""
        for value in self._replaced:
            if not value.uses() and not value.is_graph_output():
                self._graph.initializers.pop(name_of(value))

    def _integer_weight(self, value: ir.Value, qparams: QParams, form: WeightForm | None) -> ir.Value:
        name, emitter = name_of(value), self._emitter
        parameters = emitter.parameters(qparams, name)
        zero = np.asarray(qparams.qtype.zero_code, qparams.qtype.dtype)
        if form is None:
            return emitter.dequantize(emitter.blank(f"{name}_quantized", value, qparams.qtype), parameters, name, value)
        if form is WeightForm.INT8:
            stored = emitter.constant(f"{name}_quantized", codes_when_read(_array_of(value), qparams))
            return emitter.dequantize(stored, parameters, name, value)
        array = _array_of(value)
        codes = quantize(array, qparams)
        whole = qparams.qtype.decode(codes, zero)
        stored = emitter.constant(f"{name}_integers", ir.Tensor(whole.astype(array.dtype)))
        ones = emitter.constant(f"{name}_unit_scale", ir.Tensor(np.ones_like(qparams.scale)))
        unit = replace(parameters, scale=ones)
        return emitter.dequantize(emitter.quantize(stored, unit, name), parameters, name, value)


def _array_of(value: ir.Value) -> NDArray[np.generic]:
    return np.asarray(None if value.const_value is None else value.const_value.numpy())


def _kept(value: ir.Value, scheme: Scheme, amax: NDArray[np.float32] | None) -> Ranges:
    """Return what each scale of a weight covers: what is given, and then it is not read, or all that it holds."""
    if amax is None or value.const_value is None:
        return own_ranges(_array_of(value), scheme)
    shape = value.shape if value.shape is not None and value.shape.is_static() else value.const_value.shape
    return given_ranges(amax, tuple(shape.numpy()), scheme)


def _existing_pair(value: ir.Value, scheme: Scheme, graph: ir.Graph) -> ir.Value | None:
    """Return the DQ output of a Q to a type that a graph already has on a tensor, or None; one in a body is no such."""
    for q, _ in consumers(value):
        zero_point = input_at(q, 2)
        other = zero_point is not None and zero_point.dtype not in (None, stored_dtype(scheme.qtype))
        if is_op(q, "QuantizeLinear") and q.graph is graph and not other:
            for dq, _ in consumers(q.outputs[0]):
                if is_op(dq, "DequantizeLinear") and dq.graph is graph:
                    return dq.outputs[0]
    return None
