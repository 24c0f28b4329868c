"""The table of several types at once: what is common to all of them is that of their whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qdq_cli.config.forms import Form, Gpu, QuantType, TensorRT, WeightForm
from qdq_cli.placement.target import Build, BuildsOf, ReleaseOf, Target
from qdq_cli.screen.sentences import any_of


def of_types(parts: Sequence[Target]) -> Target:
    """Return the table of a target for several types.

    Args:
        parts: The table of each; the first is of all operators that no other type is asked for.
    """
    first = parts[0]
    integers = next((part for part in parts if part.type is QuantType.INT8), first)  # it knows the most operators
    return replace(
        first,
        parts=tuple(parts),
        operators=integers.operators,
        predictor=integers.predictor,
        seconds=integers.seconds,
        lowest_opset=max(part.lowest_opset for part in parts),
        forms=(Form.PAIRS,),
        gpus=_common(parts),
        release=None if first.release is None else _release(parts),
        builds=None if first.builds is None else _builds(parts),
    )


def _common(parts: Sequence[Target]) -> tuple[Gpu, ...]:
    """Return the GPUs that have units for every type; a table that names none says nothing."""
    named = [part.gpus for part in parts if part.gpus]
    return tuple(gpu for gpu in Gpu if named and all(gpu in gpus for gpus in named))


def _release(parts: Sequence[Target]) -> ReleaseOf:
    order = list(TensorRT)

    def release(opset: int, *, half: bool, weights: WeightForm, asked: TensorRT | None) -> TensorRT:
        found = [
            part.release(opset, half=half, weights=WeightForm.INT8 if part.weights_alone else weights, asked=asked)
            for part in reversed(parts)  # what names a type that is lacking comes before what the opset needs
            if part.release is not None
        ]
        return max(found, key=order.index)

    return release


def _builds(parts: Sequence[Target]) -> BuildsOf:
    titles = [part.type_title for part in parts if not part.weights_alone]

    def builds(oldest: TensorRT, *, half: bool, asked: TensorRT | None) -> tuple[Build, ...]:
        each = [part.builds(oldest, half=half, asked=asked) for part in parts if part.builds is not None]
        return tuple(
            replace(alike[0], command=_with_every_flag(alike), note=_note(alike[0].note, titles))
            for alike in zip(*each, strict=True)
        )

    return builds


def _note(note: str, titles: Sequence[str]) -> str:
    """Write a note about what is computed in floats, whose first sentence is about one of the types, about all."""
    _, runs, rest = note.partition(" runs in ")
    return f"What is not {any_of(titles)} runs in {rest}" if runs and titles else note


def _with_every_flag(alike: Sequence[Build]) -> str:
    """Write one command with the flags of all."""
    words = dict.fromkeys(word for build in alike for word in build.command.split(" "))
    return " ".join(words)
