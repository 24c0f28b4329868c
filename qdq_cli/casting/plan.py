"""Which operators of a model stay FP32 when the rest becomes FP16 or BF16, each with its reason.

A plan is a value: nothing is changed until `convert.converted` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from calibrators import Extremes
from qdq_cli.casting import reasons
from qdq_cli.casting.bounds import bounds_of, float_values
from qdq_cli.casting.constant_rules import constants
from qdq_cli.casting.cut import FAR, KEEPING, Tensor, single_side
from qdq_cli.casting.findings import Finding, Scene
from qdq_cli.casting.formats import FORMATS, FloatFormat
from qdq_cli.casting.grids import grids
from qdq_cli.casting.guards import guards, small_divisors
from qdq_cli.casting.kept import Kept
from qdq_cli.casting.masks import find_masks
from qdq_cli.casting.pair_scales import pair_scales
from qdq_cli.casting.reach import never_taken, out_of_reach, seen_values
from qdq_cli.casting.slots import NONE, first_opset, low_slots
from qdq_cli.casting.stored_biases import with_float_biases
from qdq_cli.casting.structure import FOLLOWING, structural, touches_single
from qdq_cli.casting.sums import sums
from qdq_cli.casting.vanishing import vanishing
from qdq_cli.casting.whole_numbers import whole_numbers
from qdq_cli.config.forms import FloatType, ScaleType
from qdq_cli.model.bodies import models_of
from qdq_cli.model.dynamic import is_about_blocks
from qdq_cli.model.nodes import ONNX_DOMAIN, is_op, name_of
from qdq_cli.model.opset import HALF_OPSET, opset_of
from qdq_cli.model.scales import is_pair_half
from qdq_cli.process.errors import ModelError

SINGLE_SCALE_OPSET = 23
"""The first opset whose DQ says in which type it gives its floats (`output_dtype`)."""


@dataclass(frozen=True)
class FloatPlan:
    """Which type every operator of a model computes in.

    Args:
        float_type: Type of the operators that are not listed.
        opset: The opset that the result needs.
        kept: The operators that stay FP32, in the order of the graph, those in bodies behind.
        clamped: Constants that are clamped to the type: masks that a Softmax ignores, and ends of a Clip.
        unobserved: Tensors of which nothing is known; what they hold was not weighed.
    """

    float_type: FloatType
    opset: int
    kept: tuple[Kept, ...] = ()
    clamped: tuple[str, ...] = ()
    unobserved: tuple[str, ...] = ()


Rule = Callable[[Scene], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    structural,
    never_taken,
    out_of_reach,
    vanishing,
    constants,
    guards,
    small_divisors,
    sums,
    whole_numbers,
    grids,
    pair_scales,
)
"""In the order of precedence: an operator has the reason that the first of them gives."""


def make_float_plan(
    model: ir.Model,
    float_type: FloatType,
    extremes: Mapping[str, Extremes],
    scales: ScaleType = ScaleType.DATA,
    *,
    keep_io: bool = True,
) -> FloatPlan:
    """Decide which operators of a prepared FP32 model stay FP32.

    Args:
        model: Its types inferred, with Q/DQ or without; left as it is.
        float_type: Type of the others.
        extremes: Tensor name -> what was observed. What is missing is bounded from what is there, where that can be.
        scales: Type of the scales of Q and DQ.
        keep_io: Whether graph inputs and outputs stay FP32; it decides where Casts are worth it.

    Raises:
        ModelError: The model is FP16 or BF16 already.
    """
    opset = opset_of(model)
    if float_type is FloatType.FP32:
        return FloatPlan(float_type, opset)
    _refuse_half(model)
    form, parts = FORMATS[float_type], [with_float_biases(part) for part in models_of(model)]
    opset = max(needed_opset(part, form, scales) for part in parts)
    plans = []
    for part in parts:
        in_body = part is not parts[0]  # it is handed FP32, and gives FP32
        scene = replace(_scene(part, form, extremes, opset), single_scales=scales is ScaleType.FP32)
        proven = in_body and bool(extremes) and float_type is FloatType.FP16
        plans.append(_planned(replace(scene, keep_io=keep_io or in_body, proven=proven), float_type))
    return _joined(plans)


def _joined(plans: Sequence[FloatPlan]) -> FloatPlan:
    """Join the plans of a main graph and of its bodies; what a body reads from outside is named once."""
    clamped = dict.fromkeys(name for plan in plans for name in plan.clamped)
    unobserved = dict.fromkeys(name for plan in plans for name in plan.unobserved)
    kept = tuple(kept for plan in plans for kept in plan.kept)
    return replace(plans[0], kept=kept, clamped=tuple(sorted(clamped)), unobserved=tuple(unobserved))


def _planned(scene: Scene, float_type: FloatType) -> FloatPlan:
    """Plan one graph."""
    found: dict[ir.Node, Finding] = {}
    for rule in RULES:
        for finding in rule(scene):
            found.setdefault(finding.node, finding)
    for node in islands(scene, frozenset(node for node in found if not _is_boundary(found[node]))):
        found[node] = Finding(node, reasons.ISLAND)
    kept = tuple(_kept(found[node]) for node in scene.graph if node in found and not _is_boundary(found[node]))
    clamped = tuple(name_of(value) for value in scene.clamped)
    return FloatPlan(float_type, scene.opset, kept, tuple(sorted(clamped)), _unobserved(scene))


def _scene(model: ir.Model, form: FloatFormat, extremes: Mapping[str, Extremes], opset: int) -> Scene:
    bounds = bounds_of(model, extremes)
    masks = find_masks(model.graph, form, bounds)
    return Scene(
        model.graph,
        form,
        opset,
        bounds,
        seen_values(model.graph, extremes),
        masks.clamped,
        masks.tensors,
    )


def _kept(finding: Finding) -> Kept:
    says = reasons.REASONS[finding.code]
    node = finding.node
    return Kept(node.name or "", node.op_type, finding.code, f"{says}: {finding.detail}" if finding.detail else says)


def _is_boundary(finding: Finding) -> bool:
    """Say whether an operator has no type of its own: Q and DQ take the type of what is around them."""
    return is_pair_half(finding.node) and finding.code not in (reasons.COMPUTED_SCALE, reasons.BLOCK_SCALES)


def _unobserved(scene: Scene) -> tuple[str, ...]:
    """Return the tensors that were not observed and that nothing keeps from leaving the type."""
    return tuple(
        value.name or ""
        for value in float_values(scene.graph)
        if value not in scene.seen and value not in scene.masks and scene.may_overflow(value)
    )


def _refuse_half(model: ir.Model) -> None:
    """Refuse a model whose floats have 16 bits already.

    Raises:
        ModelError: A weight or a graph input is FP16 or BF16.
    """
    forms = {form.dtype: form.name for form in FORMATS.values()}
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        if value.dtype in forms:
            raise ModelError(
                f"'{value.name}' is {forms[value.dtype]} already, and a float type is given to FP32 models alone.",
                "Start from the FP32 model, or leave --float-type out.",
            )


def needed_opset(model: ir.Model, form: FloatFormat, scales: ScaleType) -> int:
    """Return the opset at which Q, DQ and, for BF16, the other operators take a type; never below the model's.

    FP16 is as old as ONNX: an operator without it has a reason, and stays FP32.
    """
    opset = opset_of(model)
    nodes = [node for node in model.graph if node.domain == ONNX_DOMAIN and touches_single(node)]
    needed = [opset]
    if any(is_pair_half(node) for node in nodes):
        needed.append(SINGLE_SCALE_OPSET if scales is ScaleType.FP32 else HALF_OPSET)
    if form.dtype is ir.DataType.BFLOAT16:
        firsts = (first_opset(op_type, opset, form.dtype) for op_type in {node.op_type for node in nodes})
        needed += [first for first in firsts if first is not None]
    return max(needed)


def islands(scene: Scene, single: frozenset[ir.Node]) -> frozenset[ir.Node]:
    """Return the operators that are better FP32 too, so that fewer Casts are needed."""
    free = frozenset(node for node in scene.graph if is_free(node) and node not in single)
    prices: dict[Hashable, int] = {
        node: _price(node) for node in scene.graph if touches_single(node) and node not in single and node not in free
    }
    prices |= {} if scene.keep_io else dict.fromkeys(scene.graph.inputs, FAR)  # they are 16-bit then
    tensors = [tensor for value in float_values(scene.graph) if (tensor := _tensor(value, scene, free)) is not None]
    return frozenset(node for node in single_side(single - free, prices, tensors) if isinstance(node, ir.Node))


def is_free(node: ir.Node) -> bool:
    """Say whether an operator takes the type of what is around it: Q, DQ, and what reads shapes alone."""
    return is_pair_half(node) or is_op(node, *FOLLOWING) or is_about_blocks(node)


def _price(node: ir.Node) -> int:
    return FAR if is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN") else KEEPING


def _tensor(value: ir.Value, scene: Scene, free: frozenset[ir.Node]) -> Tensor | None:
    """Return a tensor as the cut sees it; None where its type is free: a DQ gives either."""
    maker: Hashable | None = value.producer()
    if maker in free:
        return None
    if maker is None and not scene.keep_io:
        maker = value
    inner = [use.node for use in value.uses() if use.node.graph is not scene.graph]
    readers = tuple(
        dict.fromkeys(
            use.node
            for use in value.uses()
            if use.node.graph is scene.graph and use.node not in free and takes(use.node, use.idx, scene)
        )
    )
    read_single = (value.is_graph_output() and scene.keep_io) or bool(inner)
    return Tensor(maker, readers, read_single) if readers or read_single else None


def takes(node: ir.Node, slot: int, scene: Scene) -> bool:
    """Say whether an operand of a node follows the node's type."""
    slots = low_slots(node, scene.opset, scene.form.dtype) if node.domain == ONNX_DOMAIN else NONE
    return slot in slots.inputs or slots == NONE
