"""What a compiler made of a result, in the few numbers that a report keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltForm:
    """Another form of the model that was built beside the result.

    Args:
        name: What it is, such as `FP16`.
        said: Why it was not built; "" where it was.
        kernels: Number of kernels.
        operators: Element type -> weighted operators that run in it.
        activation_bytes: Bytes of activations that kernels read and write; None where they are not known.
        weight_bytes: Bytes of constants that they read; None where they are not known.
    """

    name: str
    said: str
    kernels: int
    operators: Mapping[str, int]
    activation_bytes: int | None
    weight_bytes: int | None


@dataclass(frozen=True)
class Built:
    """One build of the result.

    Args:
        compiler: Name and version of the compiler.
        gpu: What it was built for, such as `sm89`.
        outcome: `built`, `refused` (the importer does not read it) or `failed` (read, and not built).
        said: Why it is not built, in the compiler's sentences.
        kernels: Number of kernels.
        operators: Element type -> weighted operators that run in it.
        agree: Weighted operators that run in the predicted type.
        differ: Those that run in another one.
        activation_bytes: Bytes of activations that kernels read and write; None where they are not known.
        weight_bytes: Bytes of constants that they read; None where they are not known.
        verdict: Whether INT8 is worth it, in sentences.
        forms: Other forms of the model, built beside it.
    """

    compiler: str
    gpu: str
    outcome: str
    said: tuple[str, ...]
    kernels: int
    operators: Mapping[str, int]
    agree: int
    differ: int
    activation_bytes: int | None
    weight_bytes: int | None
    verdict: tuple[str, ...]
    forms: tuple[BuiltForm, ...] = ()
