"""What a plan would make of a model, before anything is calibrated or written.

The writer itself writes the planned Q/DQ into a copy, with a scale of its own for each scale group and weights that are
not read; predictors look at the result.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from calibrators import Range, ScaleGroup
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.model.nodes import constant_at, every_node, is_op, name_of
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.rewrite import rewrite, rewrite_in_place


def draft(model: ir.Model, plan: Plan, *, form: Form = Form.PAIRS, copy: bool = True) -> ir.Model:
    """Return a copy of a model with the planned Q/DQ in it; its scales are placeholders.

    Args:
        model: The prepared model the plan was made from; not changed.
        plan: What to quantize.
        form: How the INT8 regions are written.
        copy: False changes the model itself, for a caller who alone holds it.
    """
    clipped = _clipped(model) if not plan.target.activations.symmetric else {}
    ranges = [_placeholder(group, 1.0 + number, clipped) for number, group in enumerate(plan.groups)]
    unread = dict.fromkeys((target.tensor for target in plan.weights), np.ones(1, np.float32))
    write = rewrite if copy else rewrite_in_place
    stored = None if plan.target.weights_alone else WeightForm.FP32
    return write(model, plan, ranges, weights=stored, form=form, weight_ranges=unread).model


def _clipped(model: ir.Model) -> dict[str, Range]:
    """Return what a Relu or Clip lets through, by the name of its result: codes that end there make it superfluous."""
    found: dict[str, Range] = {}
    for node in every_node(model.graph):
        if is_op(node, "Relu"):
            found[name_of(node.outputs[0])] = Range(0.0, 1.0 + len(found))
        elif is_op(node, "Clip"):
            low, high = constant_at(node, 1), constant_at(node, 2)
            if (
                low is not None
                and high is not None
                and low.size == high.size == 1
                and float(low.item()) <= 0.0 <= float(high.item())
            ):
                found[name_of(node.outputs[0])] = Range(float(low.item()), float(high.item()))
    return found


def _placeholder(group: ScaleGroup, amax: float, clipped: dict[str, Range]) -> Range:
    kept = next((clipped[name] for name in group.tensors if name in clipped), None)
    return Range.symmetric(amax) if kept is None else kept
