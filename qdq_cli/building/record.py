"""What a run of `qdq build` found, as frozen records. The same records are the `--json` document, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from qdq_cli.targets.tensorrt.findings import Finding


class Outcome(Enum):
    """What became of a model."""

    BUILT = "built"
    REFUSED = "refused"
    """The importer does not read it."""
    FAILED = "failed"
    """It is read, and no engine can be built of it."""


@dataclass(frozen=True)
class KernelTensor:
    """A tensor that a kernel reads or writes.

    Args:
        name: Its name in the engine.
        type: Its element type, such as `INT8` or `FP16`.
        dims: Its dimensions; -1 where the engine leaves one open.
        size_bytes: Its size; None where a dimension is open or the type is not known.
    """

    name: str
    type: str
    dims: tuple[int, ...]
    size_bytes: int | None


@dataclass(frozen=True)
class Kernel:
    """One layer of an engine, as the compiler describes it.

    Args:
        name: Its name in the engine.
        kind: The compiler's word for what it is.
        reads: Activations that it reads.
        weights: Constants that it reads.
        writes: What it writes.
        nodes: Names of the ONNX nodes it comes from; a node can be in several kernels.
    """

    name: str
    kind: str
    reads: tuple[KernelTensor, ...]
    weights: tuple[KernelTensor, ...]
    writes: tuple[KernelTensor, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A node that the importer does not read.

    Args:
        node: Its name; "" where the importer gives none.
        op_type: Its operator; "" where the importer gives none.
        said: The importer's sentence.
        findings: What `qdq inspect` has to say about the node.
    """

    node: str
    op_type: str
    said: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Operator:
    """A weighted operator, as predicted and as built.

    Args:
        name: Name of its node.
        op_type: Its operator.
        macs: Its multiply-accumulates; None where they are not known.
        predicted: Type that `qdq inspect` predicts; "" where it predicts none.
        built: Type it really runs in; "" where the compiler tells of no kernel of it.
        agrees: Whether both are the same; None where one is not known.
        because: Where they differ: the rules that led to the prediction, as sentences.
        kernel: Name of the kernel it runs in, or "".
    """

    name: str
    op_type: str
    macs: int | None
    predicted: str
    built: str
    agrees: bool | None
    because: tuple[str, ...]
    kernel: str


@dataclass(frozen=True)
class Traffic:
    """Bytes that the kernels of an engine read and write in one run.

    Args:
        activations: Element type -> bytes of activations.
        activation_bytes: All of them.
        weight_bytes: Bytes of constants.
        unknown: Kernels with a tensor of unknown size, which are in no figure.
    """

    activations: Mapping[str, int]
    activation_bytes: int
    weight_bytes: int
    unknown: int

    @property
    def total_bytes(self) -> int:
        """Activations and constants."""
        return self.activation_bytes + self.weight_bytes


@dataclass(frozen=True)
class Agreement:
    """How many weighted operators run in the type that is predicted.

    Args:
        agree: Those that do.
        differ: Those that do not.
        untold: Those that the prediction or the compiler says nothing about.
    """

    agree: int
    differ: int
    untold: int


@dataclass(frozen=True)
class Beside:
    """Another form of the model, built for the same GPU.

    Args:
        name: What it is, such as `FP16`.
        outcome: What became of it; None where it could not be made or tried.
        said: Why there is none.
        kernels: Number of kernels.
        operators: Element type -> weighted operators that run in it.
        traffic: Bytes that its kernels move; None where it was not built.
    """

    name: str
    outcome: Outcome | None
    said: str
    kernels: int
    operators: Mapping[str, int]
    traffic: Traffic | None


