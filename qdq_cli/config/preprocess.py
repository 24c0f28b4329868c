"""Preprocessing: the record that says how the pixels of a picture become the values of a model input, and its presets.

For every channel, with x the pixel value 0..255 after resizing:

    y = (x * scale - mean) / std        in float32, in this order

`mean` and `std` are therefore in the units after `scale`: 0..1 on top of the presets `imagenet`, `unit` and `signed`
(their scale is 1/255), 0..255 on top of `raw`. Constants are in the order of the channels as fed: with `bgr`, blue
first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import option
from qdq_cli.process.errors import UsageError

Color = Literal["auto", "rgb", "bgr", "gray"]
Resize = Literal["stretch", "crop", "pad"]
Position = Literal["center", "topleft"]
Interpolation = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
Layout = Literal["auto", "nchw", "nhwc"]
Constants = tuple[float, ...]

CHOICES: dict[str, tuple[str, ...]] = {
    "color": get_args(Color),
    "resize": get_args(Resize),
    "position": get_args(Position),
    "interpolation": get_args(Interpolation),
    "layout": get_args(Layout),
}
"""The allowed words of each field that takes a word."""

PIXEL_MAX = 255.0

_LARGEST = 1e15
"""Constants are finite in float32, and so is what they make of pixels: 255 * 1e15 / 1e-15."""

_SMALLEST_CROP = 0.01
_LONGEST = 1 << 16


def constants(text: str) -> Constants:
    """Parse one number, or one a channel with commas between: `0.5` or `0.485,0.456,0.406`.

    Raises:
        UsageError: The text is something else.
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise UsageError(f"'{text}' is not a number, or one a channel (0.485,0.456,0.406).")
    return values


def _constants_field(text: str) -> Any:
    return option(None, text, metavar="X[,X,X]", parse=constants)


