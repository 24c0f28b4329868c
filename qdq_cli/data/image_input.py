"""Which input takes pictures, how it wants them, and whether a preprocessing can give it that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from qdq_cli.config.preprocess import IMAGENET, RAW, UNIT, Layout, Overrides, Preprocessing
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.preprocess_text import find_preprocessing
from qdq_cli.data.shapes import Dim, is_dynamic, option_text
from qdq_cli.process.errors import DataError, UsageError

_CHANNELS = (1, 3)
"""What a picture can be turned into; other numbers of channels have to be there."""

_MOST_CHANNELS = 64


@dataclass(frozen=True)
class ImageInput:
    """A model input that takes pictures.

    Attributes:
        spec: The input: rank 4 with the batch on axis 0, or rank 3 without a batch.
        layout: Order of the axes behind the batch: channels first (nchw) or last (nhwc).
        channels: 1 or 3, or as many as the pictures have.
        height, width: Pixels.
    """

    spec: InputSpec
    layout: Literal["nchw", "nhwc"]
    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture as fed: with a batch axis of 1 where the input has one."""
        inner = (self.height, self.width)
        image = (self.channels, *inner) if self.layout == "nchw" else (*inner, self.channels)
        return (1, *image) if self.spec.rank == 4 else image


def find_image_input(specs: Sequence[InputSpec], layout: Layout = "auto") -> ImageInput:
    """Find the input that takes pictures.

    Raises:
        DataError: The model has several inputs, or its input has no place for 1 or 3 channels.
        UsageError: The height, width or channels are dynamic; the hint is the option to type.
    """
    if len(specs) != 1:
        spec_names = [spec.name for spec in specs]
        names = ", ".join(f"'{name}'" for name in spec_names)
        raise DataError(
            f"Images can feed one input, but the model has {len(specs)}: {names}.",
            f"Give each its own: --calib {spec_names[0]}=images/ --calib {spec_names[1]}=FILE.npy, or a number for it; "
            "or a .npz whose arrays are named like the inputs.",
        )
    spec = specs[0]
    if spec.rank not in (3, 4) or spec.dtype.kind not in "fiuV":
        raise DataError(
            f"Images do not fit {spec}.", "Give calibration data for it as .npz or .npy arrays, first axis = samples."
        )
    found = _layout(spec, layout)
    height, width, channels = _sizes(spec, found)
    if not isinstance(channels, int) or not 1 <= channels <= _MOST_CHANNELS:
        raise _no_channels(spec, channels)
    if not isinstance(height, int) or not isinstance(width, int):
        raise UsageError(
            f"The height and width of {spec} are dynamic, so images cannot be resized to fit.",
            f"Say the size the model is used with, e.g. {_example(spec, found, channels)}.",
        )
    return ImageInput(spec, found, channels, height, width)


def is_picture(spec: InputSpec) -> bool:
    """Whether an input has the rank and the channels of pictures."""
    return spec.rank in (3, 4) and not {spec.shape[-1], spec.shape[-3]}.isdisjoint(_CHANNELS)


def assumed_preprocessing(image: ImageInput) -> Preprocessing:
    """What to use when nobody chose: imagenet for three channels, unit for one, raw where the input holds integers."""
    whole = image.spec.dtype.kind in "iu"
    preset = RAW if whole else IMAGENET if image.channels == 3 else UNIT
    return replace(preset, assumed=True)


def choose_preprocessing(choice: str | None, overrides: Overrides, specs: Sequence[InputSpec]) -> Preprocessing | None:
    """Turn `--preprocess` and the options on top of it into a record; None when none of them was given.

    Raises:
        UsageError: See `find_preprocessing` and `Preprocessing`.
        DataError: Only overrides were given, and the model takes no images.
    """
    if choice is not None:
        return find_preprocessing(choice).override(overrides)
    if not overrides.given():
        return None
    pictures = [spec for spec in specs if is_picture(spec)]
    colored = [spec for spec in pictures if 3 in (spec.shape[-1], spec.shape[-3])]
    chosen = next((each for each in (pictures, colored) if len(each) == 1), specs)
    target = find_image_input(chosen, overrides.layout or "auto")
    found = assumed_preprocessing(target).override(overrides)
    if target.channels > 1:
        _check_channels(found, target)  # said of arrays too, on which it would have no effect
    return found


