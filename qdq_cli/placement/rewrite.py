"""The only place that changes a graph: write the planned Q/DQ nodes (emission contract, rules section 1.10).

Every pair shares one scale and one INT8 zero point of zeros (same shape as the scale), both initializers, always three
inputs (A14); per-channel nodes carry a non-negative `axis` (A20, A21); biases stay float (A27).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import ArrayLike, NDArray

from calibrators.errors import NonFiniteError
from calibrators.qparams import QParams, is_negligible, quantize, symmetric_qparams, weight_amax
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import consumers, is_op, name_of
from qdq_cli.model.opset import opset_of
from qdq_cli.model.scales import is_dequantize, is_quantize, tensor_scale
from qdq_cli.placement.operators import commutes, operator_of
from qdq_cli.placement.plan import Plan, Use, WeightTarget
from qdq_cli.placement.propagate import nodes_on_codes, propagate
from qdq_cli.process.errors import ModelError
from qdq_cli.screen.sentences import some_of

NO_RANGES: Mapping[str, NDArray[np.float32]] = MappingProxyType({})
"""Every weight is quantized over its whole range."""


@dataclass(frozen=True)
class Rewriting:
    """What the rewrite found on its way.

    Args:
        notes: Sentences the user should read.
        int8_nodes: Names of the commuting nodes that read and write INT8 tensors (region form only).
    """

    notes: tuple[str, ...]
    int8_nodes: tuple[str, ...] = ()


def rewrite(
    model: ir.Model,
    plan: Plan,
    amax: Sequence[float],
    *,
    weights: WeightForm,
    form: Form,
    weight_ranges: Mapping[str, NDArray[np.float32]] = NO_RANGES,
) -> Rewriting:
    """Insert the planned Q/DQ nodes into a prepared model, in place.

    Args:
        model: The model the plan was made from.
        plan: What to quantize.
        amax: Range of each scale group, in the tensors' units; 0.0 for a group that held only zeros.
        weights: How weights are stored.
        form: How the INT8 regions are written.
        weight_ranges: Weight -> amax a scale, or one for all its scales, where it is not quantized over its whole
            range. Such a weight is not read, unless it is stored as integers.

    Raises:
        ModelError: A weight holds NaN or Inf, or a tensor is BF16.
    """
    writer = _Writer(model)
    groups = {target.tensor: target.group for target in plan.targets}
    pairs = _pairs(plan, form)
    small = [tensor for tensor in pairs if writer.quantize_activation(tensor, pairs[tensor], amax[groups[tensor]])]
    dead: dict[str, int] = {}
    for target in plan.weights:
        channels = writer.quantize_weight(target, weights, weight_ranges.get(target.tensor))
        if channels:
            dead[target.tensor] = channels
    writer.drop_unread_weights()
    if form is Form.PAIRS:
        joined = _half_joins(model.graph)
        if joined:
            propagate(model, may_move=joined.__contains__)
        return Rewriting(_notes(dead, small))
    opset = opset_of(model)
    propagate(model, may_move=lambda node: commutes(node) and _runs_on_int8(node, opset))
    return Rewriting(_notes(dead, small), tuple(sorted(node.name or "" for node in nodes_on_codes(model.graph))))


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


def _half_joins(graph: ir.Graph) -> frozenset[ir.Node]:
    """Return every Concat between DQ and Q of one FP16 scale: it is written on INT8 tensors, in either form.

    ONNX Runtime makes a QLinearConcat of it otherwise, which takes no FP16 scales, and then refuses the model (1.23).
    TensorRT moves the Q and DQ over it either way.
    """
    return frozenset(node for node in graph if is_op(node, "Concat") and _joins_half(node))


def _joins_half(node: ir.Node) -> bool:
    readers = [reader for reader, _ in consumers(node.outputs[0])]
    makers = [None if value is None else value.producer() for value in node.inputs]
    pairs = [*makers, *readers]
    if not readers or not all(is_dequantize(maker) for maker in makers) or not all(map(is_quantize, readers)):
        return False
    scales = {tensor_scale(pair) for pair in pairs if pair is not None}
    return node.outputs[0].dtype is ir.DataType.FLOAT16 and len(scales) == 1 and None not in scales


def _runs_on_int8(node: ir.Node, opset: int) -> bool:
    since = operator_of(node).int8_opset
    return since is not None and since <= opset


def _pairs(plan: Plan, form: Form) -> dict[str, list[Use]]:
    """Return tensor -> uses of the pairs to write; the region form moves what the pairs form writes at run starts."""
    pairs: dict[str, list[Use]] = {}
    for target in plan.targets:
        if form is Form.PAIRS or not target.opens_run:
            pairs.setdefault(target.tensor, []).extend(target.uses)
    return pairs


class _Writer:
    """Holds the graph while nodes are added: nodes and values by name, and which names are free."""

    def __init__(self, model: ir.Model) -> None:
        self._graph = model.graph
        self._values = ir.convenience.create_value_mapping(model.graph)
        self._nodes = {node.name or "": node for node in model.graph}
        self._names = Names(model.graph)
        self._weights: dict[ir.Value, None] = {}
        self._laid_out: dict[tuple[bytes, int | None, np.dtype[np.generic]], tuple[QParams, int]] = {}

    def quantize_activation(self, tensor: str, uses: Sequence[Use], amax: float) -> bool:
        """Let the uses of a tensor read its DQ; a pair the model already has on the tensor serves them too (P6).

        Returns:
            Whether the range is not zero, but so small that the scale is 1.0.
        """
        value = self._values[tensor]
        output = _existing_pair(value)
        qparams = symmetric_qparams(amax, scale_dtype=_scale_dtype(value))
        if output is None:
            output = self._pair(value, qparams, tensor)
        for use in uses:
            self._nodes[use.node].replace_input_with(use.slot, output)
        return amax > 0 and _negligible(amax, qparams) > 0

    def quantize_weight(self, target: WeightTarget, form: WeightForm, given: NDArray[np.float32] | None) -> int:
        """Quantize one constant operand for one node; returns how many of its channels are too small for a scale.

        Args:
            target: The operand.
            form: How it is stored.
            given: Its amax a scale, or one for all; None for its largest values.

        Raises:
            ModelError: It holds NaN or Inf (A7).
        """
        node = self._nodes[target.use.node]
        value = self._values[target.tensor]
        try:
            amax = weight_amax(_array_of(value), target.axis) if given is None else _shaped(given, value, target.axis)
            qparams, negligible = self._lay_out(amax, target.axis, _scale_dtype(value))
        except NonFiniteError as error:
            raise ModelError(
                f"The weight '{target.tensor}' of {node.op_type} '{node.name}' holds NaN or Inf, or values too large "
                "for a scale.",
                f"Export the model again, or keep the node float with --exclude '{node.name}'.",
            ) from error
        if form is WeightForm.FP32:
            output = self._pair(value, qparams, target.tensor)
        else:
            output = self._integer_weight(value, _array_of(value), qparams, form)
        node.replace_input_with(target.use.slot, output)
        self._weights[value] = None
        return negligible

    def _lay_out(self, amax: NDArray[np.float32], axis: int | None, dtype: np.dtype[np.generic]) -> tuple[QParams, int]:
        """Return the scales of a weight, and how many of its ranges are too small for one.

        Done once for all weights of the same ranges: a draft gives one to all of them.
        """
        key = (amax.tobytes(), axis, dtype)
        if key not in self._laid_out:
            qparams = symmetric_qparams(amax, axis=axis, scale_dtype=dtype)
            self._laid_out[key] = qparams, _negligible(amax, qparams)
        return self._laid_out[key]

    def drop_unread_weights(self) -> None:
        """Remove the float initializers whose INT8 form replaced them everywhere."""
        for value in self._weights:
            if not value.uses() and not value.is_graph_output():
                self._graph.initializers.pop(name_of(value))

    def _integer_weight(
        self, value: ir.Value, array: NDArray[np.generic], qparams: QParams, form: WeightForm
    ) -> ir.Value:
        codes = quantize(array, qparams)
        name = name_of(value)
        scale, zero_point = self._parameters(qparams, name)
        if form is WeightForm.INT8:
            stored = self._initializer(f"{name}_quantized", codes)
            return self._dequantize(stored, scale, zero_point, qparams.axis, name, value)
        stored = self._initializer(f"{name}_integers", codes.astype(array.dtype))
        ones = self._initializer(f"{name}_unit_scale", np.ones_like(qparams.scale))
        q = self._quantize(stored, ones, zero_point, qparams.axis, name)
        return self._dequantize(q, scale, zero_point, qparams.axis, name, value)

    def _pair(self, value: ir.Value, qparams: QParams, name: str) -> ir.Value:
        scale, zero_point = self._parameters(qparams, name)
        q = self._quantize(value, scale, zero_point, qparams.axis, name)
        return self._dequantize(q, scale, zero_point, qparams.axis, name, value)

    def _parameters(self, qparams: QParams, name: str) -> tuple[ir.Value, ir.Value]:
        scale = self._initializer(f"{name}_scale", np.asarray(qparams.scale))
        return scale, self._initializer(f"{name}_zero_point", np.asarray(qparams.zero_point, np.int8))

    def _initializer(self, wanted: str, array: NDArray[np.generic]) -> ir.Value:
        name = self._names.value(wanted)
        tensor = ir.Tensor(array, name=name)
        value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._graph.register_initializer(value)
        return value

    def _quantize(
        self, source: ir.Value, scale: ir.Value, zero_point: ir.Value, axis: int | None, name: str
    ) -> ir.Value:
        codes = ir.Value(type=ir.TensorType(ir.DataType.INT8), shape=source.shape)
        return self._insert("QuantizeLinear", (source, scale, zero_point), codes, axis, name)

    def _dequantize(
        self, source: ir.Value, scale: ir.Value, zero_point: ir.Value, axis: int | None, name: str, like: ir.Value
    ) -> ir.Value:
        result = ir.Value(type=like.type, shape=like.shape)
        return self._insert("DequantizeLinear", (source, scale, zero_point), result, axis, name)

    def _insert(
        self, op_type: str, inputs: Sequence[ir.Value], result: ir.Value, axis: int | None, name: str
    ) -> ir.Value:
        """Put a new node right behind what it reads, so that the file stays in topological order."""
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        unique = self._names.node(f"{name}_{op_type}")
        result.name = self._names.value(f"{unique}_Output")
        node = ir.Node("", op_type, inputs, attributes, outputs=[result], name=unique)
        maker = inputs[0].producer()
        if maker is not None:
            self._graph.insert_after(maker, node)
        elif len(self._graph):
            self._graph.insert_before(self._graph[0], node)
        return result


def _array_of(value: ir.Value) -> NDArray[np.generic]:
    return np.asarray(None if value.const_value is None else value.const_value.numpy())


def _shaped(amax: NDArray[np.float32], weight: ir.Value, axis: int | None) -> NDArray[np.float32]:
    """Give the ranges of a weight the shape of its scales."""
    if axis is None or weight.const_value is None:
        return amax.reshape(())
    shape = weight.shape if weight.shape is not None and weight.shape.is_static() else weight.const_value.shape
    channels = shape.numpy()[axis]
    return np.full(channels, amax.item(), np.float32) if amax.size == 1 else amax.reshape(channels)


def _negligible(amax: ArrayLike, qparams: QParams) -> int:
    """Return how many scales are 1.0 because the range is next to nothing."""
    if not (qparams.scale == 1.0).any():
        return 0
    return int(np.count_nonzero(is_negligible(amax, scale_dtype=qparams.scale.dtype)))


def _existing_pair(value: ir.Value) -> ir.Value | None:
    """Return the DQ output of a Q the model already has on a tensor, or None."""
    for q, _ in consumers(value):
        if is_op(q, "QuantizeLinear") and q.graph is not None:
            for dq, _ in consumers(q.outputs[0]):
                if is_op(dq, "DequantizeLinear"):
                    return dq.outputs[0]
    return None


def _scale_dtype(value: ir.Value) -> np.dtype[np.generic]:
    """The scale has the type of the float data (A9-A11).

    Raises:
        ModelError: That is BF16, for which ONNX Runtime has neither Q nor DQ: the result could not be run.
    """
    dtype = value.dtype if value.dtype is not None else ir.DataType.FLOAT
    if dtype == ir.DataType.BFLOAT16:
        raise ModelError(
            f"The tensor '{value.name}' is BF16, and ONNX Runtime cannot run Q and DQ of that type.",
            "Export the model in FP32 or FP16, or keep its readers float with --exclude.",
        )
    return np.dtype(dtype.numpy())
