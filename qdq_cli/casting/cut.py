"""Where the Casts go: which operators that both types can run are run in FP32, so that Casts are few.

A minimum cut. Operators that have to be FP32 stand on one side; every other operator would rather be on the other, and
pays a little to leave it; a tensor pays for one Cast where a reader is on another side than its maker. The cheapest
division is found exactly, and only around what has to be FP32: far from it no path ends.

Source: Greig, Porteous and Seheult 1989 (binary labels by minimum cut); Dinic 1970 (blocking flows).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

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
    """Capacities that are left, from the source to the sink."""

    def __init__(self) -> None:
        self.left: dict[Hashable, dict[Hashable, int]] = {_SOURCE: {}, _SINK: {}}

    def link(self, start: Hashable, end: Hashable, capacity: int) -> None:
        ahead, back = self.left.setdefault(start, {}), self.left.setdefault(end, {})
        ahead[end] = ahead.get(end, 0) + capacity
        back.setdefault(start, 0)

    def distances(self) -> dict[Hashable, int]:
        """Return how far each node is that can still be reached, up to the sink's distance."""
        found: dict[Hashable, int] = {_SOURCE: 0}
        front = deque([_SOURCE])
        while front and _SINK not in found:
            node = front.popleft()
            for end, capacity in self.left[node].items():
                if capacity and end not in found:
                    found[end] = found[node] + 1
                    front.append(end)
        return found

    def block(self, distances: Mapping[Hashable, int]) -> None:
        """Push flow along shortest paths until each of them is full somewhere."""
        ends = {node: list(self.left[node]) for node in distances}
        tried = dict.fromkeys(distances, 0)
        path: list[Hashable] = [_SOURCE]
        while path:
            node = path[-1]
            if node == _SINK:
                self._push(path)
                path = [_SOURCE]
            elif tried[node] == len(ends[node]):
                path.pop()
                if path:
                    tried[path[-1]] += 1
            elif self.left[node][end := ends[node][tried[node]]] and distances.get(end) == distances[node] + 1:
                path.append(end)
            else:
                tried[node] += 1

    def _push(self, path: Sequence[Hashable]) -> None:
        steps = list(itertools.pairwise(path))
        amount = min(self.left[start][end] for start, end in steps)
        for start, end in steps:
            self.left[start][end] -= amount
            self.left[end][start] += amount


def single_side(
    single: frozenset[Hashable], prices: Mapping[Hashable, int], tensors: Sequence[Tensor]
) -> frozenset[Hashable]:
    """Return the operators that run in FP32 so that Casts and operators in FP32 cost least in all.

    Args:
        single: Operators that have to.
        prices: Price of every other operator in FP32.
        tensors: The tensors between them.
    """
    network = _Network()
    for node in single:
        network.link(_SOURCE, node, FAR * 16)
    for node, price in prices.items():
        network.link(node, _SINK, price)
    for number, tensor in enumerate(tensors):
        _add(network, tensor, number)
    while _SINK in (distances := network.distances()):
        network.block(distances)
    return frozenset(node for node in prices if node in distances)


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
