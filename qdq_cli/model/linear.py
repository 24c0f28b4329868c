"""A weighted operator as what it is: every output element is a row of its input times a column of its weight.

`Linear` takes such rows out of an input array and lays the weight out as matrices, so that everything that searches
better weights works on plain matrix products, whatever the operator, its strides or its groups.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.model.nodes import constant_at, float_attribute, int_attribute, ints_attribute, is_op, string_attribute

Matrices = NDArray[np.floating]
"""Shape [groups, K, O]: one matrix a group, of K inputs and O outputs each."""


@dataclass(frozen=True)
class Linear:
    """How one weighted operator with a constant weight computes.

    Args:
        op_type: Conv, ConvTranspose, Gemm or MatMul.
        weight_shape: Of the weight as it is stored.
        groups: Groups of channels that do not see each other.
        transposed_data: A Gemm that reads its data transposed.
        transposed_weight: A Gemm whose weight is stored [O, K].
        gain: Factor behind the product (alpha of a Gemm).
        strides: One a spatial axis; empty for products of matrices.
        dilations: One a spatial axis.
        pads: Before all spatial axes, then behind them; None: as `auto_pad` says.
        auto_pad: Of a convolution.
    """

    op_type: str
    weight_shape: tuple[int, ...]
    groups: int = 1
    transposed_data: bool = False
    transposed_weight: bool = False
    gain: float = 1.0
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] | None = None
    auto_pad: str = "NOTSET"

    @property
    def channels(self) -> int:
        """Output channels of the operator."""
        if self.op_type == "Conv":
            return self.weight_shape[0]
        if self.op_type == "ConvTranspose":
            return self.weight_shape[1] * self.groups
        return self.weight_shape[0] if self.transposed_weight else self.weight_shape[1]

    @property
    def inputs(self) -> int:
        """K: elements of a row in one group."""
        if self.op_type == "Conv":
            return math.prod(self.weight_shape[1:])
        if self.op_type == "ConvTranspose":
            return self.weight_shape[0] // self.groups
        return self.weight_shape[1] if self.transposed_weight else self.weight_shape[0]

    @property
    def is_spatial(self) -> bool:
        """Whether it reads channels on axis 1 and pictures or sequences behind that."""
        return self.op_type in ("Conv", "ConvTranspose")

    def reach(self, axis: int) -> int:
        """How many places of a spatial axis of its input one result takes in."""
        if self.op_type != "Conv":
            return 1
        return (self.weight_shape[2 + axis] - 1) * self.dilations[axis] + 1

    def inside(self, spatial: tuple[int, ...]) -> Linear:
        """The same operator on a piece of its input, without padding; as it is where the piece is too small."""
        fits = all(size >= self.reach(axis) for axis, size in enumerate(spatial))
        return replace(self, pads=None, auto_pad="NOTSET") if fits else self

    def matrices(self, weight: NDArray[np.generic]) -> Matrices:
        """Lay a weight out as [groups, K, O]; float64."""
        array = np.asarray(weight, np.float64)
        if self.op_type == "Conv":
            return array.reshape(self.groups, self.channels // self.groups, -1).transpose(0, 2, 1)
        if self.op_type == "ConvTranspose":
            return array.reshape(self.groups, self.inputs, -1)
        return (array.T if self.transposed_weight else array)[None]

    def stored(self, matrices: Matrices, dtype: np.dtype[np.generic]) -> NDArray[np.floating]:
        """Lay matrices out as the weight is stored: the inverse of `matrices`."""
        if self.op_type == "Conv":
            array = matrices.transpose(0, 2, 1).reshape(self.weight_shape)
        elif self.op_type == "ConvTranspose":
            array = matrices.reshape(self.weight_shape)
        else:
            array = matrices[0].T if self.transposed_weight else matrices[0]
        found: NDArray[np.floating] = np.ascontiguousarray(array).astype(dtype)
        return found

    def column_scales(self, scale: NDArray[np.floating]) -> Matrices:
        """Spread the scales of a weight over its columns: [groups, 1, O].

        There is one in all, one an output channel, or, of a ConvTranspose with groups, one for the channels of equal
        place in every group.
        """
        columns = self.channels // self.groups
        if scale.size == 1:
            return np.full((self.groups, 1, columns * self._spread), float(scale.reshape(-1)[0]))
        by_group = np.broadcast_to(scale.astype(np.float64).reshape(-1, 1, columns), (self.groups, 1, columns))
        return np.repeat(by_group, self._spread, axis=2)

    def stored_scales(self, columns: Matrices, axis: int | None) -> NDArray[np.floating]:
        """The scales of a weight along its axis from those of its columns: the inverse of `column_scales`."""
        count = 1 if axis is None else self.weight_shape[axis]
        return columns.reshape(self.channels, self._spread)[:count, 0]

    @property
    def _spread(self) -> int:
        """Columns an output channel has: kernel elements of a ConvTranspose, which scatter, and 1 of all others."""
        return math.prod(self.weight_shape[2:]) if self.op_type == "ConvTranspose" else 1

    def rows(self, data: NDArray[np.generic], count: int, seed: int) -> NDArray[np.float32]:
        """Take rows out of an input of the operator, evenly spread by a seeded generator.

        Args:
            data: The operator's input.
            count: How many; all of them where there are fewer.
            seed: Equal seeds take rows at equal places.

        Returns:
            Shape [R, groups, K].
        """
        if self.op_type == "Conv":
            return self._patches(data, count, seed)
        if self.op_type == "ConvTranspose":
            flat = np.moveaxis(data, 1, -1).reshape(-1, data.shape[1])
        else:
            flat = (data.T if self.transposed_data else data).reshape(-1, self.inputs)
        chosen = flat[_places(len(flat), count, seed)]
        return chosen.reshape(len(chosen), self.groups, -1).astype(np.float32)

    def _patches(self, data: NDArray[np.generic], count: int, seed: int) -> NDArray[np.float32]:
        kernel, spatial = self.weight_shape[2:], data.shape[2:]
        before, behind, outputs = self._extents(spatial)
        padded = np.pad(data, [(0, 0), (0, 0), *zip(before, behind, strict=True)])
        channels_last = np.moveaxis(padded, 1, -1)
        places = _places(len(data) * math.prod(outputs), count, seed)
        sample, *starts = np.unravel_index(places, (len(data), *outputs))
        columns = []
        for offset in itertools.product(*(range(size) for size in kernel)):
            at = [
                start * stride + step * dilation
                for start, stride, step, dilation in zip(starts, self.strides, offset, self.dilations, strict=True)
            ]
            columns.append(channels_last[(sample, *at)])
        rows = np.stack(columns, axis=-1)  # [R, C, kernel elements]
        return rows.reshape(len(places), self.groups, -1).astype(np.float32)

    def _extents(self, spatial: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
        """Padding before and behind every spatial axis, and the output's size."""
        before, behind, outputs = [], [], []
        for axis, size in enumerate(spatial):
            reach = self.reach(axis)
            first, last = self._padding(axis, size, reach)
            before.append(first)
            behind.append(last)
            outputs.append((size + first + last - reach) // self.strides[axis] + 1)
        return before, behind, outputs

    def _padding(self, axis: int, size: int, reach: int) -> tuple[int, int]:
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            stride = self.strides[axis]
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            small, large = total // 2, total - total // 2
            return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)
        if self.pads is None or self.auto_pad == "VALID":
            return 0, 0
        return self.pads[axis], self.pads[axis + len(self.strides)]


