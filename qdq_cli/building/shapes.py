"""The sizes of dynamic inputs: chosen by the user, one shape or a smallest, a usual and a largest one, or assumed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from qdq_cli.data.inputs import InputSpec, parse_input_shapes, with_shapes
from qdq_cli.data.shapes import Dim, Shape, is_dynamic
from qdq_cli.process.errors import UsageError
from qdq_cli.process.progress import Listener

SIDE = 224
"""Assumed height and width of a picture, as most classifiers are trained on."""

LENGTH = 16
"""Assumed size of any other open dimension."""

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """The sizes of one dynamic input.

    Args:
        smallest: Smallest shape that the engine takes.
        usual: The shape it is made for.
        largest: Largest shape.
        assumed: Whether some size of it is nobody's choice.
    """

    smallest: Sizes
    usual: Sizes
    largest: Sizes
    assumed: bool

    @property
    def is_fixed(self) -> bool:
        """Whether there is one shape only."""
        return self.smallest == self.largest

    @property
    def shapes(self) -> tuple[Sizes, Sizes, Sizes]:
        """Smallest, usual, largest."""
        return self.smallest, self.usual, self.largest

    def __str__(self) -> str:
        shown = (self.usual,) if self.is_fixed else self.shapes
        return "/".join("x".join(map(str, shape)) for shape in shown)


def noted_profiles(texts: Sequence[str], specs: Sequence[InputSpec], listener: Listener) -> dict[str, Profile]:
    """Return the sizes of every dynamic input, and tell of those that are nobody's choice.

    Raises:
        UsageError: As in `profiles_of`.
    """
    profiles = profiles_of(texts, specs)
    for name, profile in profiles.items():
        if profile.assumed:
            listener.note(f"Input '{name}' is dynamic and is built for {profile}; --input-shape chooses other sizes.")
    return profiles


def profiles_of(texts: Sequence[str], specs: Sequence[InputSpec]) -> dict[str, Profile]:
    """Return the sizes of every dynamic input, as `--input-shape` or nobody says.

    Args:
        texts: Values of `--input-shape`: `NAME:1x3x224x224`, or `NAME:MIN/OPT/MAX` with three such shapes.
        specs: The inputs of the model.

    Raises:
        UsageError: A text is no shape, does not fit its input, or its three shapes do not grow.
    """
    thirds = [_thirds(text) for text in texts]
    chosen = [_chosen([third[number] for third in thirds], specs) for number in range(3)]
    dynamic = [spec for spec in specs if any(map(is_dynamic, spec.shape))]
    batches = {spec.shape[0] for spec in dynamic if isinstance(spec.shape[0], str)}
    return {spec.name: _profile(spec, [shapes.get(spec.name) for shapes in chosen], batches) for spec in dynamic}


def _thirds(text: str) -> tuple[str, str, str]:
    """Read "NAME:MIN/OPT/MAX" as three texts with one shape each; one shape stands for all three."""
    name, colon, shapes = text.rpartition(":")
    parts = shapes.split("/")
    if len(parts) not in (1, 3):
        raise UsageError(
            f"--input-shape '{text}' gives {len(parts)} shapes; expected one, or the smallest, the usual and the "
            "largest.",
            "Write NAME:1x3x64x64/1x3x224x224/8x3x512x512.",
        )
    first, usual, last = (f"{name}{colon}{part}" for part in (parts * 3 if len(parts) == 1 else parts))
    return first, usual, last


def _chosen(texts: Sequence[str], specs: Sequence[InputSpec]) -> Mapping[str, Shape]:
    shapes = parse_input_shapes(texts, specs)
    with_shapes(specs, shapes)  # refuses what contradicts the model
    return shapes


def _profile(spec: InputSpec, chosen: Sequence[Shape | None], batches: Collection[Dim]) -> Profile:
    smallest, usual, largest = (_filled(spec, shape, batches) for shape in chosen)
    if not all(low <= middle <= high for low, middle, high in zip(smallest, usual, largest, strict=True)):
        raise UsageError(
            f"--input-shape gives input '{spec.name}' shapes that do not grow: "
            f"{Profile(smallest, usual, largest, assumed=False)}.",
            "Write the smallest, the usual and the largest shape, in this order.",
        )
    assumed = any(
        is_dynamic(dim) and axis > 0 and spec.shape[axis] not in batches
        for axis, dim in enumerate(chosen[1] or spec.shape)
    )
    return Profile(smallest, usual, largest, assumed)


def _filled(spec: InputSpec, chosen: Shape | None, batches: Collection[Dim]) -> Sizes:
    """Give every dimension that is still open a size; one that some input names as its batch is 1."""
    merged = [
        want if is_dynamic(have) else have for have, want in zip(spec.shape, chosen or spec.shape, strict=True)
    ]  # fmt: skip
    guess = SIDE if spec.rank == 4 else LENGTH
    return tuple(
        dim if isinstance(dim, int) else 1 if axis == 0 or spec.shape[axis] in batches else guess
        for axis, dim in enumerate(merged)
    )
