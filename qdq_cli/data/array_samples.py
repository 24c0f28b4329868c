"""Stored arrays cut into samples: which axis holds the samples follows from the ranks of the array and of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from qdq_cli.data.convert import check_type, convert
from qdq_cli.data.inputs import BatchAxis, InputSpec, batch_axis
from qdq_cli.data.sample import Kind, Sample, content_digest
from qdq_cli.data.shapes import fits, is_dynamic, shape_text
from qdq_cli.process.errors import DataError

_Array = TypeVar("_Array")

_LARGEST_SAMPLE_BYTES = 1 << 30


class Stored(Protocol):
    """An array on disk, known by its header."""

    @property
    def label(self) -> str:
        """How errors call it."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Its type."""
        ...

    def item(self, index: int) -> np.ndarray:
        """Read a[index]."""
        ...

    def whole(self) -> np.ndarray:
        """Read all of it."""
        ...


class Cut(Enum):
    """How one array becomes the input's values of sample i; tried in this order."""

    ROWS = "a[i:i+1]"
    """The array has the input's rank: axis 0 holds the samples."""
    ITEMS = "a[i]"
    """One axis more than the input: each item is all that one run takes."""
    WHOLE = "a"
    """One sample, exactly what a run takes; where the inputs share a batch axis, ROWS says the same."""
    BARE = "a[None]"
    """One sample without its batch axis."""
    SHARED = "a, in every sample"
    """A scalar for a scalar input, the same for all samples."""


@dataclass(frozen=True)
class CutArray:
    """An array and the way to cut it for one input."""

    stored: Stored
    spec: InputSpec
    cut: Cut

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample's array."""
        rest = self.stored.shape[1:]
        by_cut = {Cut.ROWS: (1, *rest), Cut.ITEMS: rest, Cut.BARE: (1, *self.stored.shape)}
        return by_cut.get(self.cut, self.stored.shape)

    def read(self, index: int) -> np.ndarray:
        """Read the values of one sample, in the type they are stored in."""
        by_item = self.cut in (Cut.ROWS, Cut.ITEMS)
        array = self.stored.item(index) if by_item else self.stored.whole()
        return np.asarray(array).reshape(self.shape)


@dataclass(frozen=True)
class ArrayPart:
    """The samples of one file, or of one folder of tensor files.

    Attributes:
        source: The file or folder.
        arrays: One for each input, in the order of the inputs.
        count: Number of samples.
        kind: "array" or "tensor".
    """

    source: Path
    arrays: tuple[CutArray, ...]
    count: int
    kind: Kind = "array"

    def __len__(self) -> int:
        return self.count

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """See `Part`."""
        return tuple(array.shape for array in self.arrays)

    def name(self, index: int) -> str:
        """See `Part`."""
        return f"{self.source}[{index}]" if self.count > 1 else str(self.source)

    def size_bytes(self, index: int) -> int:
        """See `Part`."""
        return sum(math.prod(array.shape) * array.stored.dtype.itemsize for array in self.arrays)

    def identity(self, index: int) -> str:
        """See `Part`."""
        return content_digest({array.spec.name: array.read(index) for array in self.arrays})

    def load(self, index: int) -> Sample:
        """See `Part`."""
        source = self.name(index)
        return Sample(source, {a.spec.name: convert(a.read(index), a.spec, source) for a in self.arrays})


def cut_arrays(
    source: Path, stored: Mapping[str, Stored], specs: Sequence[InputSpec], kind: Kind = "array"
) -> ArrayPart:
    """Cut the arrays of one file into samples.

    Args:
        source: The file.
        stored: Input name -> array; has all inputs (`match_names`).
        specs: The inputs.
        kind: What the arrays are.

    Raises:
        DataError: An array has the wrong type or shape, holds nothing, or the arrays disagree on the number of samples.
    """
    axis = batch_axis(specs)
    options = [_options(stored[spec.name], spec, axis) for spec in specs]
    counts = {count for option in options for cut, count in option.items() if cut is not Cut.SHARED} or {1}
    for count in sorted(counts, reverse=True):
        cuts = [_first_cut(option, count) for option in options]
        arrays = tuple(CutArray(stored[s.name], s, cut) for s, cut in zip(specs, cuts, strict=True) if cut is not None)
        if None not in cuts and not (axis.stacked and len({array.shape[0] for array in arrays}) > 1):
            _check_sizes(arrays)
            return ArrayPart(source, arrays, count, kind)
    shapes = ", ".join(f"'{spec.name}' {shape_text(stored[spec.name].shape)}" for spec in specs)
    raise DataError(
        f"{source}: the arrays do not hold equally many samples: {shapes}.",
        "The first axis of every array is the samples.",
    )


