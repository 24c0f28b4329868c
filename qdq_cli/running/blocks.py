"""ONNX Runtime's blocked layout: channels in blocks of 8 or 16, padded up to whole blocks with values that count not.

A tensor of shape [N, C, ...] lies in memory as [N, blocks, ..., width], and calls itself [N, blocks * width, ...].
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from qdq_cli.process.errors import ModelError
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.running.session import SessionOptions, Source, make_session


@dataclass(frozen=True)
class Blocks:
    """How the channels of a tensor lie.

    Args:
        channels: How many there are.
        width: Channels of a block.
    """

    channels: int
    width: int

    @property
    def padded(self) -> int:
        """Channels with those that only fill the last block."""
        return -(-self.channels // self.width) * self.width

    @property
    def is_padded(self) -> bool:
        """Whether there are such."""
        return self.padded != self.channels

    def values(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield all values of a blocked tensor but for the padding, whatever that holds, as contiguous arrays.

        Args:
            array: The tensor as it calls itself, [N, blocks * width, ...].
        """
        if not self.is_padded or not array.size:
            yield array
            return
        blocks = array.reshape(array.shape[0], self.padded // self.width, -1, self.width)
        for sample in blocks:
            yield sample[:-1]
            yield np.ascontiguousarray(sample[-1, :, : self.channels % self.width])


@dataclass(frozen=True)
class Laid:
    """A tensor as it lies in memory, of which parts can be read in plain order.

    Args:
        array: The tensor; one in blocks as it calls itself, [N, blocks * width, ...].
        blocks: How its channels lie; None for plain order.
    """

    array: NDArray[Any]
    blocks: Blocks | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in plain order."""
        shape = self.array.shape
        return shape if self.blocks is None else (shape[0], self.blocks.channels, *shape[2:])

    def part(self, row: int, window: tuple[slice, ...] = ()) -> NDArray[Any]:
        """Return a window of one row, [1, ...], in plain order.

        Args:
            row: Its place on axis 0.
            window: What to take on each axis from axis 2 on; nothing takes all.
        """
        if self.blocks is None:
            return self.array[(slice(row, row + 1), *((slice(None),) * bool(window)), *window)]
        width, spatial = self.blocks.width, self.array.shape[2:]
        lying = self.array[row].reshape(-1, *spatial, width)[(slice(None), *window)]
        plain: NDArray[Any] = np.moveaxis(lying, -1, 1).reshape(1, self.blocks.padded, *lying.shape[1:-1])
        return plain[:, : self.blocks.channels]


@functools.cache
def block_width() -> int:
    """Channels of a block on this processor, as a convolution to one channel shows; 0 where there are no blocks."""
    with scratch_folder() as folder:
        kept = folder / "probe.onnx"
        try:
            make_session(_probe(), SessionOptions(threads=1, optimize=True, keep=kept))
            model = onnx.load_model(kept, load_external_data=False)
        except ModelError:
            return 0
    widths = [
        weight.dims[0]
        for node in model.graph.node
        if node.op_type == "Conv" and node.domain == "com.microsoft.nchwc"
        for weight in model.graph.initializer
        if weight.name == node.input[1]
    ]
    return int(widths[0]) if widths else 0


def _probe() -> Source:
    """A convolution from three channels to one."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size, 4, 4])
        for name, size in (("x", 3), ("y", 1))
    ]
    weight = numpy_helper.from_array(np.ones((1, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(nodes, "probe", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Source(model.SerializeToString())
