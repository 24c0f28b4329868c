"""Which GPU computes in which type, as data, and what an engine predicted for a model needs of its GPU.

Sources: the support matrices of TensorRT ("Hardware and Precision"), of TensorRT for RTX and of ModelOpt; what becomes
of a type that the GPU lacks was seen with TensorRT for RTX 1.7, which builds for other GPUs than its own (section 7.4).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from qdq_cli.config.forms import Gpu
from qdq_cli.screen.sentences import any_of, count_text
from qdq_cli.targets.tensorrt.findings import Finding, finding
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import Simulation


class Use(Enum):
    """A type, and what it is for: activations and products, or weights alone."""

    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"
    INT8 = "INT8"
    INT8_WEIGHTS = "INT8 weights alone"
    INT4_WEIGHTS = "INT4 weights alone"
    FP8 = "FP8"
    MXFP8 = "MXFP8"
    NVFP4 = "NVFP4"


@dataclass(frozen=True)
class Row:
    """One GPU.

    Args:
        architecture: Its architecture.
        devices: Some devices that have it.
        runs: What it has units for.
    """

    architecture: str
    devices: str
    runs: frozenset[Use]


_TURING = frozenset({Use.FP32, Use.FP16, Use.INT8})
_AMPERE = _TURING | {Use.BF16, Use.INT8_WEIGHTS, Use.INT4_WEIGHTS}
_ADA = _AMPERE | {Use.FP8}
_BLACKWELL = _ADA | {Use.MXFP8, Use.NVFP4}

GPUS = {
    Gpu.SM75: Row("Turing", "T4, RTX 20", _TURING),
    Gpu.SM80: Row("Ampere", "A100, A30", _AMPERE),
    Gpu.SM86: Row("Ampere", "A10, RTX 30", _AMPERE),
    Gpu.SM89: Row("Ada", "L4, L40S, RTX 40", _ADA),
    Gpu.SM90: Row("Hopper", "H100, H200", _ADA),
    Gpu.SM100: Row("Blackwell", "B200", _BLACKWELL),
    Gpu.SM120: Row("Blackwell", "RTX 50, RTX PRO 6000", _BLACKWELL),
}
"""GPU by compute capability -> what it is, oldest first."""

BUILT_ALL_THE_SAME = frozenset({Use.INT8_WEIGHTS})
"""What a GPU without units for it gets in float; anything else is refused when the engine is built."""

_PRODUCTS = {
    Precision.FP32: Use.FP32,
    Precision.FP16: Use.FP16,
    Precision.BF16: Use.BF16,
    Precision.INT8: Use.INT8,
    Precision.FP8: Use.FP8,
    Precision.MXFP8: Use.MXFP8,
    Precision.NVFP4: Use.NVFP4,
}

_ALONE = {Precision.INT8: Use.INT8_WEIGHTS, Precision.INT4: Use.INT4_WEIGHTS}


@dataclass(frozen=True)
class TypeNeed:
    """One type that an engine computes in, or stores weights in.

    Args:
        type: The type, such as `FP8` or `INT4 weights alone`.
        kernels: Kernels that have to do with it, stand-alone Q/DQ included.
        gpus: The GPUs that have units for it, oldest first.
    """

    type: str
    kernels: int
    gpus: tuple[str, ...]


def needs_of(simulation: Simulation) -> tuple[TypeNeed, ...]:
    """Return what an engine needs of its GPU, in the order of `Use`."""
    return tuple(TypeNeed(use.value, len(names), _running(use)) for use, names in _kernels_by_use(simulation).items())


def named(gpu: Gpu) -> str:
    """Write a GPU as people know it: "sm80 (Ampere: A100, A30)"."""
    return f"{gpu.value} ({GPUS[gpu].architecture}: {GPUS[gpu].devices})"


def lint_gpu(simulation: Simulation, gpu: Gpu | None) -> Iterator[Finding]:
    """Yield a finding for each type that an engine needs and a GPU lacks; none where no GPU is asked about."""
    if gpu is None:
        return
    for use, names in _kernels_by_use(simulation).items():
        if use not in GPUS[gpu].runs:
            found = f"{use.value} in {count_text(len(names), 'kernel')}, for which {named(gpu)} has no units"
            code = "W_GPU_TYPE" if use in BUILT_ALL_THE_SAME else "E_GPU_TYPE"
            fix = f"Build the engine for {any_of(_running(use))}, or quantize to a type that {gpu.value} has."
            yield replace(finding(code, names[0], "", found), fix=fix)


def _running(use: Use) -> tuple[str, ...]:
    return tuple(gpu.value for gpu, row in GPUS.items() if use in row.runs)


def _kernels_by_use(simulation: Simulation) -> dict[Use, list[str]]:
    """Return what is used -> names of the kernels that have to do with it."""
    found: dict[Use, list[str]] = defaultdict(list)
    for layer in simulation.layers:
        types = {layer.precision, layer.output_precision, *(operand.precision for operand in layer.inputs)}
        uses = {_PRODUCTS[precision] for precision in types if precision in _PRODUCTS}
        if layer.weight is not None and layer.weight.alone:
            uses.add(_ALONE.get(layer.weight.precision) or _PRODUCTS.get(layer.weight.precision, Use.FP32))
        for use in uses:
            found[use].append(layer.name)
    for kernel in simulation.standalone:
        if kernel.precision in _PRODUCTS:
            found[_PRODUCTS[kernel.precision]].append(kernel.nodes[0])
    return {use: found[use] for use in Use if use in found}