def _check_sizes(arrays: Sequence[CutArray]) -> None:
    """Refuse samples that would fill the memory: what is stored may be sparse, what is read is not."""
    for array in arrays:
        size_bytes = math.prod(array.shape) * max(array.stored.dtype.itemsize, array.spec.dtype.itemsize)
        if size_bytes > _LARGEST_SAMPLE_BYTES:
            raise DataError(
                f"{array.stored.label} has samples of {size_bytes:,} bytes; one may have {_LARGEST_SAMPLE_BYTES:,}.",
                f"Its shape is {shape_text(array.stored.shape)}; is its first axis the samples?",
            )


def match_names(
    source: Path, arrays: Mapping[str, _Array], specs: Sequence[InputSpec]
) -> tuple[dict[str, _Array], str]:
    """Find the array of each input by name; forgive one array of any name for one input, and unnamed ones in order.

    Returns:
        Input name -> array, and a note for the user, or "".

    Raises:
        DataError: An input has no array.
    """
    wanted = [spec.name for spec in specs]
    found = list(arrays)
    if missing := [name for name in wanted if name not in arrays]:
        unnamed = [f"arr_{position}" for position in range(len(wanted))]  # numpy.savez(path, a, b) names them so
        if len(found) == len(wanted) and (len(wanted) == 1 or set(found) == set(unnamed)):
            order = found if len(wanted) == 1 else unnamed
            pairs = ", ".join(f"'{have}' is taken for input '{want}'" for have, want in zip(order, wanted, strict=True))
            return dict(zip(wanted, (arrays[name] for name in order), strict=True)), f"{source.name}: {pairs}."
        have = ", ".join(f"'{name}'" for name in found)
        raise DataError(
            f"{source}: no array for input '{missing[0]}'; there is {have}.",
            f"Name the arrays like the inputs: {', '.join(repr(name) for name in wanted)}.",
        )
    extra = [f"'{name}'" for name in found if name not in wanted]
    note = f"{source.name}: {', '.join(extra)} is no input of the model and is not used." if extra else ""
    return {name: arrays[name] for name in wanted}, note


def _first_cut(options: Mapping[Cut, int], count: int) -> Cut | None:
    return next((cut for cut, has in options.items() if cut is Cut.SHARED or has == count), None)


def _options(stored: Stored, spec: InputSpec, axis: BatchAxis) -> dict[Cut, int]:
    """The ways to cut an array for an input -> how many samples that gives, in the order of preference."""
    check_type(stored.label, stored.dtype, spec)
    options = possible_cuts(stored.shape, spec, axis)
    if not options:
        raise _wrong_shape(stored, spec, axis)
    if filled := {cut: count for cut, count in options.items() if count}:
        return filled
    raise DataError(f"{stored.label} holds no samples; its shape is {shape_text(stored.shape)}.", "Write it again.")


def possible_cuts(shape: tuple[int, ...], spec: InputSpec, axis: BatchAxis) -> dict[Cut, int]:
    """All ways in which an array of `shape` fits the input -> number of samples; pure.

    A size of 0 on a dynamic dimension is data, such as a past of no steps; on the axis of the samples it is none.
    """
    declared = spec.shape
    if not declared and not shape:
        return {Cut.SHARED: 1}
    options: dict[Cut, int] = {}
    one_by_one = bool(declared) and (axis.stacked or is_dynamic(declared[0]) or declared[0] == 1)
    if one_by_one and shape and fits(shape[1:], declared[1:]):
        options[Cut.ROWS] = shape[0]
    if shape and fits(shape[1:], declared):
        options[Cut.ITEMS] = shape[0]
    if fits(shape, declared) and not axis.stacked:
        options[Cut.WHOLE] = 1
    if one_by_one and fits(shape, declared[1:]):
        options[Cut.BARE] = 1
    return options


def _wrong_shape(stored: Stored, spec: InputSpec, axis: BatchAxis) -> DataError:
    message = f"{stored.label} has the shape {shape_text(stored.shape)}, which does not fit {spec}."
    rest = spec.shape[1:] if spec.rank else ()
    hint = f"The first axis is the samples: expected {shape_text(('samples', *rest))}."
    if len(stored.shape) >= 3:
        *front, a, b, c = stored.shape
        if possible_cuts((*front, c, a, b), spec, axis):
            hint = "It looks like channels last, but the input has channels first: save numpy.moveaxis(array, -1, -3)."
        elif possible_cuts((*front, b, c, a), spec, axis):
            hint = "It looks like channels first, but the input has channels last: save numpy.moveaxis(array, -3, -1)."
    return DataError(message, hint)
