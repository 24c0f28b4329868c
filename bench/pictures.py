"""Seeded pictures to run on; no more than NumPy is imported, so that a process that only infers stays what it is."""

from __future__ import annotations

import numpy as np

SIDE = 224


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Return `count` smooth pictures, float32 [count, 3, SIDE, SIDE], mean near 0 and deviation near 1."""
    generator = np.random.default_rng(seed)
    coarse = generator.standard_normal((count, 3, SIDE // 16, SIDE // 16), dtype=np.float32)
    smooth = coarse.repeat(16, axis=2).repeat(16, axis=3)
    grain = generator.standard_normal(smooth.shape, dtype=np.float32)
    return smooth * np.float32(0.95) + grain * np.float32(0.3)
