"""Kernels that read and write codes: a tensor is quantized for every reader or for none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrators import Range
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.around import last_results
from qdq_cli.placement.plan import Plan, make_plan, observing, shrinkable
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from tests.networks import Network, proto_of, run
from tests.targets.tensorrt.random_networks import FLOAT_STEPS, finished, networks


def prepared(net: Network, *outputs: str) -> ir.Model:
    return prepare(net.model(*outputs)).model


def planned(net: Network, *outputs: str, **options: Any) -> Plan:
    return make_plan(prepared(net, *outputs), ONNXRUNTIME, PlanConfig(**options))


def quantized_tensors(plan: Plan) -> set[str]:
    return {target.tensor for target in plan.targets}


def codes(plan: Plan) -> dict[str, str]:
    return {skip.node: skip.code for skip in plan.skips}


def body(channels: int = 32, side: int = 8) -> tuple[Network, str]:
    net = Network()
    net.input("x", (1, 32, side, side))
    return net, net.relu(net.conv("x", channels, "body", scale=None), "t")


def test_a_result_is_quantized_behind_the_clipping_that_alone_reads_it():
    net, t = body()
    plan = planned(net, net.relu(net.conv(t, 32, "last", scale=None), "y"))
    assert quantized_tensors(plan) == {"x", "t", "y"}
    assert {target.tensor for target in plan.targets if target.is_output} == {"y"}


def test_a_clipping_with_another_reader_beside_it_is_none_of_the_kernel():
    net = Network()
    net.input("x", (1, 32, 8, 8))
    first = net.conv("x", 32, "first", scale=None)
    plan = planned(net, net.conv(net.add(net.relu(first, "r"), first, "sum"), 32, "last", scale=None))
    assert {"first", "sum"} <= quantized_tensors(plan)
    assert codes(plan) == {"sum": "FLOAT_AROUND"}


def test_a_sum_of_results_is_quantized_on_all_sides():
    net, t = body()
    total = net.relu(net.add(net.conv(t, 32, "branch", scale=None), t, "sum"), "s")
    plan = planned(net, net.conv(total, 32, "last", scale=None))
    assert quantized_tensors(plan) == {"x", "t", "branch", "s", "last"}
    uses = {target.tensor: {use.node for use in target.uses} for target in plan.targets}
    assert uses["t"] == {"branch", "sum"}


def test_what_lies_between_is_quantized_against_the_flow():
    """SiLU: the Sigmoid's result is quantized because the Mul's is, and the Mul's because a Conv reads it."""
    net, _ = body()
    gate = net.op("Sigmoid", "body", name="gate")
    silu = net.op("Mul", "body", gate, name="silu")
    assert quantized_tensors(planned(net, net.conv(silu, 32, "last", scale=None))) == {
        "x", "body", "gate", "silu", "last"
    }  # fmt: skip


def test_a_chain_that_ends_in_float_stays_float():
    net, t = body()
    total = net.add(net.conv(t, 32, "branch", scale=None), t, "sum")
    plan = planned(net, net.op("Erf", total, name="y"))
    assert "sum" not in quantized_tensors(plan)
    assert codes(plan) == {"sum": "FLOAT_AROUND"}


def test_the_last_operators_are_those_that_no_other_one_comes_after():
    net, t = body(side=16)
    small = net.conv(t, 4, "small", kernel=1, scale=None)
    assert quantized_tensors(planned(net, small)) == {"x", "t", "small"}
    graph = net.model(small).graph
    assert {node.name for node in last_results(list(graph), ONNXRUNTIME.operators)} == {"small"}


def test_a_product_of_a_matrix_needs_no_codes_behind_it():
    net, t = body()
    flat = net.op("Flatten", net.op("GlobalAveragePool", t, name="pooled"), name="flat")
    plan = planned(net, net.gemm(flat, 32, 4, "scores", scale=None))
    assert "scores" in plan.quantized
    assert "scores" not in quantized_tensors(plan)
    assert {"pooled", "flat"} <= quantized_tensors(plan)
    shared = next(group for group in plan.groups if "flat" in group.tensors)
    assert set(shared.tensors) == {"pooled", "flat"}  # moving data keeps codes: one scale, and one of them is observed
    assert shared.observed == ("pooled",)


def test_a_join_of_clipped_and_other_tensors_keeps_their_scales_apart():
    net, t = body()
    other = net.conv(t, 32, "other", scale=None)
    mixed = planned(net, net.conv(net.concat(t, other, name="joined"), 32, "last", scale=None))
    assert all(len(group.tensors) == 1 for group in mixed.groups)
    net, t = body()
    clipped = net.relu(net.conv(t, 32, "other", scale=None), "u")
    alike = planned(net, net.conv(net.concat(t, clipped, name="joined"), 32, "last", scale=None))
    assert {"t", "u", "joined"} in [set(group.tensors) for group in alike.groups]


def test_the_output_gives_what_was_quantized():
    net, t = body()
    model = prepared(net, net.conv(t, 32, "y", scale=None))
    plan = make_plan(model, ONNXRUNTIME)
    scale = 1 / 4
    ranges = [Range(-32.0, 127 * scale)] * len(plan.groups)
    result = rewrite(model, plan, ranges, weights=WeightForm.INT8, form=Form.PAIRS).model
    proto_of(result)
    assert [output.name for output in result.graph.outputs] == ["y"]
    (found,) = run(result, {})
    np.testing.assert_array_equal(found, np.rint(found / scale) * scale)
    assert [value.name for value in model.graph.outputs] == ["y"]  # what was planned is left as it is


@settings(max_examples=60)
@given(networks((*FLOAT_STEPS, "depthwise_float", "add", "add", "sigmoid", "split")), st.data())
def test_a_smaller_plan_observes_nothing_new(net: Network, data: st.DataObject):
    """Whatever calibration takes out or a user excludes of the operators that are quantized."""
    model = prepare(ir.serde.deserialize_model(finished(net))).model
    plan = make_plan(model, ONNXRUNTIME)
    if not plan.quantized:
        return
    exclude = tuple(data.draw(st.lists(st.sampled_from(plan.quantized), unique=True)))
    wider = set(observing(plan, shrinkable(model, ONNXRUNTIME)).observed)
    assert wider >= set(make_plan(model, ONNXRUNTIME, replace(PlanConfig(), exclude=exclude)).observed)


@settings(max_examples=60)
@given(networks((*FLOAT_STEPS, "depthwise_float", "add", "add", "sigmoid", "split")))
def test_every_quantized_operator_has_codes_on_all_sides(net: Network):
    model = prepare(ir.serde.deserialize_model(finished(net))).model
    plan = make_plan(model, ONNXRUNTIME)
    uses = {target.tensor: {(use.node, use.slot) for use in target.uses} for target in plan.targets}
    for node in model.graph:
        if node.name in plan.quantized:
            assert (node.name, 0) in uses[node.inputs[0].name]
    for value in (value for node in model.graph for value in node.outputs if value.name in uses):
        assert uses[value.name] == {(use.node.name, use.idx) for use in value.uses()}
