"""Where the Casts go: which operators that both types can run are run in FP32, so that Casts are few.

A minimum cut. Operators that have to be FP32 stand on one side; every other operator would rather be on the other, and
pays a little to leave it; a tensor pays for one Cast where a reader is on another side than its maker. The cheapest
division is found exactly, and only around what has to be FP32: far from it no path ends.

Source: Greig, Porteous and Seheult 1989 (binary labels by minimum cut); the flow is found as a linear program.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdq_cli.solving.programs import Sums, cheapest_amounts

CAST = 4
"""Price of a Cast, which reads and writes a tensor: 6 bytes an element."""

KEEPING = 1
"""Price of an operator in FP32 that could do without: 4 bytes an element more, mostly fused with its neighbours'."""

FAR = 1 << 20
"""Price of a weighted operator in FP32: its arithmetic is what the 16-bit type is for."""


_SOURCE: Hashable = "single"
_SINK: Hashable = "low"


@dataclass(frozen=True)
class Tensor:
    """A tensor with a type of its own.

    Args:
        maker: The operator that makes it; None where it is FP32 whoever reads it.
        readers: The operators that read it.
        read_single: Whether it is read as FP32 besides: a graph output, or a body reads it.
    """

    maker: Hashable | None
    readers: tuple[Hashable, ...]
    read_single: bool = False


class _Network:
    """Links between the source and the sink, each with its capacity."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {_SOURCE: 0, _SINK: 1}
        self._links: list[tuple[int, int, int]] = []

    def link(self, start: Hashable, end: Hashable, capacity: int) -> None:
        first, last = (self._numbers.setdefault(node, len(self._numbers)) for node in (start, end))
        self._links.append((first, last, capacity))

    def source_side(self) -> frozenset[Hashable]:
        """Return the nodes on the source's side of the cheapest cut, of several such cuts the smallest side."""
        size = len(self._numbers)
        starts, ends, capacities = np.array(self._links, np.int64).reshape(-1, 3).T
        flow = _greatest_flow(starts, ends, capacities, size)
        onward: list[list[int]] = [[] for _ in range(size)]
        for first, last in zip(starts[flow < capacities].tolist(), ends[flow < capacities].tolist(), strict=True):
            onward[first].append(last)
        for first, last in zip(starts[flow > 0].tolist(), ends[flow > 0].tolist(), strict=True):
            onward[last].append(first)
        reached = _reached(onward)
        return frozenset(node for node, number in self._numbers.items() if number in reached)


def _greatest_flow(
    starts: NDArray[np.int64], ends: NDArray[np.int64], capacities: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Return what flows through each link when as much as can flows from node 0 to node 1.

    As a linear program: as much flows into each other node as out of it. Capacities are whole numbers, and so is the
    flow that the simplex method finds: the matrix is totally unimodular (Hoffman and Kruskal 1956).
    """
    links = np.arange(starts.size)
    rows, columns = np.concatenate([starts, ends]) - 2, np.concatenate([links, links])
    factors = np.concatenate([-np.ones(links.size), np.ones(links.size)])
    inside = rows >= 0
    balance = np.zeros(size - 2)
    sums = Sums(rows[inside], columns[inside], factors[inside], balance, balance)
    gain = (starts == 0).astype(np.float64) - (ends == 0)
    flow = cheapest_amounts(-gain, capacities.astype(np.float64), sums)
    if flow is None:
        raise AssertionError("no flow at all satisfies the program of a flow")
    return np.rint(flow).astype(np.int64)


def _reached(onward: Sequence[Sequence[int]]) -> frozenset[int]:
    """Return the nodes that paths from node 0 come to."""
    reached, waiting = {0}, [0]
    while waiting:
        fresh = [node for node in onward[waiting.pop()] if node not in reached]
        reached.update(fresh)
        waiting += fresh
    return frozenset(reached)


def single_side(
    single: frozenset[Hashable], prices: Mapping[Hashable, int], tensors: Sequence[Tensor]
) -> frozenset[Hashable]:
    """Return the operators that run in FP32 so that Casts and operators in FP32 cost least in all.

    Args:
        single: Operators that have to.
        prices: Price of every other operator in FP32.
        tensors: The tensors between them.
    """
    if not single and _pays_nowhere(prices, tensors):
        return frozenset()
    network = _Network()
    for node in single:
        network.link(_SOURCE, node, FAR * 16)
    for node, price in prices.items():
        network.link(node, _SINK, price)
    for number, tensor in enumerate(tensors):
        _add(network, tensor, number)
    return network.source_side() & prices.keys()


def _pays_nowhere(prices: Mapping[Hashable, int], tensors: Sequence[Tensor]) -> bool:
    """Say that no operators in FP32 save more than they cost, so far as a look at what hangs together tells.

    Only Casts at tensors that are FP32 anyway can be saved. Operators around one such tensor save one Cast, at a price
    each; unless they are all that hang together there, another Cast stands where they end. A flow takes longer than
    everything else about an ordinary network, which has nothing to keep.
    """
    regions = _Regions()
    for tensor in tensors:
        around = [node for node in (tensor.maker, *tensor.readers) if node is not None]
        cheap = [node for node in around if prices.get(node, FAR) < CAST]
        regions.join(cheap, ends=len(cheap) < len(around), borders=int(tensor.maker is None) + int(tensor.read_single))
    return regions.save_nothing()


class _Regions:
    """Operators of a low price that hang together by the tensors between them."""

    def __init__(self) -> None:
        self._parents: dict[Hashable, Hashable] = {}
        self._sizes: dict[Hashable, int] = {}
        self._borders: dict[Hashable, int] = {}
        self._closed: dict[Hashable, bool] = {}

    def join(self, nodes: Sequence[Hashable], *, ends: bool, borders: int) -> None:
        """Note a tensor: the operators around it, whether others are, and how many Casts at it might be saved."""
        roots = list(dict.fromkeys(map(self._root, nodes)))
        for other in roots[1:]:
            self._parents[other] = roots[0]
            self._sizes[roots[0]] += self._sizes.pop(other)
            self._borders[roots[0]] += self._borders.pop(other)
            self._closed[roots[0]] |= self._closed.pop(other)
        if roots:
            self._borders[roots[0]] += borders
            self._closed[roots[0]] |= ends

    def save_nothing(self) -> bool:
        """Say whether every region has one border at most, and more to pay for it than a Cast."""
        return all(
            number == 0 or (number == 1 and (self._closed[root] or self._sizes[root] >= CAST))
            for root, number in self._borders.items()
        )

    def _root(self, node: Hashable) -> Hashable:
        if node not in self._parents:
            self._parents[node], self._sizes[node], self._borders[node], self._closed[node] = node, 1, 0, False
        while (parent := self._parents[node]) != node:
            self._parents[node] = self._parents[parent]
            node = parent
        return node


def _add(network: _Network, tensor: Tensor, number: int) -> None:
    """Add what a tensor pays: a Cast down where a reader is low, a Cast up where one is FP32."""
    maker = _SOURCE if tensor.maker is None else tensor.maker
    down, up = (number, "down"), (number, "up")
    network.link(maker, down, CAST)
    for reader in tensor.readers:
        network.link(down, reader, FAR * 16)
    if tensor.maker is None:
        return
    network.link(up, tensor.maker, CAST)
    for reader in (*tensor.readers, *((_SOURCE,) if tensor.read_single else ())):
        network.link(reader, up, FAR * 16)
