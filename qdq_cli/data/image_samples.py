"""Pictures as samples: image files, and arrays of 8-bit pixels that the user wants preprocessed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.array_samples import Stored
from qdq_cli.data.bands import Bands, bands_array, decode_bands, look_at_bands
from qdq_cli.data.blobs import Blob, expect_blobs
from qdq_cli.data.image_input import (
    ImageInput,
    assumed_preprocessing,
    find_image_input,
    fit_preprocessing,
)
from qdq_cli.data.images import decode, image_array, pixel_mode
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.looks import look_at
from qdq_cli.data.sample import Kind, Sample, content_digest
from qdq_cli.data.shapes import shape_text
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import any_of

if TYPE_CHECKING:
    from PIL import Image

_CHANNELS = (1, 3)


@dataclass(frozen=True)
class ImageSetup:
    """The input that takes pictures, and the preprocessing fitted to it."""

    target: ImageInput
    preprocessing: Preprocessing

    @property
    def in_bands(self) -> bool:
        """Whether pictures are taken with the channels that they have."""
        return self.target.channels not in _CHANNELS


def set_up_images(specs: Sequence[InputSpec], preprocessing: Preprocessing | None) -> ImageSetup:
    """Find the image input and fit the preprocessing to it, or the assumed one.

    Raises:
        DataError, UsageError: See `find_image_input` and `fit_preprocessing`.
    """
    target = find_image_input(specs, preprocessing.layout if preprocessing else "auto")
    return ImageSetup(target, fit_preprocessing(preprocessing or assumed_preprocessing(target), target))


@dataclass(frozen=True)
class ImagePart:
    """A list of image files, one sample each."""

    files: tuple[Blob, ...]
    setup: ImageSetup
    kind: Kind = "image"

    def __len__(self) -> int:
        return len(self.files)

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """See `Part`."""
        return (self.setup.target.shape,)

    def name(self, index: int) -> str:
        """See `Part`."""
        return self.files[index].label

    def size_bytes(self, index: int) -> int:
        """See `Part`."""
        return self.files[index].size_bytes()

    def identity(self, index: int) -> str:
        """See `Part`."""
        return blob_digest(self.files[index])

    def expect(self, indices: Sequence[int]) -> None:
        """Unpack these samples together where one by one would take long."""
        expect_blobs([self.files[index] for index in indices])

    def load(self, index: int) -> Sample:
        """See `Part`."""
        blob, setup = self.files[index], self.setup
        if setup.in_bands:
            return _sample(blob.label, decode_bands(blob, setup.target.channels), setup, blob.folder)
        return _sample(blob.label, decode(blob, pixel_mode(setup.preprocessing)), setup, blob.folder)


def blob_digest(blob: Blob) -> str:
    """Digest (hex) of a picture's file, not of its pixels: releases of Pillow decode some pictures differently.

    Raises:
        UnreadableSampleError: It cannot be read.
    """
    try:
        with blob.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableSampleError(blob.label, error.strerror or str(error)) from error


@dataclass(frozen=True)
class PixelPart:
    """An array of 8-bit pixels, RGB or gray: [samples, H, W, C], [samples, C, H, W], or one picture without samples."""

    source: Path
    stored: Stored
    setup: ImageSetup
    kind: Kind = "array"

    def __post_init__(self) -> None:
        shape = self.stored.shape
        if 0 in shape or len(shape) not in (3, 4) or (len(shape) == 4 and self._axis(shape[1:]) is None):
            raise DataError(
                f"{self.stored.label} has the shape {shape_text(shape)}, which is no stack of pictures.",
                f"Expected [samples, H, W, C] or [samples, C, H, W] with {self._channels_text()} channels.",
            )

    def __len__(self) -> int:
        return 1 if self._is_single() else self.stored.shape[0]

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """See `Part`."""
        return (self.setup.target.shape,)

    def name(self, index: int) -> str:
        """See `Part`."""
        return str(self.source) if self._is_single() else f"{self.source}[{index}]"

    def size_bytes(self, index: int) -> int:
        """See `Part`."""
        return math.prod(self.stored.shape if self._is_single() else self.stored.shape[1:])

    def identity(self, index: int) -> str:
        """See `Part`."""
        return content_digest({self.setup.target.spec.name: self._pixels(index)})

    def load(self, index: int) -> Sample:
        """See `Part`."""
        from PIL import Image

        pixels = self._pixels(index)
        if pixels.ndim == 3:
            axis = self._axis(pixels.shape)
            pixels = np.moveaxis(pixels, -1 if axis is None else axis, -1)
            pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
        if self.setup.in_bands:
            return _sample(self.name(index), np.ascontiguousarray(pixels), self.setup)
        image = Image.fromarray(np.ascontiguousarray(pixels)).convert(pixel_mode(self.setup.preprocessing))
        return _sample(self.name(index), image, self.setup)

    def _pixels(self, index: int) -> np.ndarray:
        return self.stored.whole() if self._is_single() else self.stored.item(index)

    def _is_single(self) -> bool:
        return len(self.stored.shape) == 3 and self._axis(self.stored.shape) is not None

    def _channels(self) -> tuple[int, ...]:
        return (self.setup.target.channels,) if self.setup.in_bands else _CHANNELS

    def _channels_text(self) -> str:
        return any_of([str(number) for number in self._channels()])

    def _axis(self, shape: tuple[int, ...]) -> int | None:
        """Where a picture of rank 3 has its channels: last if it can be, else first, else nowhere."""
        return next((axis for axis in (2, 0) if shape[axis] in self._channels()), None)


def _sample(source: str, image: Image.Image | Bands, setup: ImageSetup, folder: str = "") -> Sample:
    """Make the sample of a decoded picture, and look at it.

    Raises:
        UnreadableSampleError: The preprocessing would make it too large on the way.
    """
    try:
        if isinstance(image, np.ndarray):
            values, look = bands_array(image, setup.preprocessing, setup.target), look_at_bands(image, folder)
        else:
            values, look = image_array(image, setup.preprocessing, setup.target), look_at(image, folder)
    except ValueError as error:
        raise UnreadableSampleError(source, str(error)) from error
    return Sample(source, {setup.target.spec.name: values}, look)
