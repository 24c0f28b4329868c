"""An Einsum that multiplies operands counts as the product it is: listed, costed, in float."""

from __future__ import annotations

import numpy as np
import pytest

from qdq_cli.targets.tensorrt.cost import cost_of
from qdq_cli.targets.tensorrt.simulate import simulate
from tests.networks import Network


@pytest.mark.parametrize("spelling", ["MatMul", "Einsum"])
def test_a_projection_costs_the_same_in_both_spellings(spelling):
    net = Network()
    x = net.input("x", (2, 5, 8))
    w = net.constant(net.weight(8, 16), "w")
    y = (
        net.op("MatMul", x, w, name="p")
        if spelling == "MatMul"
        else net.op("Einsum", x, w, name="p", equation="btk,kn->btn")
    )
    model = net.model(net.op("Softmax", y))
    simulation = simulate(model)
    (layer,) = simulation.weighted
    assert (layer.name, layer.quantized, simulation.weighted_total, simulation.weighted_quantized) == ("p", False, 1, 0)
    assert cost_of(model, simulation).macs == 2 * 5 * 8 * 16
    assert spelling in layer.because[0] or spelling == "MatMul"


def test_an_einsum_of_one_operand_is_no_product():
    net = Network()
    model = net.model(net.op("Einsum", net.input("x", (2, 5)), equation="ij->ji"))
    assert simulate(model).weighted_total == 0


def test_a_quantized_weight_before_it_is_told_to_stand_alone():
    net = Network()
    x = net.input("x", (2, 5, 8))
    w = net.quantized_weight(net.weight(8, 16), None, "w")
    model = net.model(net.op("Einsum", net.pair(x), w, name="p", equation="btk,kn->btn"))
    simulation = simulate(model)
    assert simulation.weighted_quantized == 0
    assert {found.op_type for found in simulation.standalone} == {"QuantizeLinear", "DequantizeLinear"}
    assert np.isfinite(cost_of(model, simulation).macs)
