"""Pictures of other than one or three channels: with alpha, of CMYK, or of many bands, as satellites take them.

Pixels stay what the file holds, band by band: alpha is a channel like the others, and 16-bit values become 0..255 with
fractions, so that nothing of them is lost. TIFF files are read by tifffile where it is installed (the extra `tiff`);
Pillow knows no more than four bands.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdq_cli.config.preprocess import PIXEL_MAX, Preprocessing
from qdq_cli.data.blobs import Blob
from qdq_cli.data.image_input import ImageInput
from qdq_cli.data.images import apply_formula, opened_picture, resized
from qdq_cli.data.looks import Look
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.extras import install_line

if TYPE_CHECKING:
    from PIL import Image

Bands = NDArray[np.uint8] | NDArray[np.float32]
"""[H, W, C], of 0..255."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LARGEST_BYTES = 1 << 30
_LARGEST_16 = 65535.0
_SPREAD = 16

_ERRORS = (OSError, ValueError, TypeError, KeyError, IndexError, RuntimeError, MemoryError, EOFError, struct.error)
"""What tifffile raises for broken files, and for ways of packing that it needs another package for."""


def decode_bands(blob: Blob, channels: int) -> Bands:
    """Decode a picture with all of its channels.

    Raises:
        UnreadableSampleError: It cannot be read, or has another number of channels.
    """
    found = _with_tifffile(blob, channels) if _is_tiff(blob) else None
    if found is None:
        with opened_picture(blob) as image:
            found = _of_picture(image)
    if found.shape[2] != channels:
        hint = "" if found.shape[2] > 1 or not _is_tiff(blob) else f"; many bands need: {install_line('tiff')}"
        count = f"{found.shape[2]} channel{'' if found.shape[2] == 1 else 's'}"
        raise UnreadableSampleError(blob.label, f"it has {count}, and the input takes {channels}{hint}")
    return found


def _of_picture(image: Image.Image) -> Bands:
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if image.mode == "RGBX":
        image = image.convert("RGB")
    return _of_array(np.atleast_3d(np.asarray(image)))


def _is_tiff(blob: Blob) -> bool:
    try:
        with blob.open() as file:
            return file.read(4) in _TIFF
    except OSError as error:
        raise UnreadableSampleError(blob.label, error.strerror or str(error)) from error


def _with_tifffile(blob: Blob, channels: int) -> Bands | None:
    """Read a TIFF file; None where tifffile is not installed."""
    try:
        import tifffile
    except ImportError:
        return None
    try:
        with blob.open() as file, tifffile.TiffFile(file) as tiff:
            series = tiff.series[0]
            if math.prod(series.shape) * series.dtype.itemsize > _LARGEST_BYTES:
                raise ValueError(f"it has more than {_LARGEST_BYTES:,} bytes of pixels")
            array = np.squeeze(np.asarray(series.asarray()))
    except (*_ERRORS, tifffile.TiffFileError) as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UnreadableSampleError(blob.label, reason) from error
    array = array[:, :, None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise UnreadableSampleError(blob.label, f"its pixels have the shape {list(array.shape)}")
    first = array.shape[2] != channels and (array.shape[0] == channels or array.shape[0] < min(array.shape[1:]))
    try:
        return _of_array(np.moveaxis(array, 0, -1) if first else array)
    except ValueError as error:
        raise UnreadableSampleError(blob.label, str(error)) from error


def _of_array(array: NDArray[np.generic]) -> Bands:
    """Bring pixels to 0..255.

    Raises:
        ValueError: Nobody knows what is black and what is white in them.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array, np.uint8)
    if array.dtype == np.bool_:
        return np.ascontiguousarray(array, np.uint8) * np.uint8(PIXEL_MAX)
    if array.dtype == np.uint16:
        return np.asarray(array, np.float32) * np.float32(PIXEL_MAX / _LARGEST_16)
    raise ValueError(f"its pixels of {array.dtype.name} have no known range; save it with 8 or 16 bits")


def bands_array(bands: Bands, preprocessing: Preprocessing, target: ImageInput) -> NDArray[np.generic]:
    """Turn channels into what the input takes, each resized by itself.

    Args:
        bands: [H, W, C], as many channels as the input has.
        preprocessing: Fitted to `target`.
        target: The input.
    """
    from PIL import Image

    size = (target.width, target.height)
    planes = []
    for number in range(target.channels):
        fill = preprocessing.fill[number if len(preprocessing.fill) > 1 else 0]
        plane = Image.fromarray(np.ascontiguousarray(bands[:, :, number]))
        planes.append(np.asarray(resized(plane, replace(preprocessing, fill=(fill,)), size)))
    if preprocessing.color == "bgr":
        planes = [*planes[2::-1], *planes[3:]]
    values = apply_formula(np.stack(planes), preprocessing)
    if target.layout == "nhwc":
        values = values.transpose(1, 2, 0)
    return np.ascontiguousarray(values, target.spec.dtype).reshape(target.shape)


def look_at_bands(bands: Bands, folder: str = "") -> Look:
    """Look at some of the pixels, evenly spread; bands of instruments are not taken for label maps."""
    some = bands[:: max(1, bands.shape[0] // _SPREAD), :: max(1, bands.shape[1] // _SPREAD)]
    levels = np.bincount(np.rint(some).astype(np.int64).reshape(-1), minlength=256)
    return Look(levels, False, folder)
