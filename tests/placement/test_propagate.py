"""Rules R1-R5: where Q and DQ end, that the graph stays valid, and that the numbers stay the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from qdq_cli.model.scales import holds_constant, is_dequantize, is_quantize, tensor_scale
from qdq_cli.placement.operators import commutes
from qdq_cli.placement.propagate import Propagation, nodes_on_codes, propagate
from tests.networks import SCALE, Network, proto_of, run


@dataclass(frozen=True)
class Ended(Propagation):
    """What propagation did, and the INT8 regions it left: the commuting nodes in them, and where they start and end."""

    int8_nodes: frozenset[str]
    entries: frozenset[str]
    exits: frozenset[str]


def ended(model: ir.Model, record: Propagation) -> Ended:
    pairs = [node for node in model.graph if tensor_scale(node) and not holds_constant(node.outputs[0])]
    return Ended(
        **vars(record),
        int8_nodes=frozenset(node.name for node in nodes_on_codes(model.graph)),
        entries=frozenset(node.inputs[0].name for node in pairs if is_quantize(node)),
        exits=frozenset(node.outputs[0].name for node in pairs if is_dequantize(node)),
    )


def propagated(model: ir.Model, may_move=commutes) -> tuple[ir.Model, Ended]:
    """Propagate a clone; the result is a valid model that computes the same numbers, and propagating is idempotent."""
    result = model.clone()
    record = ended(result, propagate(result, may_move=may_move))
    proto_of(result)
    again = result.clone()
    repeated = ended(again, propagate(again, may_move=may_move))
    assert (repeated.moves, repeated.merges, repeated.cancels) == (0, 0, 0)
    assert (repeated.int8_nodes, repeated.entries, repeated.exits) == (record.int8_nodes, record.entries, record.exits)
    assert layout(again) == layout(result)
    return result, record


def layout(model: ir.Model) -> list[tuple]:
    return [
        (node.op_type, node.name, tuple(v.name if v else "" for v in node.inputs), tuple(v.name for v in node.outputs))
        for node in model.graph
    ]


def count(model: ir.Model) -> Counter:
    return Counter(node.op_type for node in model.graph)


def assert_same_numbers(before: ir.Model, after: ir.Model) -> None:
    for a, b in zip(run(before), run(after), strict=True):
        np.testing.assert_array_equal(a, b)


def start(channels: int = 4, opset: int = 17, size: int = 8) -> tuple[Network, str]:
    net = Network(opset)
    x = net.input("x", (1, channels, size, size))
    return net, net.conv(x, channels, "conv1")


def test_q_moves_back_over_maxpool_and_the_pool_reads_codes():
    net, y = start()
    model = net.model(net.conv(net.maxpool(y, "pool"), 4, "conv2"))
    result, record = propagated(model)
    assert record.int8_nodes == {"pool"}
    assert record.entries == {"x", "conv1"}
    assert record.moves == 1
    pool = result.graph.node("pool")
    assert pool.inputs[0].producer().op_type == "QuantizeLinear"
    assert pool.outputs[0].dtype == ir.DataType.INT8
    assert pool.outputs[0].name == "pool_QuantizeLinear"
    assert pool.inputs[0].producer().name == "conv1_QuantizeLinear"
    assert record.origins["conv1_QuantizeLinear"] == ("pool_QuantizeLinear",)
    assert_same_numbers(model, result)


def test_q_shares_its_scale_initializers_after_the_move():
    net, y = start()
    model = net.model(net.conv(net.maxpool(y, "pool"), 4, "conv2"))
    result, _ = propagated(model)
    moved = result.graph.node("conv1_QuantizeLinear")
    assert [value.name for value in moved.inputs] == ["conv1", "pool_QuantizeLinear_scale", "pool_QuantizeLinear_zp"]
    assert set(model.graph.initializers) >= set(result.graph.initializers)
    assert all(value.uses() for value in result.graph.initializers.values())


def test_q_stays_behind_a_tensor_that_a_float_operator_reads_too():
    net, y = start()
    pool = net.maxpool(y, "pool")
    model = net.model(net.conv(pool, 4, "conv2"), net.op("Softmax", pool))
    result, record = propagated(model)
    assert record.moves == 0
    assert layout(result) == layout(model)


def test_q_stays_behind_a_graph_output():
    net, y = start()
    pool = net.maxpool(y, "pool")
    _, record = propagated(net.model(net.conv(pool, 4, "conv2"), pool))
    assert record.int8_nodes == frozenset()


def test_a_chain_of_commuting_operators_is_crossed_as_a_whole():
    net, y = start()
    y = net.op("Transpose", y, name="transpose", perm=[0, 2, 3, 1])
    y = net.op("Reshape", y, net.constant(np.array([64, 4])), name="reshape")
    model = net.model(net.op("MatMul", net.pair(y), net.quantized_weight(net.weight(4, 8), 1, "w"), name="matmul"))
    result, record = propagated(model)
    assert record.int8_nodes == {"transpose", "reshape"}
    assert record.entries == {"x", "conv1"}
    assert_same_numbers(model, result)


def test_q_is_cloned_to_every_input_of_a_concat():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    both = net.concat(net.conv(x, 4, "a"), net.conv(x, 4, "b"), name="cat")
    model = net.model(net.conv(both, 4, "c"))
    result, record = propagated(model)
    assert record.entries == {"x", "a", "b"}
    assert record.int8_nodes == {"cat"}
    assert record.origins["a_QuantizeLinear"] == record.origins["b_QuantizeLinear"] == ("cat_QuantizeLinear",)
    assert_same_numbers(model, result)


def test_a_concat_of_one_tensor_twice_gets_one_q():
    net, y = start()
    model = net.model(net.conv(net.concat(y, y, name="cat"), 4, "c"))
    result, record = propagated(model)
    assert [node.op_type for node in result.graph.node("cat").predecessors()] == ["QuantizeLinear"]
    assert record.entries == {"x", "conv1"}
    assert_same_numbers(model, result)


def test_a_concat_with_a_constant_quantizes_the_constant_too():
    net, y = start()
    net._channels["bank"] = 4
    bank = net.constant(net.weight(1, 4, 8, 8), "bank")
    model = net.model(net.conv(net.concat(y, bank, name="cat"), 4, "c"))
    result, record = propagated(model)
    assert record.int8_nodes == {"cat"}
    assert record.entries == {"x", "conv1"}
    assert_same_numbers(model, result)


def test_equal_qs_on_one_tensor_merge_and_then_move():
    net, y = start()
    pool = net.maxpool(y, "pool")
    a = net.op("Conv", net.pair(pool, shared=False), net.quantized_weight(net.weight(4, 4, 1, 1)), name="a")
    b = net.op("Conv", net.pair(pool, shared=False), net.quantized_weight(net.weight(4, 4, 1, 1)), name="b")
    model = net.model(a, b)
    result, record = propagated(model)
    assert (record.merges, record.moves) == (1, 1)
    assert len(record.origins["conv1_QuantizeLinear"]) == 2
    assert_same_numbers(model, result)


def test_different_scales_on_one_tensor_keep_both_qs_where_they_are():
    net, y = start()
    pool = net.maxpool(y, "pool")
    model = net.model(net.conv(pool, 4, "a", scale=0.25), net.conv(pool, 4, "b", scale=0.5))
    _, record = propagated(model)
    assert (record.merges, record.moves) == (0, 0)


def test_a_moved_q_merges_with_the_equal_q_that_is_there():
    net, y = start()
    model = net.model(net.conv(net.maxpool(y, "pool"), 4, "a"), net.conv(y, 4, "b"))
    result, record = propagated(model)
    assert record.merges == 1
    assert count(result)["QuantizeLinear"] == count(model)["QuantizeLinear"] - 1
    assert record.origins["conv1_QuantizeLinear"] == ("conv1_QuantizeLinear", "pool_QuantizeLinear")
    assert_same_numbers(model, result)


def test_a_q_that_was_there_moves_up_so_that_it_precedes_its_new_use():
    net, y = start()
    pooled = net.conv(net.maxpool(y, "pool"), 4, "a")
    late = net.conv(y, 4, "b")
    result, _ = propagated(net.model(pooled, late))
    order = [node.name for node in result.graph]
    assert order.index("conv1_QuantizeLinear") == order.index("conv1") + 1


def test_dq_moves_forward_over_concat_when_all_inputs_agree():
    net = Network()
    a, b = net.input("a", (1, 4)), net.input("b", (1, 4))
    model = net.model(net.op("Softmax", net.concat(net.pair(a), net.pair(b), name="cat"), name="soft"))
    result, record = propagated(model)
    assert record.int8_nodes == {"cat"}
    assert record.exits == {"cat"}
    assert count(result)["DequantizeLinear"] == 1
    assert record.origins["cat_DequantizeLinear"] == ("a_DequantizeLinear", "b_DequantizeLinear")
    assert_same_numbers(model, result)


def test_dq_stays_before_a_concat_of_different_scales():
    net = Network()
    a, b = net.input("a", (1, 4)), net.input("b", (1, 4))
    cat = net.concat(net.pair(a, 0.25), net.pair(b, 0.5), name="cat")
    _, record = propagated(net.model(net.op("Softmax", cat)))
    assert record.moves == 0


def test_dq_moves_for_each_use_alone():
    net = Network()
    shared = net.pair(net.input("x", (1, 4, 8, 8)))
    model = net.model(net.maxpool(shared, "pool"), net.op("Softmax", shared, name="soft"))
    result, record = propagated(model)
    assert record.int8_nodes == {"pool"}
    assert result.graph.node("soft").inputs[0].producer().name == "x_DequantizeLinear"
    assert record.exits == {"pool", "x_DequantizeLinear"}
    assert_same_numbers(model, result)


def test_graph_outputs_keep_their_names_and_types():
    net = Network()
    shared = net.pair(net.input("x", (1, 4, 8, 8)))
    model = net.model(net.maxpool(shared, "pool"))
    result, _ = propagated(model)
    assert [(value.name, value.dtype) for value in result.graph.outputs] == [("pool", ir.DataType.FLOAT)]
    assert result.graph.outputs[0].producer().name == "pool_DequantizeLinear"
    assert result.graph.node("pool").outputs[0].name == "pool_QuantizeLinear_Output"


def test_a_dq_and_an_equal_q_cancel():
    net, y = start()
    pooled = net.maxpool(net.pair(y), "pool")
    model = net.model(net.conv(pooled, 4, "conv2"))
    result, record = propagated(model)
    assert record.cancels == 1
    assert record.int8_nodes == {"pool"}
    assert count(result)["QuantizeLinear"] == 4  # x, conv1 and two weights
    assert_same_numbers(model, result)


def test_a_requantization_stays():
    net, y = start()
    pooled = net.maxpool(net.pair(y, 0.5), "pool")
    model = net.model(net.conv(pooled, 4, "conv2", scale=0.25))
    result, record = propagated(model)
    assert record.cancels == 0
    assert record.int8_nodes == {"pool"}
    assert_same_numbers(model, result)


def test_an_int8_graph_output_takes_the_codes_of_the_operator():
    net = Network()
    x = net.pair(net.input("x", (1, 4, 8, 8)))
    model = net.model(net.quantize(net.maxpool(x, "pool"), name="codes"), output_types={"codes": TensorProto.INT8})
    result, record = propagated(model)
    assert record.int8_nodes == {"pool"}
    assert [(value.name, value.producer().name) for value in result.graph.outputs] == [("codes", "pool")]
    assert_same_numbers(model, result)


def test_an_int8_graph_output_of_a_bare_pair_keeps_its_node():
    net = Network()
    x = net.input("x", (1, 4), TensorProto.INT8)
    codes = net.quantize(net.dequantize(x, name="dq"), name="codes")
    model = net.model(codes, output_types={"codes": TensorProto.INT8})
    result, _ = propagated(model)
    assert layout(result) == layout(model)


def test_split_is_crossed_when_all_used_outputs_agree():
    net, y = start()
    a, b = net.split(y, 2, name="split")
    model = net.model(net.conv(a, 4, "a"), net.conv(b, 4, "b"))
    result, record = propagated(model)
    assert record.int8_nodes == {"split"}
    assert record.entries == {"x", "conv1"}
    assert_same_numbers(model, result)


@pytest.mark.parametrize("second", ["float", "other scale"])
def test_split_is_not_crossed_when_its_outputs_differ(second):
    net, y = start()
    a, b = net.split(y, 2, name="split")
    other = net.op("Softmax", b) if second == "float" else net.conv(b, 4, "b", scale=0.25)
    _, record = propagated(net.model(net.conv(a, 4, "a"), other))
    assert record.int8_nodes == frozenset()


def test_dq_forward_over_split_dequantizes_every_used_output():
    net = Network()
    x = net.pair(net.input("x", (1, 4, 8, 8)))
    a, b, c, _ = net.split(x, 4, name="split")
    model = net.model(net.op("Softmax", a), net.op("Softmax", b), c)
    result, record = propagated(model)
    assert record.exits == {"split_0", "split_1", "split_2"}
    assert_same_numbers(model, result)


def test_zero_pad_loses_its_float_fill_operand():
    net, y = start()
    pads = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    padded = net.op("Pad", y, pads, net.constant(np.float32(0)), name="pad")
    model = net.model(net.conv(padded, 4, "conv2"))
    result, record = propagated(model)
    assert record.int8_nodes == {"pad"}
    assert_same_numbers(model, result)


def test_relu_and_clip_are_not_crossed():
    net, y = start()
    model = net.model(net.conv(net.relu6(net.relu(y)), 4, "conv2"))
    _, record = propagated(model)
    assert record.moves == 0


def test_quantized_weights_stay_where_they_are():
    net, y = start()
    weight = net.op("Transpose", net.quantized_weight(net.weight(8, 4), None, "w"), name="transpose", perm=[1, 0])
    flat = net.op("Reshape", y, net.constant(np.array([64, 4])), name="reshape")
    model = net.model(net.op("MatMul", net.pair(flat), weight))
    result, record = propagated(model)
    assert record.int8_nodes == {"reshape"}
    assert result.graph.node("transpose").inputs[0].producer().op_type == "DequantizeLinear"


def test_the_caller_says_which_nodes_may_be_crossed():
    net, y = start()
    model = net.model(net.conv(net.maxpool(net.maxpool(y, "first"), "second"), 4, "conv2"))
    _, record = propagated(model, may_move=lambda node: commutes(node) and node.name != "first")
    assert record.int8_nodes == {"second"}
    assert record.entries == {"x", "first"}


def test_per_channel_and_computed_scales_do_not_move():
    net, y = start()
    pool = net.maxpool(y, "pool")
    per_axis = net.dequantize(net.quantize(pool, np.full(4, SCALE), axis=1), np.full(4, SCALE), axis=1)
    scale = net.op("Abs", net.input("scale", ()))
    computed = net.op("DequantizeLinear", net.op("QuantizeLinear", net.maxpool(y, "pool2"), scale), scale)
    _, record = propagated(net.model(per_axis, computed))
    assert record.moves == 0


def test_what_a_body_reads_counts_as_a_use():
    net, y = start()
    pool = net.maxpool(y, "pool")
    model = net.model(net.conv(pool, 4, "conv2"), net.op("Identity", pool, name="user"))
    user = model.graph.node("user")
    body = ir.Graph([], [], nodes=[], name="body", opset_imports={"": 17})
    inner = ir.Node("", "Softmax", [pool_value(model)], name="inner", outputs=[ir.Value(name="inner_out")])
    body.append(inner)
    body.outputs.append(inner.outputs[0])
    condition = model.graph.initializers["cond"] = ir.Value(
        name="cond", const_value=ir.tensor(np.array(True), name="cond"), type=ir.TensorType(ir.DataType.BOOL)
    )
    other = body.clone(allow_outer_scope_values=True)
    branch = ir.Node(
        "", "If", [condition], name="if", outputs=[ir.Value(name="if_out", type=user.outputs[0].type)],
        attributes=[ir.AttrGraph("then_branch", body), ir.AttrGraph("else_branch", other)],
    )  # fmt: skip
    model.graph.insert_after(user, branch)
    model.graph.outputs.append(branch.outputs[0])
    user.outputs[0].replace_all_uses_with(user.inputs[0], replace_graph_outputs=True)
    model.graph.outputs.remove(pool_value(model))
    model.graph.remove(user, safe=True)
    propagate(model)
    assert not nodes_on_codes(model.graph)


def pool_value(model: ir.Model) -> ir.Value:
    return model.graph.node("pool").outputs[0]


def test_new_names_avoid_those_that_are_taken():
    net = Network()
    x = net.input("x", (1, 4, 8, 8))
    y = net.conv(x, 4, "a_QuantizeLinear_Output")  # a tensor of the user's that has the name of codes
    z = net.conv(x, 4, "a")
    model = net.model(net.conv(net.maxpool(z, "pool"), 4, "b"), y)
    result, _ = propagated(model)
    assert result.graph.node("pool").inputs[0].name == "a_QuantizeLinear_Output_1"
    assert_same_numbers(model, result)


def test_node_order_in_the_file_changes_nothing():
    def build(swap: bool) -> Propagation:
        net = Network()
        x = net.input("x", (1, 4, 8, 8))
        stem = net.conv(x, 4, "stem")
        branches = ["a", "b"] if not swap else ["b", "a"]
        made = {name: net.conv(net.maxpool(stem, f"pool_{name}"), 4, name) for name in branches}
        return propagated(net.model(net.concat(made["a"], made["b"], name="cat")))[1]

    assert build(False) == build(True)


def test_fifteen_thousand_nodes_take_one_pass():
    net = Network()
    y = net.input("x", (1, 4, 8, 8))
    for _ in range(2500):
        y = net.op("Transpose", net.pair(y), perm=[0, 1, 3, 2])
        y = net.op("Relu", net.op("Reshape", y, net.constant(np.array([1, 4, 8, 8]))))
    model = net.model(y)
    calls = 0

    def may_move(node: ir.Node) -> bool:
        nonlocal calls
        calls += 1
        return commutes(node)

    record = propagate(model, may_move=may_move)
    assert record.moves == 5000
    assert calls < 3 * len(model.graph)
