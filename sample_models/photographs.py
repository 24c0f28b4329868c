"""Patches of the two photographs of scikit-learn: regions, calibration images and test sets.

The test patches come from a vertical strip in the middle of each photograph; training and calibration patches from
the two sides, a margin away from the strip, so that no pixel is in both.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

NAMES = ("china", "flower")
TEST_COLUMNS = slice(224, 416)
SIDE_COLUMNS = (slice(0, 208), slice(432, 640))
CALIBRATION_PER_PHOTOGRAPH = 20

NOISE_SEED = 25
NOISE_SIGMA = 25.0  # of 255
NOISY_SIDE = 48
SHARP_SIDE = 64

Array = np.ndarray[Any, np.dtype[Any]]


def write_samples(folder: Path) -> None:
    """Write the calibration images and the test sets of both photograph models below `folder`."""
    noise = np.random.default_rng(NOISE_SEED)
    noisy = {name: add_noise(calibration_patches(name, NOISY_SIDE), noise) for name in NAMES}
    small = {name: halve(calibration_patches(name, SHARP_SIDE)) for name in NAMES}
    _write_images(folder / "images" / "noisy_patches", noisy)
    _write_images(folder / "images" / "small_patches", small)
    (folder / "test").mkdir(exist_ok=True)
    clean = test_patches(NOISY_SIDE)[::2]
    np.savez_compressed(folder / "test" / "noisy_patches.npz", inputs=add_noise(clean, noise), targets=clean)
    sharp = test_patches(SHARP_SIDE)
    np.savez_compressed(folder / "test" / "small_patches.npz", inputs=halve(sharp), targets=sharp)


def training_regions() -> list[Array]:
    """Return what training may see: four pictures `uint8` [427, 208, 3]."""
    return [photograph[:, columns].copy() for photograph in _photographs().values() for columns in SIDE_COLUMNS]


def calibration_patches(name: str, side: int) -> Array:
    """Return 20 patches `uint8` [20, side, side, 3] of one photograph, evenly spread over its training regions."""
    photograph = _photographs()[name]
    patches = np.concatenate([_tiles(photograph[:, columns], side) for columns in SIDE_COLUMNS])
    return patches[np.linspace(0, len(patches) - 1, CALIBRATION_PER_PHOTOGRAPH).round().astype(int)]


def test_patches(side: int) -> Array:
    """Return all patches `uint8` [N, side, side, 3] of the test strips."""
    return np.concatenate([_tiles(photograph[:, TEST_COLUMNS], side) for photograph in _photographs().values()])


def add_noise(patches: Array, noise: np.random.Generator) -> Array:
    """Add white Gaussian noise to `uint8` patches; the sums are rounded and saturated."""
    disturbed = patches + noise.normal(0, NOISE_SIGMA, patches.shape)
    return np.clip(np.round(disturbed), 0, 255).astype(np.uint8)


def halve(patches: Array) -> Array:
    """Replace each 2x2 block of `uint8` patches [N, H, W, 3] by its rounded mean: [N, H / 2, W / 2, 3]."""
    count, height, width, _ = patches.shape
    blocks = patches.reshape(count, height // 2, 2, width // 2, 2, 3).astype(np.float64)
    return np.round(blocks.mean(axis=(2, 4))).astype(np.uint8)


def _photographs() -> dict[str, Array]:
    return dict(zip(NAMES, load_sample_images().images, strict=True))


def _tiles(picture: Array, side: int) -> Array:
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    whole = picture[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return whole.swapaxes(1, 2).reshape(-1, side, side, 3)


def _write_images(folder: Path, patches: dict[str, Array]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pictures in patches.items():
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / f"{name}_{number:02d}.png", optimize=True)
