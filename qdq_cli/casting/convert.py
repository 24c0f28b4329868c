"""Carry a float plan out: 16-bit tensors, scales and constants in a copy of the model, and the Casts between.

Nodes and tensors keep their names. Where a graph output keeps FP32, its name goes to what the Cast gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from qdq_cli.casting import reasons
from qdq_cli.casting.constants_stored import Constants, Use
from qdq_cli.casting.formats import FORMATS, FloatFormat
from qdq_cli.casting.masks import clamp
from qdq_cli.casting.plan import FloatPlan, is_free
from qdq_cli.casting.scales import is_held
from qdq_cli.casting.slots import NONE, Slots, is_single, low_slots
from qdq_cli.casting.stored_biases import with_float_biases, write_float_biases
from qdq_cli.casting.structure import touches_single
from qdq_cli.config.forms import FloatType, ScaleType
from qdq_cli.model.bodies import lifted, places_of_bodies, put_back
from qdq_cli.model.dynamic import is_block_dequantize
from qdq_cli.model.emit import pair_half
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import consumers, initializer_array, is_constant, is_op
from qdq_cli.model.opset import opset_of
from qdq_cli.model.scales import is_dequantize, is_pair_half, is_quantize
from qdq_cli.preparing.prepare import raised

_SINGLE = ir.DataType.FLOAT

_BY_RANGE = frozenset({reasons.OVERFLOW, reasons.VANISHES})
"""Reasons for which a graph input or output of another type would not do."""


@dataclass(frozen=True)
class Converted:
    """A model in its float types.

    Args:
        model: The model.
        casts: How many Casts it has more than before.
        notes: Sentences the user should read.
    """

    model: ir.Model
    casts: int
    notes: tuple[str, ...] = ()


def converted(
    model: ir.Model, plan: FloatPlan, *, keep_io: bool = True, scales: ScaleType = ScaleType.DATA
) -> Converted:
    """Give a model the float types of a plan.

    Args:
        model: The model that the plan was made for; left as it is, its weights are shared.
        plan: Which operators stay FP32.
        keep_io: Whether graph inputs and outputs stay FP32, with Casts inside.
        scales: Type of the scales of Q and DQ beside 16-bit data.

    Raises:
        ModelError: The model cannot be raised to the opset that the plan needs.
    """
    if plan.float_type is FloatType.FP32:
        return Converted(model.clone(), 0)
    before = opset_of(model)
    result = raised(with_float_biases(model).clone(), plan.opset, f"which {FORMATS[plan.float_type].name} needs")
    works = [_Conversion(result, plan, keep_io, scales)]
    works[0].run()
    kept = {kept.node for kept in plan.kept}
    for place in places_of_bodies(result.graph):
        if not any(touches_single(node) and not is_free(node) and node.name not in kept for node in place.body):
            continue
        body = lifted(result, place)
        write_float_biases(body.model.graph)
        works.append(_Conversion(body.model, plan, True, scales))
        works[-1].run()
        put_back(result, body)
    notes = [] if opset_of(result) == before else [_raised_note(before, opset_of(result), plan)]
    said = (note for work in works for note in work.notes)
    return Converted(result, sum(work.casts for work in works), (*notes, *said))


def _raised_note(before: int, after: int, plan: FloatPlan) -> str:
    return f"The model is raised from opset {before} to {after}, which {FORMATS[plan.float_type].name} needs."


class _Conversion:
    """One conversion of one graph, in place.

    Args:
        model: The model.
        plan: The plan.
        keep_io: As `converted` takes it.
        scales: As `converted` takes it.
    """

    def __init__(self, model: ir.Model, plan: FloatPlan, keep_io: bool, scales: ScaleType) -> None:
        self.graph, self.plan, self.keep_io, self.scales = model.graph, plan, keep_io, scales
        self.form: FloatFormat = FORMATS[plan.float_type]
        self.opset = plan.opset
        self.names = Names(model.graph)
        self.kept = {kept.node: kept.code for kept in plan.kept}
        self.constants = Constants(model.graph, self.form, self.names, frozenset(plan.clamped))
        self.low_pairs: dict[ir.Node, None] = {}
        self.casts = 0
        self.notes: list[str] = []

    def run(self) -> None:
        """Decide each node's slots first, as they read types that are about to change."""
        nodes = list(self.graph)
        slots = {node: self._slots(node) for node in nodes}
        wants = {
            value: [(use, self._wanted(*use, slots)) for use in consumers(value)]
            for value in (*self.graph.inputs, *self.graph.initializers.values(), *(v for n in nodes for v in n.outputs))
            if is_single(value)
        }
        for node in nodes:
            self._retype(node, slots[node])
        for value in list(self.graph.inputs):
            if value in wants:
                self._input(value, wants[value])
        for node in nodes:
            for value in node.outputs:
                if value in wants:
                    self._connect(value, wants[value])
        for value in list(self.graph.initializers.values()):
            if value in wants and is_constant(value):
                self.constants.give(value, [use for use, low in wants[value] if low])
        for node in nodes:
            if is_quantize(node) and self._is_open(node):
                self._quantize(node)
        if self.scales is ScaleType.DATA:
            self._scale_pairs()
        self.constants.tidy()

    def _is_open(self, node: ir.Node) -> bool:
        """Say whether a node is a Q or DQ whose type is free."""
        return is_pair_half(node) and node.name not in self.kept

    def _slots(self, node: ir.Node) -> Slots:
        if node.domain or (node.name or "") in self.kept or is_free(node):
            return NONE
        return low_slots(node, self.opset, self.form.dtype)

    def _wanted(self, node: ir.Node, slot: int, slots: dict[ir.Node, Slots]) -> bool | None:
        """Say whether an operand has to be 16-bit; None where either type does."""
        if node not in slots:
            return False  # in a body, which is handed FP32
        if is_free(node) and (node.name or "") not in self.kept:
            return None if slot == 0 else False
        return slot in slots[node].inputs

    def _retype(self, node: ir.Node, slots: Slots) -> None:
        for slot in slots.outputs:
            node.outputs[slot].type = ir.TensorType(self.form.dtype)
        if not slots.outputs:
            return
        if is_op(node, "Cast"):
            node.attributes["to"] = ir.AttrInt64("to", int(self.form.dtype))
        elif is_op(node, "ConstantOfShape"):
            value = node.attributes.get("value")
            array = np.zeros(1, np.float32) if value is None else value.as_tensor().numpy()
            if node.outputs[0].name in self.plan.clamped:
                array = clamp(node.outputs[0], array, self.form)
            tensor = ir.Tensor(self.form.rounded(array), dtype=self.form.dtype)
            node.attributes["value"] = ir.AttrTensor("value", tensor)

    def _input(self, value: ir.Value, wants: list[tuple[Use, bool | None]]) -> None:
        """Give a graph input its type, and Casts behind it."""
        codes = {self.kept.get(node.name or "") for (node, _), _ in wants}
        needed = not codes - _BY_RANGE and bool(wants)
        if needed and not self.keep_io:
            self.notes.append(f"Input '{value.name}' stays FP32: {self.form.name} does not hold its values.")
        if not (self.keep_io or needed):
            value.type = ir.TensorType(self.form.dtype)
        self._distribute(value, wants)

    def _connect(self, value: ir.Value, wants: list[tuple[Use, bool | None]]) -> None:
        """Give what a node makes to its readers, each in the type it wants."""
        node = value.producer()
        if is_dequantize(node) and node is not None and self._is_open(node):
            self._dequantize(node, wants)
            return
        if is_block_dequantize(node) and node is not None and not any(low is False for _, low in wants):
            value.type = ir.TensorType(self.form.dtype)
            node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(self.form.dtype))
        self._distribute(value, wants)
        if not value.is_graph_output():
            return
        if self.keep_io and not is_single(value):
            self._output(value, _SINGLE)
        elif not self.keep_io and is_single(value):
            self._low_output(value)

    def _low_output(self, value: ir.Value) -> None:
        node = value.producer()
        if node is not None and self.kept.get(node.name or "") in _BY_RANGE:
            self.notes.append(f"Output '{value.name}' stays FP32: {self.form.name} does not hold its values.")
        else:
            self._output(value, self.form.dtype)

    def _distribute(self, value: ir.Value, wants: list[tuple[Use, bool | None]]) -> None:
        single = is_single(value)
        other = [use for use, low in wants if low is not None and low is single]
        if other:
            made = self._cast(value, self.form.dtype if single else _SINGLE)
            _redirect(other, made)

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        """Add a Cast right behind what makes a value."""
        suffix = "fp32" if dtype is _SINGLE else self.form.suffix
        result = ir.Value(type=ir.TensorType(dtype), shape=value.shape)
        result.name = self.names.value(f"{value.name}_{suffix}")
        name = self.names.node(f"{value.name}_to_{suffix}")
        node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))], outputs=[result], name=name)
        self._insert(value, node)
        self.casts += 1
        return result

    def _insert(self, value: ir.Value, node: ir.Node) -> None:
        maker = value.producer()
        if maker is not None:
            self.graph.insert_after(maker, node)
        else:
            self.graph.insert_before(self.graph[0], node)

    def _output(self, value: ir.Value, dtype: ir.DataType) -> None:
        """Let a Cast make a graph output; it takes the name, and whatever read the tensor still reads it."""
        made = self._cast(value, dtype)
        name, inner = value.name, made.name
        for number, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[number] = made
        value.name = f"{name}_taken"
        made.name = name
        value.name = inner

    def _dequantize(self, node: ir.Node, wants: list[tuple[Use, bool | None]]) -> None:
        """Let a DQ give the type its readers want; where they differ, a second DQ of the same codes gives the other."""
        value = node.outputs[0]
        low = [use for use, wanted in wants if wanted]
        single = [use for use, wanted in wants if wanted is False]
        held = value.is_graph_output() and self.keep_io
        if held or (single and not low):
            _redirect(low, self._second(node, low, dtype=self.form.dtype))
        else:
            _redirect(single, self._second(node, single, dtype=_SINGLE))
            self._set_low(node)

    def _second(self, node: ir.Node, uses: Iterable[Use], dtype: ir.DataType) -> ir.Value:
        """Add a DQ of the same codes for some readers; without readers, none is added."""
        value = node.outputs[0]
        if not list(uses):
            return value
        suffix = "fp32" if dtype is _SINGLE else self.form.suffix
        result = ir.Value(type=ir.TensorType(dtype), shape=value.shape)
        result.name = self.names.value(f"{value.name}_{suffix}")
        name = self.names.node(f"{node.name}_{suffix}")
        second = pair_half(node.op_type, node.inputs, node.attributes.values(), result, name)
        self.graph.insert_after(node, second)
        if dtype is not _SINGLE:
            self._set_low(second)
        return result

    def _set_low(self, node: ir.Node) -> None:
        """Let a Q or DQ work on 16-bit floats."""
        self.low_pairs[node] = None
        if is_dequantize(node):
            node.outputs[0].type = ir.TensorType(self.form.dtype)
            if self.scales is ScaleType.FP32:
                node.attributes["output_dtype"] = ir.AttrInt64("output_dtype", int(self.form.dtype))

    def _quantize(self, node: ir.Node) -> None:
        """Let a Q read what stands before it; a constant takes the type that its DQ gives."""
        data = node.inputs[0]
        readers = [use.node for use in node.outputs[0].uses()]
        if is_constant(data):
            if self.scales is ScaleType.DATA and any(reader in self.low_pairs for reader in readers):
                self._set_low(node)
        elif data is not None and data.dtype == self.form.dtype:
            self._set_low(node)

    def _scale_pairs(self) -> None:
        """Round scales to what the type holds, everywhere, and store them in it where the data has it."""
        pairs = [node for node in self.graph if self._is_open(node)]
        by_scale: dict[ir.Value, list[ir.Node]] = {}
        for node in pairs:
            scale = node.inputs[1]
            if scale is not None and is_constant(scale):
                by_scale.setdefault(scale, []).append(node)
        for scale, nodes in by_scale.items():
            low = any(node in self.low_pairs for node in nodes)
            if low or is_held(initializer_array(self.graph, scale.name or ""), self.form):
                self.constants.hold(scale, nodes)
        for node in self.low_pairs:
            scale, data = node.inputs[1], node.inputs[0]
            assert scale is not None
            assert data is not None
            if is_quantize(node) and is_constant(data):
                self.constants.give(data, [(node, 0)])
            node.replace_input_with(1, self.constants.low_scale(scale))


def _redirect(uses: Iterable[Use], value: ir.Value) -> None:
    for node, slot in uses:
        node.replace_input_with(slot, value)
