"""Plan and rewritten graph of the sample models as text: what changes in placement is reviewed in a diff."""

from __future__ import annotations

import pytest

from calibrators import Range
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.model import files
from qdq_cli.placement.plan import make_plan
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from sample_models.catalog import CATALOG
from tests.quantizing.model_text import model_text, plan_text


@pytest.mark.parametrize("sample", CATALOG, ids=lambda sample: sample.name)
def test_plan_and_graph_of_a_sample_model(sample, golden):
    prepared = prepare(files.load(sample.model_path).model).model
    plan = make_plan(prepared, TENSORRT)
    golden(f"{sample.name}.plan.txt", plan_text(plan))
    # Powers of two, one a group: the scales tell the groups apart, and no calibration is needed.
    ranges = [Range.symmetric(127 * 2.0**-number) for number in range(len(plan.groups))]
    written = rewrite(prepared, plan, ranges, weights=WeightForm.FP32, form=Form.PAIRS)
    golden(f"{sample.name}.graph.txt", model_text(written.model))
