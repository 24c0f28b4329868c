"""What a plan would make of a model, before anything is calibrated or written.

The writer itself writes the planned Q/DQ into a copy, with a scale of its own for each scale group and weights that are
not read; predictors look at the result.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from calibrators import Range
from qdq_cli.config.forms import Form, WeightForm
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
    ranges = [Range.symmetric(1.0 + number) for number in range(len(plan.groups))]
    unread = dict.fromkeys((target.tensor for target in plan.weights), np.ones(1, np.float32))
    write = rewrite if copy else rewrite_in_place
    return write(model, plan, ranges, weights=WeightForm.FP32, form=form, weight_ranges=unread).model
