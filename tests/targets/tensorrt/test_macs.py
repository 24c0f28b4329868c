"""Multiply-accumulates, counted by hand for every operator that forms products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdq_cli.targets.tensorrt.cost import cost_of
from qdq_cli.targets.tensorrt.simulate import simulate
from tests.networks import Network


def macs(op: str, shapes: list[tuple[int | str, ...]], weight: tuple[int, ...] = (), **attributes: Any) -> int | None:
    net = Network()
    reads = [net.input(f"x{number}", shape) for number, shape in enumerate(shapes)]
    operands = [net.constant(np.ones(weight, np.float32))] if weight else []
    model = net.model(net.op(op, *reads, *operands, name="y", **attributes))
    cost = cost_of(model, simulate(model))
    assert cost.quantized_macs == 0
    assert cost.macs == sum(layer.macs or 0 for layer in cost.layers)
    return cost.layers[0].macs


CONVOLUTIONS = [
    ("Conv", (1, 8, 10), (16, 8, 3), {}, 16 * 8 * 8 * 3),
    ("Conv", (2, 8, 10, 10), (16, 8, 3, 3), {"strides": [2, 2], "pads": [1] * 4}, 2 * 16 * 5 * 5 * 8 * 9),
    ("Conv", (1, 4, 6, 6, 6), (2, 4, 3, 3, 3), {}, 2 * 4**3 * 4 * 27),
    ("Conv", (1, 8, 10, 10), (16, 2, 3, 3), {"group": 4}, 16 * 64 * 2 * 9),
    ("Conv", (1, 8, 10, 10), (8, 1, 3, 3), {"group": 8, "dilations": [2, 2]}, 8 * 36 * 9),
    ("ConvTranspose", (1, 8, 5, 5), (8, 16, 2, 2), {"strides": [2, 2]}, 8 * 25 * 16 * 4),
    ("ConvTranspose", (1, 8, 5), (8, 2, 4), {"group": 4, "strides": [2]}, 8 * 5 * 2 * 4),
]


@pytest.mark.parametrize(("op", "shape", "weight", "attributes", "expected"), CONVOLUTIONS)
def test_convolutions(op, shape, weight, attributes, expected):
    assert macs(op, [shape], weight, **attributes) == expected


PRODUCTS = [
    ("Gemm", [(5, 7)], (7, 3), {}, 5 * 7 * 3),
    ("Gemm", [(7, 5)], (3, 7), {"transA": 1, "transB": 1}, 5 * 7 * 3),
    ("MatMul", [(2, 5, 7)], (7, 3), {}, 2 * 5 * 7 * 3),
    ("MatMul", [(2, 4, 5, 7), (2, 4, 7, 3)], (), {}, 8 * 5 * 7 * 3),
    ("MatMul", [(7,)], (7, 3), {}, 7 * 3),
    ("Einsum", [(2, 5, 7)], (7, 3), {"equation": "bij, jk -> bik"}, 2 * 5 * 7 * 3),
    ("Einsum", [(2, 5, 4, 6), (2, 9, 4, 6)], (), {"equation": "bqhd,bkhd->bhqk"}, 2 * 5 * 9 * 4 * 6),
    ("Einsum", [(2, 4, 5, 7), (1, 4, 7, 3)], (), {"equation": "...ij,...jk->...ik"}, 8 * 5 * 7 * 3),
    ("Einsum", [(5, 7), (7, 3), (3, 2)], (), {"equation": "ab,bc,cd->ad"}, 2 * 5 * 7 * 3 * 2),
    ("Einsum", [(5, 7)], (), {"equation": "ij->ji"}, 0),
]


@pytest.mark.parametrize(("op", "shapes", "weight", "attributes", "expected"), PRODUCTS)
def test_products(op, shapes, weight, attributes, expected):
    assert macs(op, shapes, weight, **attributes) == expected


@pytest.mark.parametrize(("op", "attributes"), [("MatMul", {}), ("Einsum", {"equation": "ij,jk->ik"})])
def test_an_open_dimension_leaves_them_unknown(op, attributes):
    assert macs(op, [("N", 7)], (7, 3), **attributes) is None
