"""One calibration sample, and what every kind of source offers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from qdq_cli.data.looks import Look

Kind = Literal["image", "array", "tensor"]


@dataclass(frozen=True, eq=False)
class Sample:
    """Everything the model needs for one run of one sample.

    Attributes:
        source: The file it came from, as users know it; "calib.npz[3]" is the fourth sample of a file.
        arrays: Input name -> array, of the input's type, contiguous, with the batch axis in place.
        look: What the picture looks like that it was made from; None where it was none.
    """

    source: str
    arrays: Mapping[str, np.ndarray]
    look: Look | None = None


class Part(Protocol):
    """Samples of one source. Methods are safe for threads; nothing but names and headers is in memory."""

    @property
    def kind(self) -> Kind:
        """What the samples are made from."""
        ...

    def __len__(self) -> int: ...

    def shapes(self, index: int) -> tuple[tuple[int, ...], ...]:
        """Shape of each input's array in sample `index`, in the order of the inputs; reads nothing."""
        ...

    def name(self, index: int) -> str:
        """The `source` of sample `index`; reads nothing."""
        ...

    def size_bytes(self, index: int) -> int:
        """What is stored of sample `index`, without reading it; samples that differ in it differ in identity."""
        ...

    def identity(self, index: int) -> str:
        """Digest (hex) of what is stored of sample `index`, whatever it is called and wherever it lies.

        Raises:
            DataError: It cannot be read; UnreadableSampleError for a picture.
        """
        ...

    def load(self, index: int) -> Sample:
        """Read sample `index`.

        Raises:
            DataError: It cannot be read, or its values do not fit; UnreadableSampleError for a picture.
        """
        ...


def content_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) over names, types, shapes and little-endian bytes of arrays, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        if array.dtype.hasobject:
            digest.update(json.dumps([str(text) for text in array.ravel()]).encode())
        else:
            ordered = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(np.ascontiguousarray(ordered).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
