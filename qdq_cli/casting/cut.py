"""Where the Casts go: which operators that both types can run are run in FP32, so that Casts are few.

A minimum cut. Operators that have to be FP32 stand on one side; every other operator would rather be on the other, and
pays a little to leave it; a tensor pays for one Cast where a reader is on another side than its maker. The cheapest
division is found exactly, and only around what has to be FP32: far from it no path ends.

Source: Greig, Porteous and Seheult 1989 (binary labels by minimum cut); Edmonds and Karp 1972 (shortest augmenting
paths).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

CAST = 4
"""Price of a Cast, which reads and writes a tensor: 6 bytes an element."""

KEEPING = 1
"""Price of an operator in FP32 that could do without: 4 bytes an element more, mostly fused with its neighbours'."""

FAR = 1 << 20
"""Price of a weighted operator in FP32: its arithmetic is what the 16-bit type is for."""


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
    """Capacities, and what flows."""

    def __init__(self) -> None:
        self.left: dict[Hashable, dict[Hashable, int]] = {}

    def link(self, start: Hashable, end: Hashable, capacity: int) -> None:
        ahead, back = self.left.setdefault(start, {}), self.left.setdefault(end, {})
        ahead[end] = ahead.get(end, 0) + capacity
        back.setdefault(start, 0)

    def reached(self, source: Hashable, sink: Hashable) -> dict[Hashable, Hashable]:
        """Return where each node that can still be reached was reached from; ends early at the sink."""
        before: dict[Hashable, Hashable] = {source: source}
        front = deque([source])
        while front:
            node = front.popleft()
            for end, capacity in self.left[node].items():
                if capacity and end not in before:
                    before[end] = node
                    if end == sink:
                        return before
                    front.append(end)
        return before

    def push(self, before: Mapping[Hashable, Hashable], sink: Hashable) -> None:
        path, node = [], sink
        while before[node] != node:
            path.append((before[node], node))
            node = before[node]
        amount = min(self.left[start][end] for start, end in path)
        for start, end in path:
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
    source, sink = ("single",), ("low",)
    network.left[source], network.left[sink] = {}, {}
    for node in single:
        network.link(source, node, FAR * 16)
    for node, price in prices.items():
        network.link(node, sink, price)
    for number, tensor in enumerate(tensors):
        _add(network, tensor, (number,), source)
    while sink in (before := network.reached(source, sink)):
        network.push(before, sink)
    return frozenset(node for node in prices if node in before)


def _add(network: _Network, tensor: Tensor, key: tuple[int], source: Hashable) -> None:
    """Add what a tensor pays: a Cast down where a reader is low, a Cast up where one is FP32."""
    maker = source if tensor.maker is None else tensor.maker
    down, up = (*key, "down"), (*key, "up")
    network.link(maker, down, CAST)
    for reader in tensor.readers:
        network.link(down, reader, FAR * 16)
    if tensor.maker is None:
        return
    network.link(up, tensor.maker, CAST)
    for reader in (*tensor.readers, *((source,) if tensor.read_single else ())):
        network.link(reader, up, FAR * 16)
