"""Law: whatever calibration finds too wide, the plan without it observes only tensors the first plan announced."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.operators import is_depthwise
from qdq_cli.placement.plan import make_plan, observing, shrinkable
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.targets.tensorrt.random_networks import FLOAT_STEPS, finished, networks


@settings(max_examples=80)
@given(networks((*FLOAT_STEPS, "depthwise_float", "depthwise_float", "add", "sigmoid", "split")), st.data())
def test_candidates_hold_what_any_smaller_plan_observes(net: Network, data: st.DataObject):
    model = prepare(ir.serde.deserialize_model(finished(net))).model
    config = PlanConfig(channel_rules=False)
    plan = make_plan(model, TENSORRT, config)
    depthwise = [node.name for node in model.graph if node.name in plan.quantized and is_depthwise(node)]
    if not depthwise:
        assert plan.candidates == ()
        return
    wide = frozenset(data.draw(st.lists(st.sampled_from(depthwise), unique=True)))
    assert set(plan.candidates) >= set(plan.observed)
    assert set(plan.candidates) >= set(make_plan(model, TENSORRT, replace(config, wide=wide)).observed)


@settings(max_examples=80)
@given(networks((*FLOAT_STEPS, "depthwise_float", "add", "add", "sigmoid", "split")), st.data())
def test_excluding_any_operators_observes_nothing_new(net: Network, data: st.DataObject):
    """Weighted operators, residual Adds and poolings alike."""
    model = prepare(ir.serde.deserialize_model(finished(net))).model
    config = PlanConfig(channel_rules=False)
    plan = make_plan(model, TENSORRT, config)
    readers = sorted({use.node for target in plan.targets for use in target.uses if not target.opens_run})
    if not readers:
        return
    exclude = tuple(data.draw(st.lists(st.sampled_from(readers), unique=True)))
    observed = set(observing(plan, shrinkable(model, TENSORRT, config)).observed)
    assert observed >= set(make_plan(model, TENSORRT, replace(config, exclude=exclude)).observed)


def test_tensors_observed_besides_change_nothing_else():
    net = Network()
    first = net.conv(net.input("x", (1, 16, 8, 8)), 16, scale=None)
    plan = make_plan(prepare(net.model(net.conv(first, 16, scale=None))).model, TENSORRT)
    wider = observing(plan, ("x", "other", "other"))
    assert wider.observed == (*plan.observed, "other")
    assert replace(wider, groups=plan.groups) == plan
    assert observing(plan, ("x",)) is plan


def test_without_the_range_rule_nothing_is_taken_out_later():
    net = Network()
    first = net.conv(net.input("x", (1, 16, 8, 8)), 16, group=16, scale=None)
    model = prepare(net.model(net.conv(first, 16, scale=None))).model
    assert make_plan(model, TENSORRT).candidates == ("x", first)
    assert make_plan(model, TENSORRT, PlanConfig(range_rules=False)).candidates == ()
