"""A target: everything about a runtime that placement, recovery and writing need to know, as one record of data.

What ONNX says of an operator stands in `placement.operators`; here stands what a runtime makes of it. A further target
is one file with such a record, its tests and a line of documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import onnx_ir as ir

from calibrators.scheme import Block, Dynamic, PerTensor, Scheme
from qdq_cli.config.forms import Cpu, FloatType, Form, Gpu, QuantType, TensorRT, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import ONNX_DOMAIN
from qdq_cli.model.opset import MIN_OPSET
from qdq_cli.placement import operators
from qdq_cli.placement.prediction import Fusions, Predictor
from qdq_cli.screen.sentences import FLOAT, all_of, type_title


class Epilogue(Enum):
    """How an operator behind a weighted operator can become part of its kernel (rules, section 4.4)."""

    NONE = "none"
    CLIP = "clip"
    """Relu and Clip: absorbed by every weighted kernel."""
    ACTIVATION = "activation"
    """Other activations: absorbed by ordinary convolutions and matrix products, not by depthwise ones (P5)."""


@dataclass(frozen=True)
class OperatorRule:
    """What a target does with an operator that it computes on integers, or as the end of a kernel that does.

    Args:
        epilogue: Whether it can end a weighted operator's kernel.
        obstacle: For an operator that commutes: why the target lets no codes through here, "" where it does.
        computes_float: For a weighted operator whose operands are quantized: why the target computes it in float all
            the same, "" where it does not.
        thin: Evidence is thin enough that the safe mode leaves the operator float.
        writes_float: For kernels that quantize their results: it has one that writes floats as well.
        rescales: For an operator that commutes: its kernel takes operands whose scales differ from that of its result.
    """

    epilogue: Epilogue = Epilogue.NONE
    obstacle: Callable[[ir.Node], operators.Obstacle] | None = None
    computes_float: Callable[[ir.Node], str] | None = None
    thin: bool = False
    writes_float: bool = False
    rescales: bool = False


@dataclass(frozen=True)
class OperatorTable:
    """The operators of a target.

    Args:
        rules: Operator of the default ONNX domain -> its rule. A weighted operator that is missing has no integer
            kernel, an Add or a pooling gets no Q/DQ of its own, a commuting operator is not crossed.
    """

    rules: Mapping[str, OperatorRule]

    def rule(self, node: ir.Node | None) -> OperatorRule | None:
        """Return the rule of a node's operator; None where the target has none, and for other domains."""
        return None if node is None or node.domain != ONNX_DOMAIN else self.rules.get(node.op_type)

    def has(self, node: ir.Node | None) -> bool:
        """Say whether the target has a rule for a node's operator."""
        return self.rule(node) is not None

    def why_float(self, node: ir.Node) -> str:
        """Say why a weighted operator with quantized operands is computed in float here, or "" where it is not."""
        rule = self.rule(node)
        if rule is None:
            return f"There is no integer kernel for {node.op_type}, so it computes in float."
        return "" if rule.computes_float is None else rule.computes_float(node)

    def epilogue(self, node: ir.Node) -> Epilogue:
        """Say how a node can end a weighted operator's kernel."""
        rule = self.rule(node)
        return Epilogue.NONE if rule is None else rule.epilogue

    def obstacle_to_commuting(self, node: ir.Node) -> operators.Obstacle:
        """Say why a class C operator does not commute here, by ONNX or for the target, or "" where it does.

        Raises:
            ValueError: The operator is not of class C at all.
        """
        rule = self.rule(node)
        if rule is None:
            return operators.obstacle_to_commuting(node) or "there is no integer kernel for it"
        return operators.obstacle_to_commuting(node) or ("" if rule.obstacle is None else rule.obstacle(node))

    def commutes(self, node: ir.Node | None, *, safe: bool = False) -> bool:
        """Say whether the target runs a node on codes: Op(Q(x)) = Q(Op(x)) holds, and it has a kernel for it.

        Args:
            node: Any node, or None (a graph input has no producer).
            safe: Treat operators with thin evidence as class F.
        """
        rule = self.rule(node)
        if node is None or rule is None or (safe and rule.thin) or not operators.commutes(node):
            return False
        return rule.obstacle is None or not rule.obstacle(node)


