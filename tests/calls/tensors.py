"""Stand-ins for tensors of other libraries, and small models and samples for the calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from tests.networks import Network
from tests.workspace import SIDE, small_convnet

SAMPLES = np.random.default_rng(5).normal(size=(24, 3, SIDE, SIDE)).astype(np.float32)


class Tensor:
    """What a tensor of PyTorch is to NumPy: something with `__array__`."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.values if dtype is None else self.values.astype(dtype)


class Capsule:
    """A tensor that speaks DLPack alone."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __dlpack__(self, **options: Any) -> object:
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.values.__dlpack_device__()


class Tracked(Tensor):
    """A tensor that requires grad."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")


class Elsewhere(Tensor):
    """A tensor on a device."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")


class Loader:
    """A data loader: batches of tensors with labels, and a length, but no items by number."""

    def __init__(self, values: np.ndarray, batch: int) -> None:
        self.values = values
        self.batch = batch

    def __len__(self) -> int:
        return (len(self.values) + self.batch - 1) // self.batch

    def __iter__(self):
        for start in range(0, len(self.values), self.batch):
            some = self.values[start : start + self.batch].copy()
            yield [Tensor(some), Tensor(np.zeros(len(some), np.int64))]


class DataSet:
    """A sequence that makes its items when they are asked for."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.asked.append(index)
        return Tensor(self.values[index]), 3


def convnet() -> onnx.ModelProto:
    return small_convnet().proto("scores")


def two_inputs() -> onnx.ModelProto:
    """Two inputs of different sizes."""
    net = Network()
    x, y = net.input("x", ("N", 16)), net.input("y", ("N", 8))
    joined = net.add(net.gemm(x, 16, 16, "first"), net.gemm(y, 8, 16, "second"), "total")
    return net.proto(net.gemm(joined, 16, 4, "scores", scale=None))
