"""What a comparison found, as frozen records; `Comparison` is the `--json` document of `qdq compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from calibrators.metrics import SQNR_CEILING_DB
from qdq_cli.comparing.match import Unmatched
from qdq_cli.quantizing.agreement import HeldLimit
from qdq_cli.quantizing.report import Distance, LowOutput, Rows
from qdq_cli.timing.record import Speed

UNLIKE_DB = 6.0
"""Channels say more than their tensor does where they have four times its error, counted alike."""


@dataclass(frozen=True)
class TensorDistance:
    """Distance of one tensor.

    Args:
        sqnr_db: Signal to quantization noise ratio in dB, within +-200; 200 where the tensors are equal.
        cosine: Cosine similarity, -1 to 1.
        max_error: Largest absolute difference; None where a NaN or Inf appeared.
    """

    sqnr_db: float
    cosine: float
    max_error: float | None

    @property
    def is_of_nothing(self) -> bool:
        """Whether FP32 is all zero, so that any error at all is infinitely much of it."""
        return self.sqnr_db == -SQNR_CEILING_DB and self.max_error is not None


class Origin(Enum):
    """What of a layer brings most of its error."""

    WEIGHTS = "weights"
    ACTIVATION = "activation"
    EITHER = "weights or activation"
    """It computes on codes (ConvInteger, QLinearConv), which does not let them be told apart."""


class Kind(Enum):
    """How the error comes about."""

    CLIPPING = "clipping"
    """Most of the squared error is of values outside the range."""
    ROUNDING = "rounding"
    """Most of it is of values inside the range, between two codes."""
    WIDE_CHANNEL = "wide channel"
    """It is rounding, and one channel is so much wider than the others that they share few codes."""
    DEAD = "dead"
    """All values have one and the same code."""
    UNDERFLOW = "underflow"
    """Most of it is of values so small that a floating-point type makes them 0."""
    LARGE_IN_BLOCK = "large weight in a block"
    """It is rounding, most of it in blocks in which one weight is so much larger that the others share few codes."""
    OTHER_WEIGHTS = "other weights"
    """The weights are further apart than their scale explains: they were trained, folded or replaced."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cause:
    """Why a layer errs, as far as it can be seen.

    Args:
        origin: Weights or activation.
        kind: How.
        tensor: The tensor whose quantization it is; "" where that is not one.
        share_percent: Share of the layer's squared error that its origin brings, 0 to 100.
        range_amax: Largest absolute value the scale can hold; None where there is more than one scale.
        data_amax: Largest absolute value that was met.
        channel: For a wide channel: its index.
        ratio: For a wide channel: its amax over that of the median channel.
        text: All of it in one sentence.
    """

    origin: Origin
    kind: Kind
    tensor: str
    share_percent: float
    range_amax: float | None = None
    data_amax: float | None = None
    channel: int | None = None
    ratio: float | None = None
    text: str = ""


@dataclass(frozen=True)
class ChannelErrors:
    """What a layer by itself, fed FP32 input, does to its output channels, which what reads them weighs anew.

    Args:
        count: How many there are.
        sqnr_db: SQNR in dB with all of them counted alike, by the mean of noise over signal, each at most 1.
        worst: Index of the one with most noise for its signal.
        worst_sqnr_db: SQNR of that one in dB; -200 where FP32 is all zero there.
        ruined: How many of them are below 6 dB: noise of a quarter of the signal.
    """

    count: int
    sqnr_db: float
    worst: int
    worst_sqnr_db: float
    ruined: int


