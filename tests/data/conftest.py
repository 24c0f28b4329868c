from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.shapes import Shape

SpecMaker = Callable[..., InputSpec]
ImageWriter = Callable[..., Path]


@pytest.fixture
def spec() -> SpecMaker:
    """Make an InputSpec: spec("x", (None, 3, 8, 8)) is float32."""

    def make(name: str, shape: Shape, dtype: object = np.float32) -> InputSpec:
        return InputSpec(name, np.dtype(dtype), shape)

    return make


@pytest.fixture
def pixels() -> np.ndarray:
    """A picture of 6 rows and 10 columns in which no two pixels or channels are equal."""
    return np.random.default_rng(0).permutation(180).astype(np.uint8).reshape(6, 10, 3)


@pytest.fixture
def write_image(tmp_path: Path, pixels: np.ndarray) -> ImageWriter:
    """Write a picture below tmp_path and return its path; png keeps the pixels exactly."""

    def write(name: str, array: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if array is None else array).save(path)
        return path

    return write
