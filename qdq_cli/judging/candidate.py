"""A quantized version of a prepared model as a value: what is quantized, with which ranges and which constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators import Range
from calibrators.scheme import Scheme
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.model.bodies import drop_if_unread
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at, every_initializer, every_node, input_at
from qdq_cli.placement.bias_place import bias_place, set_bias
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.record import WeightTarget
from qdq_cli.placement.rewrite import Rewritten, rewrite_in_place
from qdq_cli.placement.rounded import round_weight
from qdq_cli.placement.target import Bias


@dataclass(frozen=True)
class Candidate:
    """A quantized version of a prepared model.

    Args:
        plan: What is quantized.
        ranges: Of each scale group.
        weight_ranges: Weight -> amax a scale, for weights not quantized over their whole range.
        weights: Initializer name -> new values, same shape and type.
        biases: Weighted node -> new bias, shape [output channels].
        base: Initializer name -> values of an equalized float model, which computes what the prepared model does: what
            a layer has that `weights` does not name, one that is left float too.
    """

    plan: Plan
    ranges: tuple[Range, ...]
    weight_ranges: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    weights: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    biases: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    base: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)


def with_plan(base: Candidate, plan: Plan, ranges: tuple[Range, ...]) -> Candidate:
    """Return the candidate of another plan: what is quantized as before keeps its constants, others get their own.

    Args:
        base: Of the plan before, as a rule a larger one.
        plan: The other one.
        ranges: Of each of its scale groups.
    """
    before = {(target.use.node, target.tensor, target.scheme, target.alone) for target in base.plan.weights}
    alike = [
        target for target in plan.weights if (target.use.node, target.tensor, target.scheme, target.alone) in before
    ]
    weights, nodes = {target.tensor for target in alike}, {target.use.node for target in alike}
    return Candidate(
        plan,
        ranges,
        weight_ranges={name: found for name, found in base.weight_ranges.items() if name in weights},
        weights={name: array for name, array in base.weights.items() if name in weights},
        biases={name: array for name, array in base.biases.items() if name in nodes},
        base=base.base,
    )


_NO_BIASES: Mapping[str, NDArray[np.float64]] = MappingProxyType({})


def with_constants(
    model: ir.Model, weights: Mapping[str, NDArray[np.floating]], biases: Mapping[str, NDArray[np.float64]] = _NO_BIASES
) -> ir.Model:
    """Return a copy of a prepared model with other weights and biases (as in `Candidate`); nothing is quantized yet."""
    copy = model.clone()
    _set_constants(copy.graph, weights, biases)
    return copy


def _set_constants(
    graph: ir.Graph, weights: Mapping[str, NDArray[np.floating]], biases: Mapping[str, NDArray[np.float64]]
) -> None:
    stored = every_initializer(graph) if weights else {}
    for name, array in weights.items():
        stored[name].const_value = ir.Tensor(array, name=name)
    if not biases:
        return
    nodes, names = {node.name: node for node in every_node(graph)}, Names(graph)
    for name, bias in biases.items():
        place = bias_place(nodes[name], bias.size)
        data = input_at(nodes[name], 0)
        if place is None or data is None or data.dtype is None:
            raise ValueError(f"node '{name}' has no place for a bias")
        set_bias(place, bias.astype(data.dtype.numpy()), names)


class RoundedWeights:
    """Weights as quantization leaves them, kept from one candidate to the next while nothing changes about them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Scheme], tuple[object, object, NDArray[np.generic]]] = {}

    def get(
        self, target: WeightTarget, weight: NDArray[np.generic], amax: NDArray[np.float32] | None
    ) -> NDArray[np.generic]:
        """Return dequantize(quantize(weight)) with the range `amax`, or the weight's whole range for None."""
        key = (target.tensor, target.scheme)
        known = self._known.get(key)
        if known is None or known[0] is not weight or known[1] is not amax:
            known = (weight, amax, round_weight(weight, target.scheme, amax))
            self._known[key] = known
        return known[2]


def quantized_model(model: ir.Model, candidate: Candidate, *, weights: WeightForm, form: Form) -> Rewritten:
    """Return a copy of the prepared model, quantized as the candidate says, to be written.

    Args:
        model: The prepared model; left as it is.
        candidate: What is quantized, with which ranges and constants.
        weights: How weights are stored.
        form: How the INT8 regions are written.

    Raises:
        ModelError: A weight holds NaN or Inf, or a tensor is BF16.
    """
    copy = with_constants(model, {**candidate.base, **candidate.weights}, candidate.biases)
    return rewrite_in_place(
        copy, candidate.plan, candidate.ranges, weights=weights, form=form, weight_ranges=candidate.weight_ranges
    )


def trial_model(model: ir.Model, candidate: Candidate, rounded: RoundedWeights) -> ir.Model:
    """Return a copy of the prepared model, quantized as the candidate says, to be run.

    Its weights are rounded beforehand, so that a run does not do it every time; the numbers are those of the written
    model, bit for bit.
    """
    runtime = candidate.plan.target
    if runtime.bias is not Bias.FLOAT:  # whose steps are those of the weights
        return quantized_model(model, candidate, weights=WeightForm.FP32, form=Form.PAIRS).model
    clone = with_constants(model, {**candidate.base, **candidate.weights}, candidate.biases)
    nodes = {node.name: node for node in every_node(clone.graph)}
    names = Names(clone.graph)
    stored = every_initializer(clone.graph)
    for target in candidate.plan.weights:
        weight = constant_at(nodes[target.use.node], target.use.slot)
        if weight is not None:
            array = rounded.get(target, weight, candidate.weight_ranges.get(target.tensor))
            value = add_initializer(clone.graph, names.value(f"{target.tensor}_rounded"), array)
            nodes[target.use.node].replace_input_with(target.use.slot, value)
    for target in candidate.plan.weights:
        if target.tensor in stored:
            drop_if_unread(stored[target.tensor])
    rest = replace(candidate.plan, weights=())
    return rewrite_in_place(clone, rest, candidate.ranges, weights=WeightForm.FP32, form=Form.PAIRS).model