def _places(total: int, count: int, seed: int) -> NDArray[np.intp]:
    if total <= count:
        return np.arange(total)
    chosen: NDArray[np.intp] = np.sort(np.random.default_rng(seed).choice(total, count, replace=False))
    return chosen


def linear_of(node: ir.Node) -> Linear | None:
    """Describe a weighted operator whose data is input 0 and whose weight is a constant input 1.

    Returns:
        None for other operators, for products of two activations, and for stacks of matrices.
    """
    weight = constant_at(node, 1)
    if weight is None or not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    if is_op(node, "Gemm"):
        return Linear(
            "Gemm",
            weight.shape,
            transposed_data=bool(int_attribute(node, "transA", 0)),
            transposed_weight=bool(int_attribute(node, "transB", 0)),
            gain=float_attribute(node, "alpha", 1.0),
        )
    if is_op(node, "MatMul"):
        return Linear("MatMul", weight.shape) if weight.ndim == 2 else None
    axes = weight.ndim - 2
    return Linear(
        node.op_type,
        weight.shape,
        groups=int_attribute(node, "group", 1),
        strides=ints_attribute(node, "strides") or (1,) * axes,
        dilations=ints_attribute(node, "dilations") or (1,) * axes,
        pads=ints_attribute(node, "pads"),
        auto_pad=string_attribute(node, "auto_pad", "NOTSET"),
    )