@dataclass(frozen=True)
class Obstacle:
    """What keeps a weighted operator float.

    Args:
        code: Stable code, as in `Skip`.
        holds: Says so of a node, under the options of a plan.
        reason: The sentence, short enough for a line of the summary.
        slow: It is a matter of speed alone: such an operator can be computed on integers.
    """

    code: str
    holds: Callable[[ir.Node, PlanConfig], bool]
    reason: str
    slow: bool = False


class Kernels(Enum):
    """Where Q and DQ stand around the operators that a target computes on integers."""

    READING = "reading"
    """A DQ before what a kernel reads is enough; it writes floats unless a Q stands behind it (rules, section 3)."""
    READING_AND_WRITING = "reading and writing"
    """Each operator that computes on integers has a DQ before every input, and a Q behind all that reads its result."""


class Bias(Enum):
    """How the bias of a quantized operator is written."""

    FLOAT = "float"
    """It stays as it is (A27)."""
    INT32 = "int32"
    """Stored as INT32 with the scale of the input times that of the weight, behind a DQ: what integer kernels add.

    Source: ONNX QLinearConv, opset 10, B.
    """


class ReleaseOf(Protocol):
    """Says which release of a target reads a result."""

    def __call__(self, opset: int, *, half: bool, weights: WeightForm, asked: TensorRT | None) -> TensorRT:
        """Return the oldest release that does, which is the one asked for if that reads it.

        Raises:
            ModelError: The one asked for does not, or none does.
        """


@dataclass(frozen=True)
class Build:
    """A command that makes an engine of a result, on some releases of a target.

    Args:
        releases: On which, as sentences have it: `TensorRT 8.4 to 10`.
        command: What to type; `{model}` stands for the path of the result.
        note: What has to be known about it, a sentence; "" where nothing has.
    """

    releases: str
    command: str
    note: str = ""


@dataclass(frozen=True)
class Refused:
    """An operator, a form of one or a type that releases of a target refuse, wherever it is in a model.

    Args:
        found: What is refused.
        nodes: The nodes it is found at; none for what is about an input alone.
        releases: The releases that refuse it.
        way_out: What to do about it, in sentences.
        since: The first minor release that reads it; "" where none does.
    """

    found: str
    nodes: tuple[str, ...]
    releases: tuple[TensorRT, ...]
    way_out: str
    since: str = ""


class RefusalsOf(Protocol):
    """Says what of a model releases of a target refuse; Q and DQ are none of it."""

    def __call__(self, model: ir.Model, plugins: Collection[str]) -> tuple[Refused, ...]:
        """Return each thing once, with the nodes it is found at.

        Args:
            model: With types and shapes, as far as they are known.
            plugins: Custom operators that the deployment has.

        Raises:
            UsageError: Nothing in the model goes by the name of a plugin.
        """


class BuildsOf(Protocol):
    """Says how each release of a target builds a result."""

    def __call__(self, oldest: TensorRT, *, half: bool, asked: TensorRT | None) -> tuple[Build, ...]:
        """Return a command for each, the oldest first.

        Args:
            oldest: The oldest release that reads the result.
            half: Whether what is not quantized is FP16 or BF16 in it.
            asked: The only release to speak of; None for all.
        """


class SecondsOf(Protocol):
    """Says how long a model takes at least on a GPU of a target."""

    def device(self, gpu: Gpu) -> str:
        """Name the device whose peak rates stand for those of a GPU."""

    def __call__(self, model: ir.Model, gpu: Gpu, *, half: bool) -> float:
        """Return the seconds of one inference at the peak rates of the GPU.

        Args:
            model: A Q/DQ model with inferred shapes.
            gpu: The GPU.
            half: Whether what it holds in FP32 runs in 16 bits.
        """


