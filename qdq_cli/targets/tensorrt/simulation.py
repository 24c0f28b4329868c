"""What the simulator predicts, as frozen records (rules, section 4.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from qdq_cli.targets.tensorrt.precision import ElementType, Precision


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
        type: Type it arrives in; "float" for FP32, FP16 and BF16.
        precision: The same with floats told apart.
    """

    tensor: str
    type: ElementType
    precision: Precision = Precision.FP32


@dataclass(frozen=True)
class Stored:
    """The constant weight of a layer, as the engine stores it.

    Args:
        precision: Its type.
        size_bytes: Its size; None where a dimension is unknown.
        alone: Whether it is stored as codes for an operator that computes in float.
        made_float: Whether a kernel of its own makes it float first.
    """

    precision: Precision
    size_bytes: int | None
    alone: bool = False
    made_float: bool = False


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
        output_type: Type it writes them in; "float" for FP32, FP16 and BF16.
        quantized: Whether the kernel computes on codes: INT8, FP8, MXFP8 or NVFP4.
        absorbed: Names of the Q and DQ nodes that are part of it, those of its weight included.
        because: The rules that led there, in order, as sentences.
        uncertain: What public sources leave open about this prediction; "" where they agree (rules, section 9).
        precision: Type it computes in.
        output_precision: Type it writes in, with floats told apart.
        weight: For a weighted operator with a constant weight: how that is stored.
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
    precision: Precision = Precision.FP32
    output_precision: Precision = Precision.FP32
    weight: Stored | None = None


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
        precision: Type of the codes.
        float_precision: Type of the floats.
    """

    op_type: str
    nodes: tuple[str, ...]
    tensor: str
    consumer: str
    reason: Reason
    because: str
    remedy: str
    uncertain: str = ""
    precision: Precision = Precision.INT8
    float_precision: Precision = Precision.FP32


@dataclass(frozen=True)
class Simulation:
    """What TensorRT is predicted to build from a model.

    Args:
        layers: Predicted kernels in graph order, stand-alone Q/DQ left out.
        standalone: Q and DQ that stay kernels of their own.
        weighted_elsewhere: Weighted operators in no layer of their own: in the bodies of other operators than If, Loop
            and Scan, which stay float, and those that compute from shapes and constants alone.
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
        """Weighted operators that run on codes: INT8, FP8, MXFP8 or NVFP4."""
        return sum(layer.quantized for layer in self.weighted)

    @property
    def quantized_to_quantized(self) -> int:
        """Weighted operators that read and write codes."""
        return sum(layer.quantized and layer.output_type is not ElementType.FLOAT for layer in self.weighted)

    @property
    def conversions(self) -> int:
        """Quantized weighted operators that write float: conversions that cost nothing, but multiply traffic."""
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
