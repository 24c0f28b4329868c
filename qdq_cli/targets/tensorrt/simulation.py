"""What the simulator predicts, as frozen records (rules, section 4.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class ElementType(Enum):
    """Type of a tensor between kernels; "float" is FP32 or FP16, which the static view does not tell apart (4.8)."""

    INT8 = "INT8"
    FLOAT = "float"


class Reason(Enum):
    """Why a Q or DQ is a kernel of its own (rules, section 4.6)."""

    BOUNDARY_INPUT = "BOUNDARY_INPUT"
    BOUNDARY_OUTPUT = "BOUNDARY_OUTPUT"
    MIXED_FANOUT = "MIXED_FANOUT"
    SCALE_MISMATCH = "SCALE_MISMATCH"
    RESIDUAL_FLOAT = "RESIDUAL_FLOAT"
    RESIDUAL_NOT_REQUANTIZED = "RESIDUAL_NOT_REQUANTIZED"
    FLOAT_PRODUCER = "FLOAT_PRODUCER"
    FLOAT_CONSUMER = "FLOAT_CONSUMER"
    NONCOMMUTING = "NONCOMMUTING"
    DEPTHWISE_ACT = "DEPTHWISE_ACT"
    DECONV = "DECONV"

    @property
    def is_boundary(self) -> bool:
        """Unavoidable unless the network itself takes or returns INT8 (P16)."""
        return self in (Reason.BOUNDARY_INPUT, Reason.BOUNDARY_OUTPUT)


class LayerKind(Enum):
    """What a predicted layer is made of."""

    WEIGHTED = "weighted"
    POOLING = "pooling"
    POINTWISE = "pointwise"
    COMMUTING = "commuting"
    OTHER = "other"


@dataclass(frozen=True)
class Operand:
    """One activation that a layer reads.

    Args:
        tensor: Its name in the ONNX model.
        type: Type it arrives in.
    """

    tensor: str
    type: ElementType


@dataclass(frozen=True)
class Layer:
    """One predicted kernel.

    Args:
        name: Name of its leading ONNX node.
        op_type: Operator of that node.
        kind: What it is made of.
        nodes: Names of all ONNX nodes in it, Q and DQ left out, in graph order.
        inputs: The activations it reads.
        outputs: Names of the tensors it writes; several for a pointwise group or an operator with several results.
        output_type: Type it writes them in.
        quantized: Whether the kernel computes on INT8 operands.
        absorbed: Names of the Q and DQ nodes that are part of it, those of its weight included.
        because: The rules that led there, in order, as sentences.
        uncertain: What public sources leave open about this prediction; "" where they agree (rules, section 9).
    """

    name: str
    op_type: str
    kind: LayerKind
    nodes: tuple[str, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[str, ...]
    output_type: ElementType
    quantized: bool
    absorbed: tuple[str, ...] = ()
    because: tuple[str, ...] = ()
    uncertain: str = ""


@dataclass(frozen=True)
class Standalone:
    """A Q or DQ that no kernel absorbs: a kernel of its own.

    Args:
        op_type: QuantizeLinear or DequantizeLinear.
        nodes: Names of the ONNX nodes it comes from; several where equal ones merged.
        tensor: The float tensor it quantizes, or dequantizes to.
        consumer: For a DQ: the node that reads it, or "" for a graph output.
        reason: Why it stays.
        because: The reason as a sentence that names the nodes involved.
        remedy: What would remove it.
        uncertain: What public sources leave open about it; "" where they agree.
    """

    op_type: str
    nodes: tuple[str, ...]
    tensor: str
    consumer: str
    reason: Reason
    because: str
    remedy: str
    uncertain: str = ""


@dataclass(frozen=True)
class Simulation:
    """What TensorRT is predicted to build from a model.

    Args:
        layers: Predicted kernels in graph order, stand-alone Q/DQ left out.
        standalone: Q and DQ that stay kernels of their own.
        weighted_elsewhere: Weighted operators in no layer of their own: in the bodies of If, Loop and Scan, which stay
            float, and those that compute from shapes and constants alone.
    """

    layers: tuple[Layer, ...]
    standalone: tuple[Standalone, ...]
    weighted_elsewhere: int = 0

    @property
    def weighted(self) -> tuple[Layer, ...]:
        """The layers that hold a weighted operator."""
        return tuple(layer for layer in self.layers if layer.kind is LayerKind.WEIGHTED)

    @property
    def weighted_total(self) -> int:
        """Weighted operators of the model, those in no layer included."""
        return len(self.weighted) + self.weighted_elsewhere

    @property
    def weighted_quantized(self) -> int:
        """Weighted operators that run on INT8 operands."""
        return sum(layer.quantized for layer in self.weighted)

    @property
    def quantized_to_quantized(self) -> int:
        """Weighted operators that read and write INT8."""
        return sum(layer.quantized and layer.output_type is ElementType.INT8 for layer in self.weighted)

    @property
    def conversions(self) -> int:
        """INT8 weighted operators that write float: conversions that cost nothing, but double or quadruple traffic."""
        return self.weighted_quantized - self.quantized_to_quantized

    @property
    def removable(self) -> tuple[Standalone, ...]:
        """Stand-alone kernels inside the network; the target is none."""
        return tuple(found for found in self.standalone if not found.reason.is_boundary)

    @property
    def boundaries(self) -> tuple[Standalone, ...]:
        """Stand-alone kernels at graph inputs and outputs."""
        return tuple(found for found in self.standalone if found.reason.is_boundary)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Reason code -> number of stand-alone kernels, codes in the order of `Reason`."""
        counted = Counter(found.reason for found in self.standalone)
        return {reason.value: counted[reason] for reason in Reason if counted[reason]}