@dataclass(frozen=True)
class Target:
    """A runtime that models are quantized for.

    Args:
        name: What users call it: lower case, without blanks.
        title: Its name in sentences.
        activations: How activations are quantized: one scale a tensor, or blocks that find theirs at run time.
        weights: How weights are: per channel stands for one scale an output channel, in blocks for blocks of inputs, at
            whichever axis these lie.
        weights_alone: Whether activations stay float, and `activations` says nothing.
        tables: How the tables are quantized whose rows a Gather looks up, one scale a row; None where they stay float.
        block_sizes: What the blocks of weights may have; none where there are no blocks.
        wants_blocks: Whether a block that holds all inputs of a product is halved: its kernels read several alone.
        type: What it quantizes to.
        parts: The tables of several types, where `PlanConfig.type_of` gives some operators another one: that of all
            others first. What is common to all (opset, GPUs, releases) is that of their whole here.
        operators: What it does with operators.
        obstacles: What keeps a weighted operator float; the first that holds gives the reason.
        kernels: Where Q and DQ stand around operators.
        bias: How biases are written.
        weight_forms: How weights may be stored.
        forms: How INT8 regions may be written.
        lowest_opset: The result has this opset at least.
        highest_opset: The result has this opset at most.
        release: Says which release reads a result; None where all that matters is the opset.
        refusals: Says what of a model its releases refuse; None where nobody knows.
        builds: Says how each release builds it; None where there is nothing to type.
        predictor: Says what it would make of a result; None where nobody knows.
        seconds: Says how long a result takes at least on a GPU; None where it runs on none.
        fuse: Says which operators of a result it puts on integers and which Q and DQ stay; None where nobody knows.
        integer_io: Whether it runs models whose inputs and outputs are integers.
        runtime: What runs its results on this CPU, of `timing.runtimes.RUNTIMES`; "" where nothing does.
        processor: The processor that results are for; None where there is one kind alone.
        note: A sentence that users should know of every result; "" where there is none.
        gpus: The GPUs that have units for its types, oldest first; none where that says nothing.
        float_types: What the rest may be, for it to compute quantized operators as such.
        bodies: Whether it computes on integers in the bodies of If, Loop and Scan too.
        shifts: Whether tensors are shifted where that is free, since zero points have to be 0 (`placement.shifting`).

    Raises:
        ValueError: A scheme that nothing writes: activations per channel; weights in blocks or affine beside quantized
            activations.
    """

    name: str
    title: str
    activations: Scheme
    weights: Scheme
    operators: OperatorTable
    obstacles: tuple[Obstacle, ...]
    kernels: Kernels = Kernels.READING
    bias: Bias = Bias.FLOAT
    weight_forms: tuple[WeightForm, ...] = tuple(WeightForm)
    forms: tuple[Form, ...] = tuple(Form)
    lowest_opset: int = MIN_OPSET
    highest_opset: int | None = None
    release: ReleaseOf | None = None
    refusals: RefusalsOf | None = None
    builds: BuildsOf | None = None
    predictor: Predictor | None = None
    seconds: SecondsOf | None = None
    fuse: Callable[[ir.Model], Fusions] | None = None
    integer_io: bool = False
    runtime: str = ""
    processor: Cpu | None = None
    note: str = ""
    gpus: tuple[Gpu, ...] = ()
    float_types: tuple[FloatType, ...] = tuple(FloatType)
    weights_alone: bool = False
    tables: Scheme | None = None
    block_sizes: tuple[int, ...] = ()
    wants_blocks: bool = False
    bodies: bool = True
    shifts: bool = False
    type: QuantType = QuantType.INT8
    parts: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        if self.weights_alone:
            return
        dynamic = isinstance(self.activations.granularity, Dynamic)
        if dynamic is not isinstance(self.weights.granularity, Block):
            raise ValueError(f"target {self.name}: blocks of activations go with blocks of weights")
        if not dynamic and self.activations.granularity != PerTensor():
            raise ValueError(f"target {self.name}: activations have one scale, weights one or one an output channel")
        if not self.weights.symmetric:
            raise ValueError(f"target {self.name}: nothing writes weights of a scheme that is not symmetric")

    @property
    def type_title(self) -> str:
        """How sentences call what it quantizes to: INT8, FP8, INT4 weights."""
        if self.parts:
            return all_of([part.type_title for part in self.parts])
        return type_title(self.activation_type, self.weight_type)

    @property
    def activation_type(self) -> str:
        """Stored type of activations: `int8`, or `float` where they stay as they are."""
        return FLOAT if self.weights_alone else self.activations.name

    @property
    def weight_type(self) -> str:
        """Stored type of weights, such as `int8`."""
        return self.weights.name

    @property
    def in_blocks(self) -> bool:
        """Whether activations are quantized in blocks whose scales are found while the network runs."""
        return not self.weights_alone and isinstance(self.activations.granularity, Dynamic)

    def has_obstacle(self, code: str) -> bool:
        """Say whether something keeps operators float for this reason."""
        return any(obstacle.code == code for obstacle in self.obstacles)
