"""What a run of `qdq sensitivity` found, as frozen records. They are the `--json` document, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.config.forms import QuantType
from qdq_cli.running.few_samples import FewSamples
from qdq_cli.screen.sentences import type_title


@dataclass(frozen=True)
class OperatorSensitivity:
    """An operator that alone is quantized: its activations and its weight, all else float.

    Args:
        name: Name of the node.
        op_type: Its operator.
        noise: Noise-to-signal ratio of the model's outputs then, estimated: 0 equal to FP32, 1 nothing but noise.
        noise_percent: Share in the sum over all operators.
        exact_noise: The same measured on all samples set aside; None where that was not asked for.
        metric: Value of the user's metric then; None where there is no such metric.
        drop: How much worse than that of the float model it is.
        macs_percent: Share of the model's multiply-accumulates that INT8 would lose were it left float.
        traffic_percent: Share of the activation traffic that INT8 would lose, with all that follows for its
            neighbours; below 0 where there would be more.
    """

    name: str
    op_type: str
    noise: float
    noise_percent: float
    exact_noise: float | None
    metric: float | None
    drop: float | None
    macs_percent: float
    traffic_percent: float


@dataclass(frozen=True)
class GroupSensitivity:
    """A scale group that alone is quantized, for all its readers; weights and all else float.

    Args:
        tensors: The tensors that share the scale.
        amax: Their range.
        noise: Noise-to-signal ratio of the model's outputs then, estimated.
        exact_noise: The same measured on all samples set aside; None where that was not asked for.
    """

    tensors: tuple[str, ...]
    amax: float
    noise: float
    exact_noise: float | None


@dataclass(frozen=True)
class Together:
    """Everything quantized at once, against the sum of the operators quantized one by one, on the same samples.

    Args:
        noise: Noise-to-signal ratio of the outputs with everything quantized.
        sum: That of the operators, one by one, added up.
        sqnr_db: The lowest SQNR of all outputs with everything quantized, on all samples set aside.
        metric: Value of the user's metric; None where there is no such metric.
        float_metric: That of the float model.
    """

    noise: float
    sum: float
    sqnr_db: float
    metric: float | None
    float_metric: float | None


@dataclass(frozen=True)
class TypeNoise:
    """What an operator costs in one of the types that it can have.

    Args:
        type: The type, such as `fp8`.
        noise: Noise-to-signal ratio of the outputs with this operator alone quantized to it; None where calibration
            showed that the operator does not bear it.
        weight_bytes: Its weight in that type, scales included; None for products of two activations.
    """

    type: str
    noise: float | None
    weight_bytes: int | None


@dataclass(frozen=True)
class TypedSensitivity:
    """A weighted operator in each of the types that it can have, alone.

    Args:
        name: Name of the node.
        op_type: Its operator.
        float_bytes: Its weight in the float model; None for products of two activations.
        types: Its types.
    """

    name: str
    op_type: str
    float_bytes: int | None
    types: tuple[TypeNoise, ...]


@dataclass(frozen=True)
class SensitivityReport:
    """Everything a run of `qdq sensitivity` found.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        samples: Samples set aside from the calibration data.
        estimate_samples: Those of them that the estimate took.
        operators: Most noise first: the measured noise where there is one, else the estimated one. With a metric of
            the user, the largest drop first.
        groups: Most noise first.
        together: How well noises add up.
        rank_correlation: Spearman's correlation of the estimate with what was measured, over the operators; None
            where nothing was measured or there is nothing to rank.
        group_rank_correlation: The same over the scale groups.
        metric_rank_correlation: That of the estimate with the drop of the user's metric.
        seconds: Time of each stage.
        target: Name of what the model is quantized for.
        activation_type: Stored type of quantized activations, such as `int8`.
        weight_type: Stored type of quantized weights.
        notes: Sentences the user should read.
        few: That few samples calibrate; None for 64 or more, and where their number is not known.
        by_type: Where types are compared: the operators in each of theirs, the noisiest first.
    """

    schema_version: int
    model: str
    samples: int
    estimate_samples: int
    operators: tuple[OperatorSensitivity, ...]
    groups: tuple[GroupSensitivity, ...]
    together: Together
    rank_correlation: float | None
    group_rank_correlation: float | None
    metric_rank_correlation: float | None
    seconds: Mapping[str, float]
    target: str
    activation_type: str
    weight_type: str
    notes: tuple[str, ...]
    few: FewSamples | None = None
    by_type: tuple[TypedSensitivity, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """The types that operators were compared in."""
        there = {choice.type for operator in self.by_type for choice in operator.types}
        return tuple(kind.value for kind in QuantType if kind.value in there)

    @property
    def type_title(self) -> str:
        """How sentences call the type of quantized activations: INT8, FP8."""
        return type_title(self.activation_type, self.weight_type)
