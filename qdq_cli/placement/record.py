"""What a plan names: input slots, tensors that get Q/DQ, and constant operands."""

from __future__ import annotations

from dataclasses import dataclass, replace

from calibrators.qtypes import INT8, QTYPES
from calibrators.scheme import BLOCK_FORMATS, Block, PerChannel, Scheme


@dataclass(frozen=True)
class Use:
    """One input slot of one node.

    Args:
        node: Name of the node.
        slot: Which of its inputs, from 0 on.
    """

    node: str
    slot: int


@dataclass(frozen=True)
class TensorTarget:
    """A tensor that gets Q/DQ, with the uses it serves.

    Args:
        tensor: Name of the float tensor.
        uses: Input slots that read the DQ instead of the tensor.
        group: Index into `Plan.groups`.
        opens_run: True for the start of a run of commuting operators; only the pairs form writes it.
        is_output: Whether the graph output of this name gives what the DQ gives.
        type: Stored type, such as `int8`, or a format of blocks, such as `nvfp4`.
    """

    tensor: str
    uses: tuple[Use, ...]
    group: int
    opens_run: bool = False
    is_output: bool = False
    type: str = INT8.name


@dataclass(frozen=True)
class WeightTarget:
    """A constant operand of a weighted operator.

    Args:
        tensor: Name of the constant.
        use: The input slot that reads it.
        axis: Axis along which every slice has its own scale, or which is cut into blocks; None for one scale.
        type: Stored type, such as `int8`, or a format of blocks, such as `nvfp4`.
        block_size: Values along the axis that share a scale; None without blocks.
        symmetric: Whether 0.0 has the code in the middle.
        alone: Whether what it is multiplied with stays float.
        largest: Largest code, where a processor wants fewer bits than the type has; None for all of them.
    """

    tensor: str
    use: Use
    axis: int | None
    type: str = INT8.name
    block_size: int | None = None
    symmetric: bool = True
    alone: bool = False
    largest: int | None = None

    @property
    def scheme(self) -> Scheme:
        """How the operand is quantized."""
        if self.type in BLOCK_FORMATS and self.axis is not None:
            known = BLOCK_FORMATS[self.type]
            return Scheme(known.qtype, granularity=Block(self.axis, known.size), scales=known.scales)
        qtype = QTYPES[self.type]
        if self.largest is not None:
            qtype = replace(qtype, qmin=-self.largest, qmax=self.largest, steps=self.largest)
        if self.axis is None:
            return Scheme(qtype, self.symmetric)
        shared = PerChannel(self.axis) if self.block_size is None else Block(self.axis, self.block_size)
        return Scheme(qtype, self.symmetric, shared)
