"""What a run of `qdq quantize` found, as frozen records. The same records are the `--json` document, key for key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from calibrators import ScaleGroup
from qdq_cli.calibrating.spread_record import ShiftGain, SpreadGain, SteadyGain
from qdq_cli.config.execution import ON_CPU
from qdq_cli.model.integer_io import Codes
from qdq_cli.placement.built import Built
from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.record import TensorTarget, WeightTarget
from qdq_cli.placement.selection import Skip
from qdq_cli.placement.target import Build, Refused
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.agreement import HeldLimit
from qdq_cli.quantizing.float_record import FloatRest
from qdq_cli.recovering.record import Recovery
from qdq_cli.running.few_samples import FewSamples
from qdq_cli.running.layers import RuntimeLayers
from qdq_cli.screen.sentences import FLOAT, all_of, type_title
from qdq_cli.timing.record import Speed


@dataclass(frozen=True)
class WeightedOps:
    """Weighted operators of the model.

    Args:
        total: All of them.
        quantized: Those whose operands are quantized.
    """

    total: int
    quantized: int


@dataclass(frozen=True)
class Activations:
    """Activation tensors with a Q/DQ pair.

    Args:
        targets: How many there are.
        groups: Scales that they share.
    """

    targets: int
    groups: int


@dataclass(frozen=True)
class Calibration:
    """How ranges were found.

    Args:
        method: Name of the method.
        percentile: For `percentile`: the share kept, in percent.
        samples: Samples observed.
        batch_size: Samples a run; 0 when nothing was run.
        tensors: Tensors observed.
        cache: Path of the calibration cache, if any.
        from_cache: Whether the ranges came from it and nothing was run.
        preprocessing: One line on how pictures became inputs; "" for arrays.
        assumed: Whether nobody chose that preprocessing.
        manual_ranges: Scale groups whose range was given by hand.
        judged: Tensors whose range is the best of several for the depthwise convolutions that read them.
        provider: Execution providers of ONNX Runtime that the model was observed on.
        few: That few samples calibrate; None for 64 or more, and where their number is not known.
    """

    method: str
    percentile: float | None
    samples: int
    batch_size: int
    tensors: int
    cache: str | None
    from_cache: bool
    preprocessing: str
    assumed: bool
    manual_ranges: int = 0
    judged: int = 0
    provider: str = ON_CPU.provider_text
    few: FewSamples | None = None


@dataclass(frozen=True)
class Distance:
    """Distance of one output of the Q/DQ model from the FP32 model; definitions in `calibrators.metrics`.

    Args:
        sqnr_db: Signal to quantization noise ratio in dB, within +-200; 200 where the outputs are equal. Of the samples
            that say something.
        cosine: Cosine similarity, -1 to 1.
        max_error: Largest absolute difference.
        equal: Whether every element is the same.
        top1_agreement: For class scores: percent of rows with the same best class.
        top5_agreement: For six classes or more: percent of rows whose FP32 class is among the five best.
        softmax_kl: For class scores: mean Kullback-Leibler divergence of the class probabilities, in nats.
        top1_interval: For class scores: the 95 % interval of the top-1 agreement in percent, by Clopper and Pearson.
        rows: For class scores: how many rows there are.
        margin_noise: For class scores: the error of a difference of two scores (standard deviation), over the distance
            of the best class from the second best (median): what decides whether classes change.
        psnr_db: For pictures: squared range of the FP32 output over the mean squared error, in dB.
        contrast_db: For outputs of up to eight numbers for each of many places, as detectors give them: the variance
            of each number over its mean squared error in dB, numbers counted alike. What all places say alike is no
            signal in it.
        samples: How many samples there are, where the output has them on its first axis.
        silent: How many of these are near-silent in FP32: nothing in them reaches a hundredth of the largest value of
            all. `sqnr_db` is of the others.
        sequence_noise: For sequences of decisions, as letters of a text, of up to 64 steps: the error of a difference
            of two scores, over the distance of the best two classes at the step of a sample where they are closest
            (median).
        map_noise: For maps of classes, as segmentations: the error of a difference of two scores, over the distance of
            the best two classes of a place (median), at up to 4,096 places of a sample.
    """

    sqnr_db: float
    cosine: float
    max_error: float
    equal: bool
    top1_agreement: float | None = None
    top5_agreement: float | None = None
    softmax_kl: float | None = None
    top1_interval: tuple[float, float] | None = None
    rows: int | None = None
    margin_noise: float | None = None
    psnr_db: float | None = None
    contrast_db: float | None = None
    samples: int = 0
    silent: int = 0
    sequence_noise: float | None = None
    map_noise: float | None = None


@dataclass(frozen=True)
class Rows:
    """Rows of an output whose number depends on the data, over all samples.

    Args:
        fp32: Rows that FP32 gives.
        quantized: Rows that the Q/DQ model gives.
        matched: Rows that both give, in any order, a sample's among themselves; None where they are no whole numbers.
    """

    fp32: int
    quantized: int
    matched: int | None

    @property
    def agreement(self) -> float | None:
        """Matched rows in percent of the larger number of rows; None where none are matched."""
        most = max(self.fp32, self.quantized)
        return None if self.matched is None else 100.0 * self.matched / most if most else 100.0

    def __str__(self) -> str:
        both = "" if self.matched is None else f", {self.matched} of them in both"
        return f"{self.fp32} rows in FP32, {self.quantized} quantized{both}"


@dataclass(frozen=True)
class LowOutput:
    """Why an output is far from FP32.

    Args:
        reason: `CLIPPED`, `ROUNDED`, `INPUT_UNLIKE`, `FEW_SAMPLES`, `NOT_FINITE`, `FP32_IS_ZERO` or `UNKNOWN`.
        text: The same in a part of a sentence, with what helps.
    """

    reason: str
    text: str


@dataclass(frozen=True)
class DefaultSession:
    """What ONNX Runtime's default session, as users make one, gives for the result on the same samples.

    It fuses Q/DQ pairs into operators on integers; what these give can depend on the processor. For a target with a
    runtime of its own, that is asked in its place.

    Args:
        error: Why it does not load or run the result; "" where it does.
        sqnr_db: Output name -> SQNR against FP32 in dB; empty where it does not run.
        lower: Outputs that lie more than 3 dB below those of the literal run.
        option: The session option that avoids both, such as `session.disable_quant_qdq=1`; "" where nothing is wrong.
        text: What is wrong, the cause and the way out, in sentences; "" where nothing is.
        runtime: What ran it: `onnxruntime` or `openvino`.
        layers: Which of its weighted operators the runtime has on integers; None where it does not tell.
    """

    error: str
    sqnr_db: Mapping[str, float]
    lower: tuple[str, ...] = ()
    option: str = ""
    text: str = ""
    runtime: str = "onnxruntime"
    layers: RuntimeLayers | None = None


@dataclass(frozen=True)
class Verification:
    """FP32 and Q/DQ model run on the same samples, ONNX Runtime's graph optimisations off.

    Args:
        samples: How many.
        held_back: Whether calibration never saw them.
        outputs: Output name -> distance.
        not_compared: Outputs that have the same shape in both models for no sample; their size depends on the values.
        default_session: What the session makes of the result that users make without a thought.
        low: Output name -> why it is low, for those below 13 dB or 80 % agreement; the worst first.
        rows: Output name -> rows, where their number depends on the data and differs between the models.
        twin: Whether an FP32 twin was run for a result in FP16 or BF16: what its kernels store is rounded to it, as
            ONNX Runtime's CPU does not.
        limits: Each output and each limit that was set, and whether it is met.
    """

    samples: int
    held_back: bool
    outputs: Mapping[str, Distance]
    not_compared: tuple[str, ...] = ()
    default_session: DefaultSession | None = None
    low: Mapping[str, LowOutput] = field(default_factory=dict)
    rows: Mapping[str, Rows] = field(default_factory=dict)
    twin: bool = False
    limits: tuple[HeldLimit, ...] = ()


@dataclass(frozen=True)
class SizeBytes:
    """Sizes of the model files, weights included.

    Args:
        before: Of the input.
        after: Of the result; None where none is written.
    """

    before: int
    after: int | None


@dataclass(frozen=True)
class Seconds:
    """Wall time of each stage.

    Args:
        load: Reading the model.
        prepare: Bringing it into the one spelling that planning expects.
        plan: Choosing what to quantize.
        observe: Running the model on the calibration samples.
        choose: Choosing ranges.
        recover: Recovering accuracy.
        rewrite: Inserting Q and DQ.
        cast: Giving what is not quantized another float type.
        predict: Simulating the target.
        verify: Comparing with the FP32 model.
        save: Writing the result.
        time: Timing it beside the FP32 model.
    """

    load: float = 0.0
    prepare: float = 0.0
    plan: float = 0.0
    observe: float = 0.0
    choose: float = 0.0
    recover: float = 0.0
    rewrite: float = 0.0
    cast: float = 0.0
    predict: float = 0.0
    verify: float = 0.0
    save: float = 0.0
    time: float = 0.0


@dataclass(frozen=True)
class Report:
    """Everything a run found.

    Args:
        schema_version: Version of this document.
        model: Path of the input.
        output: Path of the result; None for a dry run, and where a limit is not met.
        opset: Opset of the result.
        trt: Oldest TensorRT release that reads the result; None for other targets.
        weighted_ops: How many weighted operators run in INT8.
        activations: How many activation tensors and scales there are.
        skips: Operator inputs that stay float, with reasons.
        calibration: How ranges were found; None where nothing is calibrated.
        recovery: What recovery did; None where it was not asked for.
        verification: Distance from the FP32 model; None where it was not run.
        predicted: What the target is predicted to make of the result; None for a dry run, and where nobody knows.
        size_bytes: Model sizes.
        seconds: Time of each stage.
        notes: Sentences the user should read.
        targets: The planned pairs.
        weights: The planned constant operands.
        groups: The scale groups.
        amax: Range of each scale group once it is chosen.
        chosen: What chose each: a method (of `auto` the one it took, whose percentile keeps 99.999 %), `known` (an
            existing scale, Softmax), `given` (by hand or in a file) or `recovery`.
        unmet_limit: The limit that the model misses, in a sentence with both numbers; None where it misses none.
        already_quantized: Whether the model was quantized before, so that there was nothing to add and it was kept.
        target: Name of what the model is quantized for.
        activation_type: Stored type of quantized activations, such as `int8`; `float` where weights alone are.
        weight_type: Stored type of quantized weights.
        processor: The processor that the result is for; None where the target has one kind alone.
        refused: What of the model releases refuse, whether the result is for them or not.
        builds: How each release that reads the result makes an engine of it; none for targets without a command.
        built: What a compiler made of the result, where that was asked for.
        float_rest: What became of operators that are FP16 or BF16 in the result; None where all stay as they were.
        integers: The inputs and outputs of the result that are integers -> what these stand for.
        speed: How fast the result runs beside the FP32 model on this CPU; None where that was not measured.
        spread: What making nearly dead channels larger, or folding constant ones, did for the operators behind them.
        steady: What biases gained that make up for channels that hardly move.
        shifted: Tensors that are shifted so that their values use all codes.
    """

    schema_version: int
    model: str
    output: str | None
    opset: int
    trt: str | None
    weighted_ops: WeightedOps
    activations: Activations
    skips: tuple[Skip, ...]
    calibration: Calibration | None
    verification: Verification | None
    predicted: Prediction | None
    size_bytes: SizeBytes
    seconds: Seconds
    notes: tuple[str, ...] = ()
    targets: tuple[TensorTarget, ...] = ()
    weights: tuple[WeightTarget, ...] = ()
    groups: tuple[ScaleGroup, ...] = ()
    amax: tuple[float, ...] = ()
    chosen: tuple[str, ...] = ()
    recovery: Recovery | None = None
    unmet_limit: str | None = None
    already_quantized: bool = False
    target: str = ""
    activation_type: str = ""
    weight_type: str = ""
    refused: tuple[Refused, ...] = ()
    builds: tuple[Build, ...] = ()
    built: Built | None = None
    float_rest: FloatRest | None = None
    speed: Speed | None = None
    integers: Mapping[str, Codes] = field(default_factory=dict)
    processor: str | None = None
    spread: tuple[SpreadGain, ...] = ()
    steady: tuple[SteadyGain, ...] = ()
    shifted: tuple[ShiftGain, ...] = ()

    @property
    def type_title(self) -> str:
        """What sentences call the type that was quantized to: INT8, FP8, INT4 weights."""
        return all_of(list(self.types)) or type_title(self.activation_type, self.weight_type)

    @property
    def alone_titles(self) -> list[str]:
        """What sentences call the types of weights alone."""
        return list(dict.fromkeys(self._title_of(one) for one in self.weights if one.use.slot and one.alone))

    @property
    def computed_title(self) -> str:
        """What sentences call the types that are computed in; weights alone speak where there is nothing else."""
        return all_of([title for title in self.types if title not in self.alone_titles]) or self.type_title

    @property
    def types(self) -> dict[str, int]:
        """How sentences call each type -> how many weighted operators have a constant operand of it."""
        return dict(Counter(self._title_of(weight) for weight in self.weights if weight.use.slot))

    @property
    def tables(self) -> int:
        """How many tables are stored as codes whose rows a Gather looks up."""
        return sum(not weight.use.slot for weight in self.weights)

    def _title_of(self, weight: WeightTarget) -> str:
        if weight.alone:
            return type_title(FLOAT, weight.type)
        known = weight.type == self.weight_type and self.activation_type != FLOAT
        return type_title(self.activation_type if known else weight.type)


class UnmetLimitError(LimitError):
    """The model misses a limit and was not written; what was measured is in the report.

    Args:
        report: The report, with `unmet_limit` and without an output.
        hint: What to do about it.
        undecided: Whether more samples could show that it is met.
        slow: Whether it is the limit of speed.
    """

    def __init__(self, report: Report, hint: str, *, undecided: bool = False, slow: bool = False) -> None:
        super().__init__(report.unmet_limit or "", hint, undecided=undecided, slow=slow)
        self.found = self.report = report
