"""What TensorRT would do with a plan, before anything is calibrated or written.

The writer itself writes the planned Q/DQ into a copy, with a scale of its own for each scale group and weights that are
not read, and the simulator looks at the result.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from calibrators import Range
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.rewrite import rewrite_in_place


def draft(model: ir.Model, plan: Plan, *, form: Form = Form.PAIRS) -> ir.Model:
    """Return a copy of a model with the planned Q/DQ in it; its scales are placeholders.

    Args:
        model: The prepared model the plan was made from; not changed.
        plan: What to quantize.
        form: How the INT8 regions are written.
    """
    copy = model.clone()
    draft_in_place(copy, plan, form=form)
    return copy


def draft_in_place(model: ir.Model, plan: Plan, *, form: Form = Form.PAIRS) -> None:
    """Do the same in a model that nobody but the caller holds; all that can be looked at then is its structure."""
    ranges = [Range.symmetric(1.0 + number) for number in range(len(plan.groups))]
    unread = dict.fromkeys((target.tensor for target in plan.weights), np.ones(1, np.float32))
    rewrite_in_place(model, plan, ranges, weights=WeightForm.FP32, form=form, weight_ranges=unread)
