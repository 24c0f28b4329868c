"""Laws of placement, true for every network: no form costs kernels, all forms agree, order does not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibrators import Range
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import Plan, ScaleGroup, make_plan
from qdq_cli.placement.record import TensorTarget, Use, WeightTarget
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import proto_of, run, shuffled
from tests.placement.random_networks import Step, build, recipes
from tests.targets.tensorrt.predictions import predict_plan

AMAX = 127 * 2.0**-4


def planned(recipe: list[Step]) -> tuple[ir.Model, Plan]:
    net, outputs = build(recipe)
    model = prepare(net.model(*outputs)).model
    return model, make_plan(model, TENSORRT)


def written(recipe: list[Step], form: Form, *, runs: bool = True) -> tuple[ir.Model, tuple[str, ...]]:
    """Plan and rewrite a fresh model; without `runs`, pairs stand at the consumers alone."""
    model, plan = planned(recipe)
    if not runs:
        plan = replace(plan, targets=tuple(target for target in plan.targets if not target.opens_run))
    result = rewrite(model, plan, [Range.symmetric(AMAX)] * len(plan.groups), weights=WeightForm.FP32, form=form)
    proto_of(result.model)
    return result.model, result.int8_nodes


@settings(max_examples=60)
@given(recipes())
def test_no_form_predicts_more_kernels_than_pairs_at_the_consumers(recipe):
    plain = len(simulate(written(recipe, Form.PAIRS, runs=False)[0]).standalone)
    assert len(simulate(written(recipe, Form.PAIRS)[0]).standalone) <= plain
    assert len(simulate(written(recipe, Form.INT8_REGIONS)[0]).standalone) <= plain


@settings(max_examples=40)
@given(recipes())
def test_the_planner_and_the_propagation_engine_agree_on_what_runs_in_int8(recipe):
    _, plan = planned(recipe)
    _, int8_nodes = written(recipe, Form.INT8_REGIONS)
    assert set(plan.int8_nodes) == set(int8_nodes)


@settings(max_examples=15)
@given(recipes(max_size=9))
def test_all_forms_give_the_same_numbers(recipe):
    models = [written(recipe, Form.PAIRS, runs=False), written(recipe, Form.PAIRS), written(recipe, Form.INT8_REGIONS)]
    expected, *others = (run(model) for model, _ in models)
    for outputs in others:
        for one, two in zip(expected, outputs, strict=True):
            np.testing.assert_array_equal(one, two)


@settings(max_examples=30)
@given(recipes(), st.integers(0, 2**32))
def test_the_order_of_nodes_in_the_file_does_not_matter(recipe, seed):
    net, outputs = build(recipe)
    expected = make_plan(prepare(net.model(*outputs)).model, TENSORRT)
    assert make_plan(prepare(shuffled(net.model(*outputs), seed)).model, TENSORRT) == expected


@settings(max_examples=40)
@given(recipes())
def test_every_quantized_operator_reads_int8_on_all_its_inputs(recipe):
    model, _ = written(recipe, Form.PAIRS)
    _, plan = planned(recipe)
    for name in plan.quantized:
        node = model.graph.node(name)
        assert all(value.producer().op_type == "DequantizeLinear" for value in node.inputs[:2])
        assert node.inputs[2].is_initializer()


def float_readers(model: ir.Model, plan: Plan) -> list[ir.Node]:
    """The operators that are float only because INT8 pays little there."""
    narrow = {skip.node for skip in plan.skips if skip.code == "FEW_CHANNELS"}
    return [node for node in model.graph if node.name in narrow]


def with_reader(plan: Plan, node: ir.Node) -> Plan:
    """The plan with one more operator quantized, and nothing else decided anew."""
    tensor, use = node.inputs[0].name, Use(node.name, 0)
    known = next((target for target in plan.targets if target.tensor == tensor and not target.opens_run), None)
    if known is None:
        added = TensorTarget(tensor, (use,), len(plan.groups))
        targets, groups = (*plan.targets, added), (*plan.groups, ScaleGroup((tensor,), (tensor,)))
    else:
        added = replace(known, uses=(*known.uses, use))
        targets, groups = tuple(added if target is known else target for target in plan.targets), plan.groups
    weights = (*plan.weights, WeightTarget(node.inputs[1].name, Use(node.name, 1), 0))
    return replace(plan, targets=targets, groups=groups, weights=weights, quantized=(*plan.quantized, node.name))


@settings(max_examples=80, deadline=None)
@given(recipes())
@example([("narrow", 0, 0), ("conv", 0, 0)])
@example([("relu", 0, 0), ("narrow", 0, 0), ("conv", 0, 0)])
@example([("float", 0, 0), ("conv", 0, 0), ("maxpool", 1, 0), *[("conv", 0, 0)] * 3, ("narrow", 3, 0)])
def test_quantizing_one_more_operator_saves_no_kernel(recipe):
    model, plan = planned(recipe)
    least = len(predict_plan(model, plan).removable)
    for node in float_readers(model, plan):
        assert len(predict_plan(model, with_reader(plan, node)).removable) >= least


@settings(max_examples=80, deadline=None)
@given(recipes())
def test_what_is_counted_as_quantized_runs_in_int8(recipe):
    model, plan = planned(recipe)
    layers = {layer.name for layer in predict_plan(model, plan).weighted if layer.quantized}
    assert layers == set(plan.quantized)
    assert not [found for found in lint(draft(model, plan)) if found.code == "W_WEIGHT_ONLY_OR_ACT_ONLY"]