@dataclass(frozen=True)
class Overrides(Checked):
    """Fields to replace in a preprocessing; None keeps what is there. Meanings: `Preprocessing`."""

    scale: Constants | None = _constants_field("Factor on pixel values 0..255, before mean and std.")
    mean: Constants | None = _constants_field("Subtracted after the preset's scale (its units: 0..1; raw: 0..255).")
    std: Constants | None = _constants_field("Divides after the mean.")
    color: Color | None = option(None, "Channel order the model was trained on.")
    resize: Resize | None = option(None, "How a picture gets the input's size.")
    fill: Constants | None = _constants_field("Pixel value 0..255 that --resize pad fills with.")
    position: Position | None = option(None, "Where --resize pad puts the picture.")
    crop: float | None = None
    shorter: int | None = None
    interpolation: Interpolation | None = None
    layout: Layout | None = option(None, "Axis order of the model's input.")

    @classmethod
    def called(cls, field: str) -> str:
        """Return what sentences call a field: most are read from a file of the user's, who knows no records."""
        return f"Preprocessing {field}"

    def given(self) -> dict[str, Any]:
        """The fields that are not None, in the order of declaration."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}


@dataclass(frozen=True)
class Preprocessing(Checked):
    """How a picture becomes an input. The size always comes from the model's input (or `--input-shape`).

    Attributes:
        name: What people call it: a preset, a file name, with "+field" for overrides.
        scale, mean, std: Constants of y = (x * scale - mean) / std, one for all channels or one a channel.
        color: Channel order fed. `auto` is rgb for three channels and gray for one; `gray` on a three-channel input
            feeds three equal channels. Gray is ITU-R 601-2 luma.
        resize: `stretch` to the size without keeping the aspect; `crop`: scale to cover, then cut out the center;
            `pad`: scale to fit inside, then fill up. A picture that already has the input's size is left as it is.
        fill: Pixel value (0..255) of the padding.
        position: Where `pad` puts the picture; `topleft` pads right and bottom only.
        crop: Share of the scaled picture that `crop` keeps along its tighter side: 0.875 at 224 scales to 256 first.
        shorter: Pixels `crop` scales the shorter side to; replaces `crop` (the share) when given.
        interpolation: Resampling; all but `nearest` average over the source area when shrinking.
        layout: Axis order of the input; `auto` looks where the model has 1 or 3 channels.
        assumed: Nobody chose it. Not part of equality or of the JSON text.
    """

    name: str = "custom"
    scale: Constants = (1.0,)
    mean: Constants = (0.0,)
    std: Constants = (1.0,)
    color: Color = "auto"
    resize: Resize = "stretch"
    fill: Constants = (114.0,)
    position: Position = "center"
    crop: float = 1.0
    shorter: int | None = None
    interpolation: Interpolation = "bilinear"
    layout: Layout = "auto"
    assumed: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scale", "mean", "std", "fill"):
            _check_constants(name, getattr(self, name))
        _check_values(self)
        _check_units(self)

    @classmethod
    def called(cls, field: str) -> str:
        """Return what sentences call a field."""
        return f"Preprocessing {field}"

    def override(self, changes: Overrides) -> Preprocessing:
        """Replace the given fields; "+mean" and the like is added to the name.

        Changing between rgb and bgr reverses the constants that are kept, because constants are in the order fed: the
        imagenet preset with color bgr takes the mean of blue from the first channel.
        """
        given = changes.given()
        if not given:
            return self
        kept = self._reversed() if _swaps(self.color, changes.color) else self
        if "crop" in given:
            given.setdefault("shorter", None)
        return replace(kept, name="+".join([self.name, *changes.given()]), **given)

    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value any pixel can become, over all channels."""
        ends = [
            (x * scale - mean) / std
            for scale, mean, std in zip(*_alike(self.scale, self.mean, self.std), strict=True)
            for x in (0.0, PIXEL_MAX)
        ]
        return min(ends), max(ends)

    def describe(self) -> str:
        """One line for people, e.g. "unit: auto, stretch bilinear, x * 1/255, values 0 to 1, layout auto"."""
        low, high = self.value_range()
        parts = [self.color, self._resize_text(), self._formula_text(), f"values {low:.4g} to {high:.4g}"]
        return f"{self.name}: " + ", ".join([*parts, f"layout {self.layout}"])

    def _resize_text(self) -> str:
        details = {
            "stretch": "",
            "crop": f" {self.crop * 100:.4g} %" if self.shorter is None else f" from shorter side {self.shorter}",
            "pad": f" {self.position} with {_numbers_text(self.fill)}",
        }
        return f"{self.resize}{details[self.resize]} {self.interpolation}"

    def _formula_text(self) -> str:
        text = "x" if self.scale == (1.0,) else f"x * {_numbers_text(self.scale)}"
        if any(self.mean):
            text += f" - {_numbers_text(self.mean)}"
        return text if set(self.std) == {1.0} else f"({text}) / {_numbers_text(self.std)}"

    def _reversed(self) -> Preprocessing:
        names = ("scale", "mean", "std", "fill")  # a fourth channel, such as alpha, stays where it is
        return replace(self, **{name: (old := getattr(self, name))[2::-1] + old[3:] for name in names})


def _swaps(old: Color, new: Color | None) -> bool:
    return new in ("rgb", "bgr", "auto") and (old == "bgr") != (new == "bgr")


def _check_constants(name: str, values: Constants) -> None:
    if not values:
        raise UsageError(f"Preprocessing {name} holds no value; expected one, or one for each channel.")
    if not all(abs(value) <= _LARGEST for value in values):
        raise UsageError(
            f"Preprocessing {name} is {_numbers_text(values)}; expected finite numbers up to {_LARGEST:.0e}."
        )
    if name in ("scale", "std") and any(0 < abs(value) < 1 / _LARGEST for value in values):
        raise UsageError(f"Preprocessing {name} is {_numbers_text(values)}; expected {1 / _LARGEST:.0e} or more.")


