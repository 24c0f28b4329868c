"""Shares of the work: from shapes alone, whatever the batch."""

from __future__ import annotations

import pytest

from qdq_cli.placement.operators import is_weighted
from qdq_cli.placement.shares import Shares, shares_of
from qdq_cli.preparing.prepare import prepare
from tests.networks import Network


def shares(net: Network, *outputs: str) -> tuple[dict[str, float], str]:
    model = prepare(net.model(*outputs)).model
    found: Shares = shares_of(node for node in model.graph if is_weighted(node))
    return {node.name: percent for node, percent in found.percent.items()}, found.unit


@pytest.mark.parametrize("batch", [1, 4, "N"])
def test_convolutions_and_products_count_their_macs(batch):
    net = Network()
    x = net.conv(net.input("x", (batch, 8, 4, 4)), 16, "conv", kernel=1, scale=None)  # 16 places of 8 x 16
    up = net.op("ConvTranspose", x, net.constant(net.weight(16, 4, 2, 2)), name="up", strides=[2, 2])  # 16 of 16 x 16
    flat = net.op("Flatten", up)
    net.gemm(flat, 4 * 64, 8, "gemm", scale=None)  # 256 x 8
    percent, unit = shares(net, "gemm")
    total = 2048 + 4096 + 2048
    assert percent == pytest.approx({"conv": 204800 / total, "up": 409600 / total, "gemm": 204800 / total})
    assert unit == "MACs"


def test_where_the_picture_is_open_the_weights_count():
    net = Network()
    x = net.conv(net.input("x", ("N", 8, "H", "W")), 16, "one", kernel=1, scale=None)
    net.conv(x, 16, "two", kernel=3, scale=None)
    percent, unit = shares(net, "two")
    assert percent == pytest.approx({"one": 100 * 128 / (128 + 2304), "two": 100 * 2304 / (128 + 2304)})
    assert unit == "weights"
