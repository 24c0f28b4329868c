"""The handwritten digits of scikit-learn as pictures: split, calibration images and test set.

The split keeps the order of the source, where the digits of one writer lie together: the last 600 digits are the
test set, so most of its writers are unknown to the networks.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 32
TEST_COUNT = 600
CALIBRATION_PER_CLASS = 12

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Digits:
    """Pictures `uint8` [N, 32, 32], ink bright on black, and their classes `int64` [N] in 0..9."""

    images: Array
    labels: Array


def load_split() -> tuple[Digits, Digits]:
    """Return the training digits (1,197) and the test digits (600)."""
    source = load_digits()
    images = np.stack([_enlarge(picture) for picture in source.images])
    labels = source.target.astype(np.int64)
    return (
        Digits(images[:-TEST_COUNT], labels[:-TEST_COUNT]),
        Digits(images[-TEST_COUNT:], labels[-TEST_COUNT:]),
    )


def write_samples(folder: Path) -> None:
    """Write the calibration images, taken from the training digits, and the test set below `folder`."""
    train, test = load_split()
    images = folder / "images" / "digits"
    images.mkdir(parents=True, exist_ok=True)
    for label in range(10):
        members = np.flatnonzero(train.labels == label)
        chosen = members[np.linspace(0, len(members) - 1, CALIBRATION_PER_CLASS).round().astype(int)]
        for number, index in enumerate(chosen):
            path = images / f"digit_{label}_{number:02d}.png"
            Image.fromarray(train.images[index]).save(path, optimize=True)
    (folder / "test").mkdir(exist_ok=True)
    labels = test.labels.astype(np.uint8)
    np.savez_compressed(folder / "test" / "digits.npz", inputs=test.images, labels=labels)


def _enlarge(picture: Array) -> Array:
    """Scale one digit [8, 8] of 0..16 to `uint8` [32, 32] of 0..255."""
    grey = Image.fromarray(np.round(picture * (255 / 16)).astype(np.uint8))
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