@dataclass(frozen=True)
class LayerError:
    """One tensor that both models have.

    Args:
        tensor: Its name.
        node: The node that makes it: the weighted one, where there is one.
        op_type: Operator of that node.
        order: Place in the float model, from 0 on.
        accumulated: Distance as deployed: with everything quantized before it.
        local: Distance when what makes it is fed FP32 input: the error of this layer alone. None where nothing between
            this tensor and those before it is quantized.
        dead: Whether it is all zero in the quantized model, but not in FP32.
        cause: Why the layer errs; None without a local error.
        feeds: Weighted nodes that read the tensor, behind operators that only move values too.
        channels: The error by itself of the output channels, where a weighted operator makes the tensor.
    """

    tensor: str
    node: str
    op_type: str
    order: int
    accumulated: TensorDistance
    local: TensorDistance | None
    dead: bool
    cause: Cause | None
    feeds: tuple[str, ...] = ()
    channels: ChannelErrors | None = None

    @property
    def own_db(self) -> float | None:
        """SQNR of the layer alone in dB, with its channels counted alike where single ones are ruined.

        None where nothing is quantized in front of the tensor, or FP32 is all zero.
        """
        if self.local is None or self.local.is_of_nothing:
            return None
        ruined = self.ruined_channels
        return self.local.sqnr_db if ruined is None else ruined.sqnr_db

    @property
    def ruined_channels(self) -> ChannelErrors | None:
        """What the layer does to its channels where these say more than the tensor as a whole does; else None."""
        found, local = self.channels, self.local
        if found is None or local is None or not found.ruined or found.sqnr_db > local.sqnr_db - UNLIKE_DB:
            return None
        return found


@dataclass(frozen=True)
class Layers:
    """What `--layers` found.

    Args:
        tensors: Float tensors of the reference.
        shared: How many of them the quantized model has, too.
        start: Name of the tensor where the damage starts: the first that adds ten times as much error as the median
            layer, and most of what has accumulated there; None where no layer stands out.
        ranked: Tensors with an error of their own, the largest first, then the others in the model's order.
        not_compared: Shared tensors that hold NaN or Inf in FP32, whose size depends on the values, or that no sample
            computes, in a branch that is never taken.
        unmatched: The float tensors that the quantized model does not have, each with the reason.
        written_as: Options of `qdq quantize` that write such a file again: its target and type, where they are not the
            defaults.
    """

    tensors: int
    shared: int
    start: str | None
    ranked: tuple[LayerError, ...]
    not_compared: tuple[str, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    written_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class Saturation:
    """Products of UINT8 by INT8 in ONNX Runtime's default session, which saturate on x86 with AVX2 and without VNNI.

    Args:
        operators: How many operators of that session have such products, with weights wide enough for it.
        saturated_sqnr_db: Output name -> SQNR in dB that the default session reaches on such a processor; computed, so
            that it is the same on every other one. Empty where no operator is computed.
        left: Names of the operators whose products are taken as exact in that, because theirs cannot be computed.
    """

    operators: int
    saturated_sqnr_db: Mapping[str, float]
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Everything a run of `qdq compare` found.

    Args:
        schema_version: Version of this document.
        reference: Path of the float model.
        quantized: Path of the quantized model.
        samples: How many samples both models ran on.
        batch_size: Most samples a run.
        preprocessing: One line on how pictures became inputs; "" for arrays.
        assumed: Whether nobody chose that preprocessing.
        outputs: Output name -> distance.
        not_compared: Outputs that have the same shape in both models for no sample; their size depends on the values.
        layers: What every tensor says; None without `--layers`.
        seconds: Wall time of each stage.
        notes: Sentences the user should read.
        saturation: What saturates outside of this comparison, whose products are exact; None where nothing may.
        rows: Output name -> rows, where their number depends on the data and differs between the models.
        limits: Each output and each limit that was set, and whether it is met.
        speed: How fast the second model runs beside the first; None where that was not measured.
        low: Output name -> why it is low, for those that are; the worst first.
    """

    schema_version: int
    reference: str
    quantized: str
    samples: int
    batch_size: int
    preprocessing: str
    assumed: bool
    outputs: Mapping[str, Distance]
    not_compared: tuple[str, ...]
    layers: Layers | None
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()
    saturation: Saturation | None = None
    rows: Mapping[str, Rows] = field(default_factory=dict)
    limits: tuple[HeldLimit, ...] = ()
    speed: Speed | None = None
    low: Mapping[str, LowOutput] = field(default_factory=dict)