def _check_values(record: Preprocessing) -> None:
    rules = (
        ("std", min(record.std) > 0, "numbers above 0"),
        ("scale", all(record.scale), "numbers other than 0"),
        (
            "fill",
            all(0 <= value <= PIXEL_MAX and value == int(value) for value in record.fill),
            "whole numbers 0 to 255",
        ),
        ("crop", _SMALLEST_CROP <= record.crop <= 1, f"a share of {_SMALLEST_CROP} to 1 (0.875 keeps 87.5 %)"),
        ("shorter", record.shorter is None or 1 <= record.shorter <= _LONGEST, f"1 to {_LONGEST} pixels"),
    )
    for name, holds, expected in rules:
        if not holds:
            raise UsageError(f"Preprocessing {name} is {_value_text(getattr(record, name))}; expected {expected}.")


def _check_units(record: Preprocessing) -> None:
    """Refuse a mean no pixel can reach: it was meant for pixels scaled otherwise, and would calibrate nonsense."""
    for scale, mean in zip(*_alike(record.scale, record.mean), strict=True):
        reach = PIXEL_MAX * abs(scale)
        if abs(mean) > reach * (1 + 1e-6):
            raise UsageError(
                f"Preprocessing mean {mean:.6g} lies outside of the scaled pixels, whose largest is {reach:.6g}.",
                "mean and std are in the units after scale: for constants in 0..255 start from the preset raw.",
            )


def _alike(*constants: Constants) -> tuple[Constants, ...]:
    """Constants of one length: those of one number for each channel, as far as all have one."""
    most = max(map(len, constants))
    return tuple(values * most if len(values) == 1 else (*values, *values[-1:] * most)[:most] for values in constants)


def _value_text(value: object) -> str:
    return _numbers_text(value) if isinstance(value, tuple) else str(value)


def _numbers_text(values: Constants) -> str:
    texts = [_number_text(value) for value in values]
    return texts[0] if len(set(values)) == 1 else "[" + " ".join(texts) + "]"


def _number_text(value: float) -> str:
    """Write n/255 as such: it is what people think of, and 0.00392157 is not."""
    for whole in (1, 2):
        if value == whole / PIXEL_MAX:
            return f"{whole}/255"
    return f"{value:.6g}"


IMAGENET = Preprocessing(
    name="imagenet",
    scale=(1 / 255,),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize="crop",
    crop=0.875,
)
UNIT = Preprocessing(name="unit", scale=(1 / 255,))
SIGNED = Preprocessing(name="signed", scale=(1 / 255,), mean=(0.5,), std=(0.5,))
RAW = Preprocessing(name="raw")

YOLO = Preprocessing(name="yolov8", scale=(1 / 255,), resize="pad")
YOLOX = Preprocessing(name="yolox", color="bgr", resize="pad", position="topleft")
RTDETR = Preprocessing(name="rtdetr", scale=(1 / 255,))
CLIP = Preprocessing(
    name="clip",
    scale=(1 / 255,),
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    resize="crop",
    interpolation="bicubic",
)

EXPORTERS = (
    *(replace(YOLO, name=name) for name in ("yolov5", "yolov8", "yolo11")),
    YOLOX,
    RTDETR,
    CLIP,
    replace(SIGNED, name="vit"),
    replace(IMAGENET, name="paddle"),
)
"""What the usual exporters' own programs do with a picture.

Sources: yolov5 `utils/augmentations.py` and ultralytics `data/augment.py` (letterbox, 114); YOLOX
`data/data_augment.py` (preproc: BGR of 0..255, padded at the right and the bottom); ultralytics
`models/rtdetr/predict.py` (stretched); openai/CLIP `clip/clip.py` (_transform); google/vit-base-patch16-224
`preprocessor_config.json`; PaddleClas `deploy/configs/inference_cls.yaml`.
"""

PRESETS = {preset.name: preset for preset in (IMAGENET, UNIT, SIGNED, RAW, *EXPORTERS)}
"""Name -> preset: torchvision's ImageNet constants; 0..1; -1..1; 0..255; those of exporters."""
