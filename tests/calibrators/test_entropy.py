"""The entropy search against a slow plain version of the published algorithm (rules, section 5.2)."""

import math

import numpy as np
import pytest

from calibrators import Histogram, ParameterError, entropy
from calibrators.methods.divergence import BINS
from calibrators.methods.entropy import _window, divergences, resample
from tests.calibrators.plain import plain_divergence

LEVELS = 128


def published(counts: list[float], i: int) -> float:
    """One candidate: 128 groups over i bins, and bin 0 read as bin 1."""
    return plain_divergence([counts[1], *counts[1:]], [math.ceil(group * i / LEVELS) for group in range(LEVELS + 1)])


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.observe(np.asarray(values, np.float32))
    return histogram


def distributions() -> list[np.ndarray]:
    random = np.random.default_rng(2)
    return [
        random.exponential(size=20_000),
        np.maximum(random.normal(size=20_000), 0.0),
        np.append(random.normal(size=5_000), 40.0),
        random.uniform(size=3_000),
        random.standard_t(3.0, 300),
        np.array([0.0, 0.0, 1.5]),
    ]


@pytest.mark.parametrize("number", range(len(distributions())))
def test_divergences_equal_the_plain_version(number: int) -> None:
    histogram = histogram_of(distributions()[number])
    counts = resample(histogram.magnitudes(), histogram.amax / histogram.bin_width)
    some = [*range(128, 140), 255, 256, 257, 511, 640, 900, 1023, 1500, 1999, 2046, 2047, 2048]
    fast = divergences(counts, LEVELS, BINS)
    assert fast.shape == (BINS - LEVELS + 1,)
    for i in some:
        plain = published(counts.tolist(), i)
        assert fast[i - LEVELS] == pytest.approx(plain, rel=1e-9, abs=1e-12)


def test_part_of_the_candidates_equals_all_of_them() -> None:
    histogram = histogram_of(distributions()[0])
    counts = resample(histogram.magnitudes(), histogram.amax / histogram.bin_width)
    assert np.array_equal(divergences(counts, 300, 700), divergences(counts, LEVELS, BINS)[300 - 128 : 701 - 128])


@pytest.mark.parametrize("seed", range(3))
def test_the_search_takes_the_first_smallest_divergence_of_the_plain_version(seed: int) -> None:
    random = np.random.default_rng(seed)
    histogram = histogram_of(random.uniform(size=2_000) + random.uniform(size=2_000))
    top = histogram.amax / histogram.bin_width
    counts = resample(histogram.magnitudes(), top).tolist()
    first, last = _window(histogram, top, 1.5)
    assert last - first > 20
    plain = {i: published(counts, i) for i in range(first, last + 1)}
    best = min(plain, key=lambda i: plain[i])
    assert entropy(histogram).amax == (1.0 if best == BINS else (best - 0.5) / BINS) * histogram.amax


@pytest.mark.parametrize("top", [2048.0, 2048.5, 3000.25, 4095.999])
def test_resampling_keeps_mass_and_gaps(top: float) -> None:
    random = np.random.default_rng(int(top))
    magnitudes = np.zeros(4096, np.int64)
    magnitudes[: int(top) + 1] = random.integers(0, 50, int(top) + 1)
    magnitudes[500:900] = 0
    magnitudes[int(top)] = 7
    counts = resample(magnitudes, top)
    assert counts.shape == (BINS,)
    assert counts.sum() == pytest.approx(magnitudes.sum(), rel=1e-12)
    assert counts[-1] >= 7.0 - 1e-9 or top > 2049
    gap = slice(math.ceil(500 / top * BINS), math.floor(900 / top * BINS))
    assert not counts[gap].any()
    half = np.interp(top / 2, np.arange(4097), np.append(0, np.cumsum(magnitudes)))
    assert counts[: BINS // 2].sum() == pytest.approx(half, rel=1e-12)


def test_without_a_bound_the_search_is_the_published_one() -> None:
    """Values whose size varies from place to place, as behind a gate: the plain search cuts them to a sixth."""
    random = np.random.default_rng(0)
    histogram = histogram_of(random.normal(size=50_000) * np.exp(random.normal(size=50_000)))
    counts = resample(histogram.magnitudes(), histogram.amax / histogram.bin_width)
    published = int(np.argmin(divergences(counts, LEVELS, BINS))) + LEVELS
    assert entropy(histogram, math.inf).amax == (published - 0.5) / BINS * histogram.amax
    parts = [entropy(histogram, ratio).amax / histogram.amax for ratio in (math.inf, 4.0, 1.5)]
    assert parts[0] < 0.2
    assert parts[0] < parts[1] < 0.8 < parts[2]


@pytest.mark.parametrize("ratio", [0.99, -1.0, math.nan])
def test_an_error_ratio_below_1_is_refused(ratio: float) -> None:
    with pytest.raises(ParameterError, match="at least 1"):
        entropy(histogram_of(np.ones(3)), ratio)
