"""Pictures: decode a file to 8-bit pixels, resize them, and apply the formula of a preprocessing.

What decoding does, once and for all: EXIF orientation is honoured (a picture is taken the way people see it); an alpha
channel is dropped; palettes and CMYK become RGB; of 16-bit pixels the high byte is kept; of animated or multi-page
files the first picture is taken. Pillow is imported only when a picture is opened.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdq_cli.config.data import PICTURE_ENDINGS
from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.blobs import Blob, FileBlob
from qdq_cli.data.image_input import ImageInput
from qdq_cli.data.unreadable import UnreadableSampleError

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset(PICTURE_ENDINGS)
"""Files taken for pictures, in lower case."""

_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM")
"""What Pillow may find in them whatever they are called; not, say, PostScript, which starts another program."""

_EXIF_ORIENTATION = 0x0112

_LARGE_PIXELS = 1 << 25
_LARGE = threading.Lock()

_LOSSLESS_SIDE = 64
_MOST_SCALED_PIXELS = 1 << 27
"""Of a picture on its way to the center that is cut out: 400 MB."""

_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, RuntimeError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's decoders raise for broken files; most are slips of a decoder that trusted a field."""


def decode(source: Path | Blob, mode: str) -> Image.Image:
    """Decode a picture.

    Args:
        source: The file, or the member of an archive.
        mode: "RGB" or "L" (gray, ITU-R 601-2 luma).

    Raises:
        UnreadableSampleError: The file is missing, broken, no picture, too large, or has pixels without a known range.
    """
    with opened_picture(FileBlob(source) if isinstance(source, Path) else source) as image:
        pixels = _eight_bits(image)
        return pixels if pixels.mode == mode else pixels.convert(mode)


@contextmanager
def opened_picture(blob: Blob) -> Iterator[Image.Image]:
    """Open a picture the way people see it, its pixels as they are; what goes wrong with them is told of the picture.

    Raises:
        UnreadableSampleError: As in `decode`.
    """
    from PIL import Image, ImageOps

    try:
        with (
            _quiet_pillow(),
            blob.open() as file,
            Image.open(file, formats=_FORMATS) as image,
            _one_at_a_time(image),
        ):
            image.load()
            _check_range(image)
            yield ImageOps.exif_transpose(image) if _is_turned(image) else image
    except Image.DecompressionBombError as error:
        raise UnreadableSampleError(blob.label, "it has more pixels than Pillow's limit allows") from error
    except _DECODE_ERRORS as error:
        raise UnreadableSampleError(blob.label, _reason(error, blob)) from error