@dataclass(frozen=True)
class GpuBuild:
    """What the compiler makes of the model for one GPU.

    Args:
        gpu: Its compute capability, such as `sm89`.
        outcome: What became of the model.
        refusals: Nodes that the importer does not read.
        said: The compiler's own sentences where the model is not built.
        seconds: Time of the build alone.
        engine_bytes: Size of the engine.
        peak_bytes: Most memory that the compiler held; None where the system does not tell.
        types: `types read -> types written` -> number of kernels.
        operators: The weighted operators, in graph order.
        built_types: Element type -> weighted operators that run in it.
        agreement: Prediction against fact.
        quantized_macs_percent: Share of the multiply-accumulates built in INT8; None where it is not known.
        conversions: Names of kernels that only quantize or dequantize.
        traffic: Bytes that kernels move.
        kernels: The layers of the engine, in their order.
        beside: Other forms of the model.
        verdict: Whether INT8 is worth it here, in sentences; empty where there is nothing to compare.
        errors: Errors that `qdq inspect` finds for this GPU and TensorRT 11; of a model that is not built, the advice
            that says why, too.
    """

    gpu: str
    outcome: Outcome
    refusals: tuple[Refusal, ...] = ()
    said: tuple[str, ...] = ()
    seconds: float = 0.0
    engine_bytes: int = 0
    peak_bytes: int | None = None
    types: Mapping[str, int] | None = None
    operators: tuple[Operator, ...] = ()
    built_types: Mapping[str, int] | None = None
    agreement: Agreement | None = None
    quantized_macs_percent: float | None = None
    conversions: tuple[str, ...] = ()
    traffic: Traffic | None = None
    kernels: tuple[Kernel, ...] = ()
    beside: tuple[Beside, ...] = ()
    verdict: tuple[str, ...] = ()
    errors: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Loss:
    """Something that costs time and could be mended.

    Args:
        subject: The layer or node it is about.
        time_ms: What it takes in one run; None without a profile.
        size_bytes: Bytes it moves; None where they are not known.
        found: What it is.
        advice: What `qdq inspect` says about it.
    """

    subject: str
    time_ms: float | None
    size_bytes: int | None
    found: str
    advice: str


@dataclass(frozen=True)
class Device:
    """What was measured on the GPU of this machine, where the user's own trtexec built the model.

    Args:
        trtexec: Path of the program.
        name: Name of the GPU; "" where trtexec does not say.
        command: The command that does the same in the current folder.
        total_ms: Time of all layers in one run; None where it measured none.
        untimed: Layers without a time.
        conversions_ms: Time of those that only quantize or dequantize; None where none was measured.
        losses: What to mend first, most time first.
        times_ms: Layer -> its time.
    """

    trtexec: str
    name: str
    command: str
    total_ms: float | None
    untimed: int
    conversions_ms: float | None
    losses: tuple[Loss, ...]
    times_ms: Mapping[str, float]


@dataclass(frozen=True)
class BuildReport:
    """What a run of `qdq build` found.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        opset: Its opset.
        size_bytes: Its size, external data included.
        quantized: Whether it holds Q/DQ.
        compiler: Name and version of the compiler.
        shapes: Dynamic input -> the sizes it was given, such as `1x3x224x224`, or three of them: smallest, usual,
            largest.
        assumed: Those of them that nobody chose.
        builds: One entry for each GPU.
        engine: Path of the engine that was kept; None without `-o`.
        predicted_standalone: Q/DQ kernels of their own that `qdq inspect` predicts inside the network; None where it
            predicts nothing.
        predicted_boundary: Those it predicts at graph inputs and outputs; None where it predicts nothing.
        unpredicted: Why nothing is predicted; "" where something is.
        device: What was measured on this machine's GPU; None where the compiler that needs none was asked.
        predicted_weights: Weights alone that are predicted to be made float by a kernel of their own.
    """

    schema_version: int
    model: str
    opset: int
    size_bytes: int
    quantized: bool
    compiler: str
    shapes: Mapping[str, str]
    assumed: tuple[str, ...]
    builds: tuple[GpuBuild, ...]
    engine: str | None
    predicted_standalone: int | None
    predicted_boundary: int | None
    unpredicted: str = ""
    device: Device | None = None
    predicted_weights: int = 0
