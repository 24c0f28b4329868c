"""Where Casts go: the minimum cut against trying every division, and laws of it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdq_cli.casting.cut import CAST, FAR, KEEPING, Tensor, single_side

NODES = st.integers(0, 6)
TENSORS = st.lists(
    st.builds(Tensor, st.one_of(st.none(), NODES), st.lists(NODES, max_size=3, unique=True).map(tuple), st.booleans()),
    max_size=7,
)


def cost(single: frozenset[int], chosen: frozenset[int], tensors: list[Tensor]) -> int:
    """What a division costs: a Cast for every tensor and direction, and what was kept although it need not be."""
    both = single | chosen
    total = KEEPING * len(chosen - single)
    for tensor in tensors:
        made_single = tensor.maker is None or tensor.maker in both
        total += CAST * (made_single and any(reader not in both for reader in tensor.readers))
        total += CAST * (not made_single and (tensor.read_single or any(reader in both for reader in tensor.readers)))
    return total


@settings(max_examples=200, deadline=None)
@given(st.sets(NODES, max_size=3).map(frozenset), TENSORS)
def test_no_division_is_cheaper(single: frozenset[int], tensors: list[Tensor]):
    free = [node for node in range(7) if node not in single]
    chosen = single_side(single, dict.fromkeys(free, KEEPING), tensors)
    assert chosen.isdisjoint(single)
    best = min(
        cost(single, frozenset(some), tensors)
        for size in range(len(free) + 1)
        for some in itertools.combinations(free, size)
    )
    assert cost(single, frozenset(chosen), tensors) == best


@settings(max_examples=300, deadline=None)
@given(TENSORS, st.sets(NODES).map(frozenset))
def test_no_division_is_cheaper_where_nothing_has_to_be_single(tensors: list[Tensor], heavy: frozenset[int]):
    """Mostly found without a flow."""
    free = [node for node in range(7) if node not in heavy]
    prices = dict.fromkeys(free, KEEPING) | dict.fromkeys(heavy, FAR)
    chosen = single_side(frozenset(), prices, tensors)
    assert chosen.isdisjoint(heavy)
    divisions = (frozenset(some) for size in range(len(free) + 1) for some in itertools.combinations(free, size))
    best = min(cost(frozenset(), division, tensors) for division in divisions)
    assert cost(frozenset(), frozenset(chosen), tensors) == best


def test_an_ordinary_network_needs_no_flow(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qdq_cli.casting.cut._Network", None)
    prices = {"scale": KEEPING, "conv": FAR, "relu": KEEPING, "gemm": FAR, "softmax": KEEPING}
    tensors = [
        Tensor(None, ("scale",)),
        Tensor("scale", ("conv",)),
        Tensor("conv", ("relu",)),
        Tensor("relu", ("gemm",)),
    ]
    ending = [Tensor("gemm", ("softmax",)), Tensor("softmax", (), read_single=True)]
    assert single_side(frozenset(), prices, [*tensors, *ending]) == frozenset()


def test_nothing_is_kept_where_nothing_has_to_be():
    assert single_side(frozenset(), {1: KEEPING, 2: KEEPING}, [Tensor(1, (2,))]) == frozenset()