def _one_at_a_time(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """Let no two very large pictures be in memory at once: one takes several hundred megabytes while it is decoded."""
    return _LARGE if image.width * image.height > _LARGE_PIXELS else contextlib.nullcontext()


def image_array(image: Image.Image, preprocessing: Preprocessing, target: ImageInput) -> np.ndarray:
    """Turn a decoded picture (mode "RGB", or "L" for gray) into what the input takes, of shape `target.shape`.

    `preprocessing` is fitted to `target` (`fit_preprocessing`).
    """
    pixels = np.asarray(resized(image, preprocessing, (target.width, target.height)))
    planes = pixels.reshape(target.height, target.width, -1).transpose(2, 0, 1)
    if preprocessing.color == "bgr":
        planes = planes[::-1]
    elif len(planes) < target.channels:
        planes = np.repeat(planes, target.channels, axis=0)
    values = apply_formula(planes, preprocessing)
    if target.layout == "nhwc":
        values = values.transpose(1, 2, 0)
    return np.ascontiguousarray(values, target.spec.dtype).reshape(target.shape)


def thumbnail(pixels: np.ndarray, longest: int) -> tuple[bytes, tuple[int, int]]:
    """Make a small picture to look at: a PNG of the pixels themselves where it is tiny, else a JPEG.

    Args:
        pixels: [H, W, 1 or 3] of 8 bits.
        longest: Most pixels along a side.

    Returns:
        The bytes of the file, width and height.
    """
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
    image.thumbnail((longest, longest))
    file = io.BytesIO()
    image.save(file, "PNG" if max(image.size) <= _LOSSLESS_SIDE else "JPEG", quality=90)
    return file.getvalue(), image.size


def pixel_mode(preprocessing: Preprocessing) -> str:
    """Pillow's mode for the pixels a fitted preprocessing starts from."""
    return "L" if preprocessing.color == "gray" else "RGB"


def apply_formula(planes: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """y = (x * scale - mean) / std in float32, one channel after the other: [C, H, W] -> contiguous [C, H, W].

    Neutral steps are left out, which changes no bit; whole planes in place are several times faster than broadcasting
    over a last axis of three.
    """
    values = np.ascontiguousarray(planes).astype(np.float32)
    constants = (
        np.broadcast_to(np.asarray(c, np.float32), len(values))
        for c in (preprocessing.scale, preprocessing.mean, preprocessing.std)
    )
    for plane, scale, mean, std in zip(values, *constants, strict=True):
        if scale != 1:
            np.multiply(plane, scale, out=plane)
        if mean != 0:
            np.subtract(plane, mean, out=plane)
        if std != 1:
            np.divide(plane, std, out=plane)
    return values


def resized(image: Image.Image, preprocessing: Preprocessing, size: tuple[int, int]) -> Image.Image:
    """Give a picture the size of the input, as the preprocessing says."""
    if image.size == size:
        return image
    if preprocessing.resize == "crop":
        return _cover(image, preprocessing, size)
    if preprocessing.resize == "pad":
        return _letterbox(image, preprocessing, size)
    return image.resize(size, _filter(preprocessing))


def _cover(image: Image.Image, preprocessing: Preprocessing, size: tuple[int, int]) -> Image.Image:
    """Scale so that the picture covers the size (divided by the crop share), then cut out the center.

    Rounding is torchvision's: the tighter side exact, the other cut to whole pixels, the offset rounded to even.
    """
    shares = [(int(size[axis] / preprocessing.crop), image.size[axis]) for axis in (0, 1)]
    if preprocessing.shorter is not None:
        shares = [(preprocessing.shorter, min(image.size)), (size[0], image.width), (size[1], image.height)]
    wanted, found = max(shares, key=lambda share: Fraction(*share))
    width, height = (wanted * side // found for side in image.size)
    if width * height > _MOST_SCALED_PIXELS:
        raise ValueError(f"it would be scaled to {width:,} x {height:,} pixels before its center is cut out")
    left, top = round((width - size[0]) / 2), round((height - size[1]) / 2)
    scaled = image.resize((width, height), _filter(preprocessing))
    return scaled.crop((left, top, left + size[0], top + size[1]))


def _letterbox(image: Image.Image, preprocessing: Preprocessing, size: tuple[int, int]) -> Image.Image:
    """Scale so that the picture fits inside, whole pixels rounded down, and fill up the rest."""
    from PIL import Image

    ratio = min(size[1] / image.height, size[0] / image.width)
    width, height = max(1, int(image.width * ratio)), max(1, int(image.height * ratio))
    fill = tuple(int(value) for value in preprocessing.fill)
    if preprocessing.color == "bgr":
        fill = fill[::-1]
    color = fill[0] if image.mode in ("L", "F") else (fill * 3)[:3]
    canvas = Image.new(image.mode, size, color)
    corner = (0, 0) if preprocessing.position == "topleft" else ((size[0] - width) // 2, (size[1] - height) // 2)
    canvas.paste(image.resize((width, height), _filter(preprocessing)), corner)
    return canvas


def _filter(preprocessing: Preprocessing) -> Image.Resampling:
    from PIL import Image

    return Image.Resampling[preprocessing.interpolation.upper()]


def _check_range(image: Image.Image) -> None:
    """Refuse 32-bit pixels: what is black and what is white is not in the file."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError("its 32-bit pixels have no known range; save it with 8 or 16 bits")


def _is_turned(image: Image.Image) -> bool:
    """Whether EXIF says that the picture is not upright; broken EXIF does not spoil a good picture."""
    try:
        return image.getexif().get(_EXIF_ORIENTATION, 1) in range(2, 9)
    except _DECODE_ERRORS:
        return False


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring pixels to a mode whose conversion to RGB is right and silent."""
    from PIL import Image

    if image.mode.startswith("I"):
        pixels = np.asarray(image)  # not of int64, which takes eight bytes a pixel
        return Image.fromarray((np.clip(pixels, 0, 65535).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("P", "PA") and "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _reason(error: BaseException, blob: Blob) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if type(error).__name__ == "UnidentifiedImageError":
        return "the file is empty" if _is_empty(blob) else "its content is no known picture format"
    return str(error).rstrip(".") or type(error).__name__


def _is_empty(blob: Blob) -> bool:
    with blob.open() as file:
        return not file.read(1)


class _Quiet:
    """Silences Pillow's warnings while any thread is decoding; `catch_warnings` alone is not safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._caught = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._caught.__exit__(None, None, None)


_QUIET = _Quiet()


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()
