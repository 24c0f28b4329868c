"""Laws for every model: propagation keeps the numbers, simulation is pure, the order of the file does not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qdq_cli.config.forms import Form
from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.operators import commutes, operator_of
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.propagate import propagate
from qdq_cli.preparing.prepare import prepare
from qdq_cli.targets.tensorrt.kernels import OWNER
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import Reason, Simulation
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network, proto_of, run
from tests.targets.tensorrt.predictions import predict_plan
from tests.targets.tensorrt.random_networks import FLOAT_STEPS, finished, networks, shuffled

FRUGAL = settings(max_examples=80)


def model_of(proto: onnx.ModelProto) -> ir.Model:
    return ir.serde.deserialize_model(proto)


def executable(node: ir.Node) -> bool:
    since = operator_of(node).int8_opset
    return commutes(node) and since is not None and since <= 17


@FRUGAL
@given(networks())
def test_propagation_keeps_the_numbers_and_a_valid_model(net: Network):
    model = model_of(finished(net))
    moved = model.clone()
    propagate(moved, may_move=executable)
    proto_of(moved)
    for before, after in zip(run(model), run(moved), strict=True):
        np.testing.assert_array_equal(before, after)


@FRUGAL
@given(networks())
def test_propagating_again_changes_nothing(net: Network):
    model = model_of(finished(net))
    propagate(model)
    text = str(model)
    second = propagate(model)
    assert (second.merges, second.cancels, second.moves) == (0, 0, 0)
    assert str(model) == text


@FRUGAL
@given(networks())
def test_simulating_and_linting_change_nothing(net: Network):
    model = model_of(finished(net))
    before = str(model)
    assert simulate(model) == simulate(model)
    assert lint(model) == lint(model)
    assert str(model) == before


def unordered(simulation: Simulation) -> tuple[set, set]:
    """A simulation without what the file's order may change: the order of lists, and who leads a pointwise group."""
    layers = {
        (
            frozenset(layer.nodes),
            tuple(sorted((operand.tensor, operand.type.value) for operand in layer.inputs)),
            layer.outputs,
            layer.output_type,
            layer.quantized,
            frozenset(layer.absorbed),
        )
        for layer in simulation.layers
    }
    kernels = {(found.op_type, found.tensor, found.consumer, found.reason) for found in simulation.standalone}
    return layers, kernels


@FRUGAL
@given(networks(), st.integers(0, 1000))
def test_the_order_of_the_file_changes_nothing(net: Network, seed: int):
    proto = finished(net)
    first = simulate(model_of(proto))
    assume(not any(OWNER in layer.uncertain for layer in first.layers))
    assert unordered(simulate(model_of(shuffled(proto, seed)))) == unordered(first)


@FRUGAL
@given(networks())
def test_every_node_is_in_at_most_one_layer_and_counts_add_up(net: Network):
    simulation = simulate(model_of(finished(net)))
    nodes = [name for layer in simulation.layers for name in layer.nodes if not name.endswith("_split")]
    assert len(nodes) == len(set(nodes))
    assert simulation.quantized_to_quantized <= simulation.weighted_quantized <= simulation.weighted_total
    assert sum(simulation.reasons.values()) == len(simulation.standalone)
    absorbed = {name for layer in simulation.layers for name in layer.absorbed}
    assert all(name not in nodes for name in absorbed)


PLACEMENT_FAULTS = {Reason.SCALE_MISMATCH, Reason.RESIDUAL_NOT_REQUANTIZED, Reason.FLOAT_CONSUMER}
"""What a badly placed pair can cause; the other reasons lie in the network itself."""


@FRUGAL
@given(networks(FLOAT_STEPS))
def test_the_planner_leaves_no_kernel_that_better_placement_would_remove(net: Network):
    """A chain of residual blocks may pay for its float end with one DQ; that branch in float must not be cheaper."""
    prepared = prepare(model_of(finished(net))).model
    plan = make_plan(prepared, TENSORRT, PlanConfig(channel_rules=False))
    kernels = predict_plan(prepared, plan).removable
    for found in kernels:
        assert found.reason is not Reason.SCALE_MISMATCH
        if found.reason in PLACEMENT_FAULTS:
            without = predict_plan(prepared, left_float(plan, found.tensor, found.consumer))
            assert len(without.removable) >= len(kernels)


def left_float(plan: Plan, tensor: str, node: str) -> Plan:
    targets = [
        replace(target, uses=tuple(use for use in target.uses if (target.tensor, use.node) != (tensor, node)))
        for target in plan.targets
    ]
    return replace(plan, targets=tuple(target for target in targets if target.uses))


@FRUGAL
@given(networks(FLOAT_STEPS))
def test_no_form_costs_more_kernels_than_pairs_at_the_consumers(net: Network):
    prepared = prepare(model_of(finished(net))).model
    plan = make_plan(prepared, TENSORRT, PlanConfig(channel_rules=False))
    at_consumers = replace(plan, targets=tuple(target for target in plan.targets if not target.opens_run))
    pairs, regions, plain = (
        predict_plan(prepared, plan),
        predict_plan(prepared, plan, form=Form.INT8_REGIONS),
        predict_plan(prepared, at_consumers),
    )
    assert unordered(pairs)[1] == unordered(regions)[1]
    assert len(pairs.standalone) <= len(plain.standalone)
    assert pairs.quantized_to_quantized == regions.quantized_to_quantized >= plain.quantized_to_quantized
