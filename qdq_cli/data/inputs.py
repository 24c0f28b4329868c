"""The inputs of a model as calibration data sees them: names, types, shapes, and the axis that holds the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdq_cli.data.shapes import Dim, Shape, is_dynamic, option_text, shape_text
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import did_you_mean


@dataclass(frozen=True)
class InputSpec:
    """One model input, as the model declares it.

    Attributes:
        name: Name of the graph input.
        dtype: NumPy type of its elements; `np.dtype(object)` for strings.
        shape: Sizes; a symbol (str) or None is a dynamic dimension.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: Shape

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __str__(self) -> str:
        return f"input '{self.name}' ({self.dtype.name} {shape_text(self.shape)})"


@dataclass(frozen=True)
class BatchAxis:
    """How many samples one run of the model takes.

    Attributes:
        size: The number of samples a run; None when axis 0 is dynamic, so that any number will do.
        stacked: Whether samples lie one after another on axis 0 of every input. False: a run takes exactly one sample
            (there is a scalar input, or the inputs do not share their axis 0).
    """

    size: int | None
    stacked: bool = True


def batch_axis(specs: Sequence[InputSpec]) -> BatchAxis:
    """Find the batch axis all inputs share: axis 0, dynamic in all of them under one symbol, or of one static size."""
    firsts = [spec.shape[0] for spec in specs if spec.rank]
    if not specs or len(firsts) < len(specs):
        return BatchAxis(1, stacked=False)
    sizes = {dim for dim in firsts if isinstance(dim, int)}
    symbols = {dim for dim in firsts if isinstance(dim, str)}
    if not sizes and len(symbols) <= 1:
        return BatchAxis(None)
    if len(sizes) == 1 and not any(is_dynamic(dim) for dim in firsts):
        return BatchAxis(sizes.pop())
    return BatchAxis(1, stacked=False)


def parse_input_shapes(texts: Sequence[str], specs: Sequence[InputSpec]) -> dict[str, Shape]:
    """Read the values of `--input-shape`: "NAME:1x3x224x224", or without "NAME:" where the model has one input.

    NAME may hold colons: the last one separates. "?" leaves a dimension open.

    Raises:
        UsageError: A text is no shape, names no input or an input twice, or leaves the name out with several inputs.
    """
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, shape = _parse_one(text, specs)
        if name in shapes:
            raise UsageError(
                f"--input-shape gives input '{name}' two shapes: {shape_text(shapes[name])} and {shape_text(shape)}.",
                "Give one shape an input.",
            )
        shapes[name] = shape
    return shapes


def with_shapes(specs: Sequence[InputSpec], shapes: Mapping[str, Shape]) -> tuple[InputSpec, ...]:
    """Give dynamic dimensions the sizes the user chose.

    A size of 1 on a dynamic axis 0 leaves that axis dynamic: it says what one sample looks like, and runs may still
    take several samples.

    Raises:
        UsageError: A name is no input, or a size contradicts a static dimension of the model.
    """
    for name in shapes:
        _check_name(name, specs)
    return tuple(_with_shape(spec, shapes[spec.name]) if spec.name in shapes else spec for spec in specs)


def near_names(name: str, names: Sequence[str]) -> str:
    """Write the hint for a name that is not there: the nearest one, else all of them."""
    return did_you_mean(name, names) or "There is " + ", ".join(f"'{each}'" for each in names) + "."


def _parse_one(text: str, specs: Sequence[InputSpec]) -> tuple[str, Shape]:
    name, _, sizes = text.rpartition(":")
    try:
        shape = tuple(_parse_size(size) for size in sizes.lower().split("x"))
    except ValueError:
        raise UsageError(
            f"--input-shape '{text}' is not a shape.", "Write it as NAME:1x3x224x224, every size 1 or more."
        ) from None
    if not name and len(specs) != 1:
        raise UsageError(
            f"--input-shape '{text}' names no input, but the model has {len(specs)}.",
            "Write NAME:1x3x224x224; the inputs are " + ", ".join(f"'{spec.name}'" for spec in specs) + ".",
        )
    name = name or specs[0].name
    _check_name(name, specs)
    return name, shape


def _parse_size(text: str) -> int | None:
    if text.strip() == "?":
        return None
    if (size := int(text)) < 1:
        raise ValueError(text)
    return size


def _check_name(name: str, specs: Sequence[InputSpec]) -> None:
    names = [spec.name for spec in specs]
    if name not in names:
        raise UsageError(f"--input-shape names '{name}', which is no input of the model.", near_names(name, names))


def _with_shape(spec: InputSpec, shape: Shape) -> InputSpec:
    if len(shape) != spec.rank or not all(map(_agrees, spec.shape, shape)):
        kept = tuple(_merged(have, want) for have, want in zip(spec.shape, shape, strict=False))
        hint = option_text(
            spec.name, kept + tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape[len(kept) :])
        )
        raise UsageError(
            f"--input-shape gives input '{spec.name}' the shape {shape_text(shape)}, but the model declares "
            f"{shape_text(spec.shape)}.",
            f"Only dynamic dimensions can be chosen, e.g. {hint}.",
        )
    merged = tuple(map(_merged, spec.shape, shape))
    if spec.rank and is_dynamic(spec.shape[0]) and shape[0] == 1:
        merged = (spec.shape[0], *merged[1:])
    return replace(spec, shape=merged)


def _agrees(declared: Dim, chosen: Dim) -> bool:
    return is_dynamic(declared) or is_dynamic(chosen) or declared == chosen


def _merged(declared: Dim, chosen: Dim) -> Dim:
    return declared if isinstance(declared, int) or chosen is None else chosen
