"""Shapes as users write and read them: one text form, one question ("does this shape fit that one?")."""

from __future__ import annotations

from collections.abc import Sequence

Dim = int | str | None
"""One dimension as a model declares it: a size, a symbol, or None; a symbol and None are dynamic."""

Shape = tuple[Dim, ...]


def is_dynamic(dim: Dim) -> bool:
    """Whether the model leaves this dimension open."""
    return not isinstance(dim, int)


def fits(shape: Sequence[int], declared: Sequence[Dim]) -> bool:
    """Whether an array of `shape` may be fed where `declared` is asked: equal rank, equal static dimensions."""
    return len(shape) == len(declared) and all(
        is_dynamic(want) or found == want for found, want in zip(shape, declared, strict=True)
    )


def shape_text(shape: Sequence[Dim]) -> str:
    """Write a shape for people, e.g. "[N, 3, 224, ?]"; "?" is a dynamic dimension without a symbol."""
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def option_text(name: str, shape: Sequence[Dim]) -> str:
    """Write a shape the way `--input-shape` takes it, e.g. "--input-shape x:1x3x224x224"."""
    return f"--input-shape {name}:" + "x".join("?" if dim is None else str(dim) for dim in shape)