def fit_preprocessing(preprocessing: Preprocessing, image: ImageInput) -> Preprocessing:
    """Settle what depends on the input (color and layout), and check that the rest agrees with it.

    Raises:
        UsageError: Three constants or a color order for one channel; fractions for an input of integers.
    """
    color = preprocessing.color
    if color == "auto" and image.channels in (1, 3, 4):
        color = "gray" if image.channels == 1 else "rgb"
    if image.channels == 1:
        _check_one_channel(preprocessing, image)
    else:
        _check_channels(preprocessing, image)
    if image.spec.dtype.kind in "iu":
        _check_whole(preprocessing, image)
    return replace(preprocessing, color=color, layout=image.layout)


def _layout(spec: InputSpec, layout: Layout) -> Literal["nchw", "nhwc"]:
    if layout != "auto":
        return layout
    first, middle, last = spec.shape[-3:]
    if first in _CHANNELS or last in _CHANNELS:
        return "nhwc" if last in _CHANNELS and first not in _CHANNELS else "nchw"
    small = isinstance(last, int) and all(last < dim for dim in (first, middle) if isinstance(dim, int))
    return "nhwc" if small and not (isinstance(first, int) and is_dynamic(middle)) else "nchw"


def _sizes(spec: InputSpec, layout: Literal["nchw", "nhwc"]) -> tuple[Dim, Dim, Dim]:
    """Height, width, channels."""
    a, b, c = spec.shape[-3:]
    return (b, c, a) if layout == "nchw" else (a, b, c)


def _no_channels(spec: InputSpec, channels: Dim) -> DataError | UsageError:
    if is_dynamic(channels):
        example = _example(spec, "nchw", 3)
        return UsageError(
            f"The number of channels of {spec} is dynamic, so images cannot be made to fit.",
            f"Say the shape the model is used with, e.g. {example}.",
        )
    return DataError(
        f"Images have up to {_MOST_CHANNELS} channels, but {spec} has {channels} where the channels are.",
        "Give arrays (.npz or .npy) instead, or --layout if the channels are on the other side.",
    )


def _example(spec: InputSpec, layout: Literal["nchw", "nhwc"], channels: int) -> str:
    sizes: list[Dim] = [channels, 224, 224] if layout == "nchw" else [224, 224, channels]
    kept = [dim if isinstance(dim, int) else size for dim, size in zip(spec.shape[-3:], sizes, strict=True)]
    batch = [dim if isinstance(dim, int) else 1 for dim in spec.shape[:-3]]
    return option_text(spec.name, (*batch, *kept))


def _check_one_channel(preprocessing: Preprocessing, image: ImageInput) -> None:
    where = f"but {image.spec} has one channel"
    if preprocessing.color in ("rgb", "bgr"):
        raise UsageError(f"Preprocessing color is {preprocessing.color}, {where}.", "Use --color gray.")
    for name in ("scale", "mean", "std", "fill"):
        if len(values := getattr(preprocessing, name)) > 1:
            raise UsageError(
                f"Preprocessing {preprocessing.name} has {len(values)} values for {name}, {where}.",
                "Give one value, or use a preset that is equal for all channels: --preprocess unit.",
            )


def _check_channels(preprocessing: Preprocessing, image: ImageInput) -> None:
    for name in ("scale", "mean", "std", "fill"):
        if len(values := getattr(preprocessing, name)) not in (1, image.channels):
            raise UsageError(
                f"Preprocessing {preprocessing.name} has {len(values)} values for {name}, but {image.spec} has "
                f"{image.channels} channels.",
                f"Give one value, or {image.channels}; a preset that is equal for all channels: --preprocess unit.",
            )
    if image.channels not in (3, 4) and preprocessing.color in ("rgb", "bgr"):
        raise UsageError(
            f"Preprocessing color is {preprocessing.color}, but {image.spec} has {image.channels} channels.",
            "Leave --color out: they are fed in the order of the file.",
        )
    if image.channels > 3 and preprocessing.color == "gray":
        raise UsageError(
            f"Preprocessing color is gray, but {image.spec} has {image.channels} channels.", "Leave --color out."
        )


def _check_whole(preprocessing: Preprocessing, image: ImageInput) -> None:
    """Integers are fed as they are: x minus a whole number, inside the type."""
    low, high = preprocessing.value_range()
    bounds = _integer_bounds(image.spec)
    steps = {*preprocessing.scale, *preprocessing.std} == {1.0} and all(m == int(m) for m in preprocessing.mean)
    if not steps or low < bounds[0] or high > bounds[1]:
        raise UsageError(
            f"Preprocessing {preprocessing.name} gives values {low:.4g} to {high:.4g} in fractions or out of the type, "
            f"but {image.spec} holds integers.",
            "Use --preprocess raw (0 to 255); for int8 add --mean 128.",
        )


def _integer_bounds(spec: InputSpec) -> tuple[int, int]:
    bits = spec.dtype.itemsize * 8
    return (0, 2**bits - 1) if spec.dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
