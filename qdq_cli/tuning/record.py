"""What a run of `qdq tune` found, as frozen records. They are the `--json` document, key for key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from qdq_cli.quantizing.agreement import Standing, standing_of
from qdq_cli.quantizing.report import Report
from qdq_cli.screen.sentences import type_title
from qdq_cli.timing.record import Speed


@dataclass(frozen=True)
class Goal:
    """What the model has to keep; None where nothing was asked.

    Args:
        min_sqnr: Lowest SQNR in dB on every output.
        min_agreement: Lowest top-1 agreement in percent on every output of class scores.
        max_drop: Most that the user's metric may be worse than the float model's.
        min_quantized_macs: Least share of the multiply-accumulates in INT8, in percent.
    """

    min_sqnr: float | None
    min_agreement: float | None
    max_drop: float | None
    min_quantized_macs: float | None


@dataclass(frozen=True)
class Point:
    """A variant of the model that was measured.

    Args:
        left_float: Names of the operators left float for the target.
        quantized_macs_percent: Share of the multiply-accumulates predicted in INT8.
        quantized_traffic_percent: Share of the activation traffic predicted in INT8.
        quantized_work_percent: The mean of both: what tuning keeps as large as it can.
        sqnr_db: Lowest SQNR of all outputs.
        agreement: Lowest top-1 agreement of the outputs of class scores, in percent; None without such.
        agreement_interval: Its 95 % interval.
        metric: Value of the user's metric; None without one.
        drop: How much worse than that of the float model it is.
        met: Whether the target is met, and anything is left in INT8.
        excess_db: How far the noise is above what `min_sqnr` allows; None where something else decides.
        shortfall: How much is missing, summed over what was asked: dB, percent and units of the metric;
            infinite (null in JSON) where nothing is left in INT8.
        built_bytes: Bytes that its kernels read and write as built; None where nothing was built.
        speed: How fast it is beside the float model on this CPU; None where nothing was timed.
        types: Where types are chosen: how many weighted operators have each, `float` among them.
        time_percent: Predicted time in percent of that of the float network, where types are chosen; else None.
    """

    left_float: tuple[str, ...]
    quantized_macs_percent: float
    quantized_traffic_percent: float
    quantized_work_percent: float
    sqnr_db: float
    agreement: float | None
    metric: float | None
    drop: float | None
    met: bool
    excess_db: float | None
    shortfall: float
    built_bytes: int | None = None
    agreement_interval: tuple[float, float] | None = None
    speed: Speed | None = None
    types: Mapping[str, int] = field(default_factory=dict)
    time_percent: float | None = None

    def undecided(self, goal: Goal) -> bool:
        """Whether agreement alone keeps it from the target, and so few samples do not tell."""
        least, found = goal.min_agreement, self.agreement
        if self.met or least is None or found is None or self.agreement_interval is None:
            return False
        alone = math.isclose(self.shortfall, least - found, abs_tol=1e-9)
        return alone and standing_of(self.agreement_interval, least) is Standing.UNDECIDED


@dataclass(frozen=True)
class LeftFloat:
    """An operator that the chosen variant leaves float.

    Args:
        name: Name of the node.
        op_type: Its operator.
        noise: Noise-to-signal ratio of the outputs with it alone quantized, estimated.
        noise_percent: Share in the sum over all operators.
        macs_percent: Share of the multiply-accumulates that INT8 loses.
        traffic_percent: Share of the activation traffic that INT8 loses.
    """

    name: str
    op_type: str
    noise: float
    noise_percent: float
    macs_percent: float
    traffic_percent: float


@dataclass(frozen=True)
class TypeChoice:
    """One type that an operator can have.

    Args:
        type: The type, such as `fp8`; `float` where it stays float.
        noise: Noise-to-signal ratio of the outputs with it alone quantized to it, estimated; None where nothing was.
        cost_percent: What it takes more than the fastest type of this operator, in percent of the float network: of
            predicted time, or of bytes as built. Below 0 where other operators made that one the fastest.
    """

    type: str
    noise: float | None
    cost_percent: float


@dataclass(frozen=True)
class TypedOperator:
    """An operator that a type was chosen for.

    Args:
        name: Name of the node.
        op_type: Its operator.
        type: Its type in the variant that was written.
        fastest: Its type in the fastest variant.
        choices: All types it can have.
    """

    name: str
    op_type: str
    type: str
    fastest: str
    choices: tuple[TypeChoice, ...]

    def choice(self, name: str) -> TypeChoice:
        """Return what is known of one of its types."""
        return next(choice for choice in self.choices if choice.type == name)


@dataclass(frozen=True)
class TypeSearch:
    """How a type was chosen for every operator.

    Args:
        gpu: The GPU that it was chosen for, such as `sm89`.
        device: The device of this capability whose peak rates predict the time.
        types: The types there were to choose from.
        type: What most operators have: what `qdq quantize --type` is told to write the result again.
        type_of: What it is told by `--type-of`, for the others.
        operators: The operators, in graph order.
    """

    gpu: str
    device: str
    types: tuple[str, ...]
    type: str
    type_of: tuple[str, ...]
    operators: tuple[TypedOperator, ...]


@dataclass(frozen=True)
class BuiltCost:
    """What was asked of a compiler, where built bytes are the cost.

    Args:
        compiler: Its name and version.
        gpu: What it built for, such as `sm89`.
        builds: How many variants it was given, the float model included.
        float_bytes: Bytes that kernels move in the float model, with the float type of the result; None where it is not
            built.
        unbuilt: Why a variant was not built, the first of them, in a sentence; "" where all were.
    """

    compiler: str
    gpu: str
    builds: int
    float_bytes: int | None
    unbuilt: str


@dataclass(frozen=True)
class TuneReport:
    """Everything a run of `qdq tune` found.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        output: Path of the result; where the target is not met, of the best that was found.
        goal: What was asked.
        mha: Whether products of two activations are quantized: asked for, or needed for `min_quantized_macs`.
        met: Whether it is met.
        float_metric: Value of the user's metric for the float model.
        samples: Samples that variants are measured on, set aside from the calibration data.
        held_back: Further samples, those that verification holds back.
        operators: How many operators could be left float.
        adding_up: Sum of their single noises over the noise of all together; None where nothing was estimated.
        frontier: Variants measured, most INT8 work first.
        chosen: Which of them was written, counted from 0.
        left_float: The operators it leaves float, most noise first.
        quantize: The report of what was written.
        seconds: Time of each stage.
        target: Name of what the model is quantized for.
        activation_type: Stored type of quantized activations, such as `int8`.
        weight_type: Stored type of quantized weights.
        notes: Sentences the user should read.
        built: What was built, where built bytes are the cost; None where what is predicted is.
        search: How types were chosen; None where operators of one type were left float.
    """

    schema_version: int
    model: str
    output: str
    goal: Goal
    mha: bool
    met: bool
    float_metric: float | None
    samples: int
    held_back: int
    operators: int
    adding_up: float | None
    frontier: tuple[Point, ...]
    chosen: int
    left_float: tuple[LeftFloat, ...]
    quantize: Report
    seconds: Mapping[str, float]
    target: str
    activation_type: str
    weight_type: str
    notes: tuple[str, ...]
    built: BuiltCost | None = None
    search: TypeSearch | None = None

    @property
    def is_timed(self) -> bool:
        """Whether variants were timed on this CPU."""
        return any(point.speed is not None for point in self.frontier)

    @property
    def type_title(self) -> str:
        """How sentences call the type of quantized activations: INT8, FP8."""
        return type_title(self.activation_type, self.weight_type)
