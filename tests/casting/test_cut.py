"""Where Casts go: the minimum cut against trying every division, and laws of it."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from qdq_cli.casting.cut import CAST, KEEPING, Tensor, single_side

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


def test_nothing_is_kept_where_nothing_has_to_be():
    assert single_side(frozenset(), {1: KEEPING, 2: KEEPING}, [Tensor(1, (2,))]) == frozenset()
