"""The methods for every kind of scheme, against slow plain versions and measured errors."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibrators import (
    FP8_E4M3,
    FP8_E5M2,
    INT4,
    INT8,
    INT16,
    QTYPES,
    UINT4,
    UINT8,
    UINT16,
    CalibrationTable,
    Entry,
    Histogram,
    Method,
    NoDataError,
    QType,
    Range,
    Scheme,
    choose_range,
    dequantize,
    entropy,
    minmax,
    mse,
    percentile,
    qparams_of,
    quantize,
    ranges_of,
    sqnr_db,
)
from calibrators.methods.affine import place, sides
from calibrators.methods.divergence import BINS, lost_information
from calibrators.methods.entropy import divergences, resample
from calibrators.methods.mse import best_sqnr_db, candidates, narrowest, sqnr_db_at, squared_errors
from tests.calibrators.plain import plain_divergence
from tests.calibrators.test_methods import ALL, seen, tensors

SCHEMES = [Scheme(qtype) for qtype in QTYPES.values()]
SCHEMES += [Scheme(qtype, symmetric=False) for qtype in QTYPES.values() if qtype.grid is None]
NARROW = [scheme for scheme in SCHEMES if "16" not in scheme.qtype.name]
"""Those whose steps are not finer than the bins."""


def title(scheme: Scheme) -> str:
    return f"{scheme.qtype.name}-{'symmetric' if scheme.symmetric else 'affine'}"


def shifted() -> dict[str, np.ndarray]:
    """Tensors whose sides differ, besides those of the methods' own tests."""
    random = np.random.default_rng(12)
    return {
        **tensors(),
        "gelu": np.maximum(random.normal(size=60_000), -0.17),
        "negative": -random.exponential(size=60_000),
        "moved": random.normal(3.0, 1.0, 60_000),
        "lopsided": np.where(random.random(60_000) < 0.99, random.normal(size=60_000), 30 * random.random(60_000)),
    }


def measured_error(values: np.ndarray, chosen: Range, scheme: Scheme) -> float:
    values = values.astype(np.float32)
    qparams = qparams_of(chosen, scheme)
    return float(np.square(dequantize(quantize(values, qparams), qparams).astype(np.float64) - values).sum())


# mse


def plain_squared_error(values: np.ndarray, levels: np.ndarray) -> float:
    """Sum of the squared distances to the nearest level, value by value."""
    return math.fsum(min((value - level) ** 2 for level in levels) for value in values)


def points_of(counts: np.ndarray, parts: int) -> np.ndarray:
    """Values evenly spread over their bins, `parts` for each bin that is not empty; each counts count / parts."""
    inside = (np.arange(parts) + 0.5) / parts
    return (np.flatnonzero(counts)[:, None] + inside).reshape(-1)


@pytest.mark.parametrize("qtype", [INT8, INT4, UINT4, FP8_E4M3, FP8_E5M2], ids=lambda qtype: qtype.name)
def test_squared_errors_equal_the_plain_sum(qtype: QType) -> None:
    counts = np.zeros(64, np.int64)
    counts[[0, 1, 2, 7, 30, 31, 50, 63]] = 1
    values = points_of(counts, 400)
    for top in (20.25, 33.0, 64.0):
        plain = plain_squared_error(values, qtype.levels() * (top / qtype.steps)) / 400
        assert squared_errors(counts, np.array([top]), qtype)[0] == pytest.approx(plain, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("scheme", [s for s in NARROW if not s.symmetric], ids=title)
def test_affine_errors_equal_the_plain_sum(scheme: Scheme) -> None:
    """All placements of 0.0 for some steps, each summed value by value."""
    random = np.random.default_rng(1)
    histogram = seen(np.concatenate([-random.exponential(1.0, 40), 2 * random.exponential(1.0, 60)]))
    cut = sides(histogram)
    found = place(cut, scheme.steps)
    values = np.concatenate([-points_of(cut.below, 12), points_of(cut.above, 12)])
    weights = np.repeat(np.concatenate([cut.below[cut.below > 0], cut.above[cut.above > 0]]), 12) / 12
    for i in (0, found.steps.size // 2, found.steps.size - 1):
        errors = []
        for zero in range(scheme.steps + 1):
            nearest = np.clip(np.rint(values / found.steps[i]), -zero, scheme.steps - zero) * found.steps[i]
            errors.append(float(np.sum(weights * np.square(values - nearest))))
        assert found.errors[i] == pytest.approx(min(errors), rel=0.02)
        assert errors[found.zeros[i]] <= 1.01 * min(errors)


@pytest.mark.parametrize("name", list(shifted()))
@pytest.mark.parametrize("scheme", NARROW, ids=title)
def test_mse_is_no_worse_than_any_other_range(scheme: Scheme, name: str) -> None:
    values = shifted()[name][:6_000]
    histogram = seen(values)
    chosen = measured_error(values, mse(histogram, scheme), scheme)
    low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    parts = np.linspace(0.1, 1.0, 13)
    if scheme.symmetric:
        others = [Range(-part * histogram.amax, part * histogram.amax) for part in parts]
    else:
        others = [Range(one * low, other * high) for one in parts for other in parts if low or one == 1.0]
    slack = 1.12 if scheme.qtype.grid else 1.04  # a float grid hardly changes with its scale
    assert chosen <= slack * min(measured_error(values, other, scheme) for other in others)


@pytest.mark.parametrize("name", list(shifted()))
def test_affine_keeps_at_least_what_symmetric_keeps(name: str) -> None:
    values = shifted()[name].astype(np.float32)
    for qtype in (UINT8, UINT4):
        errors = [
            measured_error(values, mse(seen(values), scheme), scheme)
            for scheme in (Scheme(qtype, False), Scheme(qtype))
        ]
        assert errors[0] <= 1.03 * errors[1]


def test_a_tensor_behind_relu_has_twice_the_levels_where_affine() -> None:
    values = tensors()["relu"].astype(np.float32)
    chosen = mse(seen(values), Scheme(UINT8, symmetric=False))
    assert chosen.minimum == 0.0
    qparams = qparams_of(chosen, Scheme(UINT8, symmetric=False))
    assert qparams.zero_point == 0
    reached = sqnr_db(values, dequantize(quantize(values, qparams), qparams))
    assert 5.0 < reached - best_sqnr_db(seen(values)) < 7.0  # one bit
    assert best_sqnr_db(seen(values), Scheme(UINT8, symmetric=False)) == pytest.approx(reached, abs=0.3)
    assert best_sqnr_db(seen(np.zeros(5)), Scheme(UINT8, symmetric=False)) == math.inf


@pytest.mark.parametrize("qtype", [INT8, INT4, FP8_E4M3, FP8_E5M2], ids=lambda qtype: qtype.name)
@pytest.mark.parametrize("name", ["normal", "laplace", "sparse"])
def test_the_best_sqnr_is_the_one_that_mse_reaches(name: str, qtype: QType) -> None:
    values = tensors()[name].astype(np.float32)
    chosen = mse(seen(values), Scheme(qtype))
    qparams = qparams_of(chosen, Scheme(qtype))
    codes = quantize(values, qparams)
    if qtype.grid is None:
        codes = np.maximum(codes, -qtype.steps)  # the model leaves the one further negative code out
    reached = sqnr_db(values, dequantize(codes, qparams))
    assert best_sqnr_db(seen(values), Scheme(qtype)) == pytest.approx(reached, abs=0.3)
    assert sqnr_db_at(seen(values), chosen.amax, qtype) == pytest.approx(reached, abs=0.3)


@pytest.mark.parametrize(
    "scheme", [Scheme(INT16), Scheme(UINT16), Scheme(INT16, False), Scheme(UINT16, False)], ids=title
)
def test_sixteen_bits_keep_everything(scheme: Scheme) -> None:
    for values in shifted().values():
        for name in ("mse", "entropy", "minmax"):
            assert choose_range(seen(values), Method(name), scheme) == minmax(seen(values))  # type: ignore[arg-type]


@pytest.mark.parametrize("qtype", QTYPES.values(), ids=lambda qtype: qtype.name)
def test_the_widest_step_of_the_narrowest_candidate_is_a_bin(qtype: QType) -> None:
    levels = qtype.levels()
    least = narrowest(levels)
    assert least * (levels[-1] - levels[-2]) / levels[-1] >= 1.0
    tops = candidates(seen(np.linspace(-1, 1, 100)), qtype)
    assert tops.size == 1 or tops[0] >= least
    assert np.all(np.diff(tops) > 0)


# entropy


@pytest.mark.parametrize("qtype", [INT8, INT4, FP8_E4M3, FP8_E5M2], ids=lambda qtype: qtype.name)
def test_divergences_have_a_group_for_each_level(qtype: QType) -> None:
    histogram = seen(np.random.default_rng(3).laplace(size=5_000))
    counts = resample(histogram.magnitudes(), histogram.amax / histogram.bin_width)
    flat = [counts[1], *counts[1:].tolist()]
    levels = [Fraction(level) for level in qtype.levels().tolist()]
    ends = [*levels, 2 * levels[-1] - levels[-2]]
    least = narrowest(qtype.levels())
    found = divergences(counts, least, BINS, qtype)
    for i in (least, least + 1, 200, 900, 2047, 2048):
        edges = [math.ceil(i * end / ends[-1]) for end in ends]
        assert found[i - least] == pytest.approx(plain_divergence(flat, edges), rel=1e-9, abs=1e-12)


def test_divergences_with_mass_on_both_sides() -> None:
    random = np.random.default_rng(7)
    counts = np.floor(random.exponential(3.0, BINS)) * (random.random(BINS) < 0.8)
    counts[100], counts[101] = 0.0, 5.0
    edges = np.array(
        [[0, 300, 900, BINS], [100, 300, 900, 1500], [101, 150, 700, 1900], [0, 0, 700, 1900], [5, 6, 7, 8]]
    )
    found = lost_information(counts, edges)
    for candidate, divergence in zip(edges.tolist(), found, strict=True):
        assert divergence == pytest.approx(plain_divergence(counts.tolist(), candidate), rel=1e-9, abs=1e-12)
    assert math.isinf(found[1])  # bin 100 is empty, and mass lies below it


@pytest.mark.parametrize("name", list(shifted()))
@pytest.mark.parametrize("scheme", NARROW, ids=title)
def test_entropy_costs_at_most_its_share_of_squared_error(scheme: Scheme, name: str) -> None:
    values = shifted()[name]
    histogram = seen(values)
    chosen = measured_error(values, entropy(histogram, scheme=scheme), scheme)
    assert chosen <= 1.65 * measured_error(values, mse(histogram, scheme), scheme)


def test_affine_entropy_takes_the_smallest_divergence_of_its_candidates() -> None:
    random = np.random.default_rng(0)
    histogram = seen(random.normal(size=50_000) * np.exp(random.normal(size=50_000)) + 0.5)
    scheme = Scheme(UINT8, symmetric=False)
    cut = sides(histogram)
    found = place(cut, 255)
    widths = {ratio: entropy(histogram, ratio, scheme) for ratio in (1.0, 1.5, 8.0, math.inf)}
    assert widths[1.0] == mse(histogram, scheme)
    spans = [chosen.maximum - chosen.minimum for chosen in widths.values()]
    assert spans == sorted(spans, reverse=True) and spans[-1] < 0.5 * spans[0]
    for ratio, chosen in widths.items():
        step = (chosen.maximum - chosen.minimum) / 255 / histogram.bin_width
        at = int(np.argmin(np.abs(found.steps - step)))
        assert found.errors[at] <= ratio * found.errors.min()
        assert chosen.minimum == pytest.approx(-found.zeros[at] * step * histogram.bin_width)


# percentile


def plain_narrowest(values: np.ndarray, percent: float) -> float:
    """Width of the narrowest range around 0.0 that keeps the share, of all pairs of values (or 0.0) as its ends."""
    wanted = math.ceil(Fraction(str(percent)) / 100 * values.size)
    lows, highs = np.unique(np.minimum(values, 0.0)), np.unique(np.maximum(values, 0.0))
    ordered = np.sort(values)
    inside = np.searchsorted(ordered, highs, "right")[None, :] - np.searchsorted(ordered, lows, "left")[:, None]
    widths = highs[None, :] - lows[:, None]
    return float(widths[inside >= wanted].min())


@given(st.integers(0, 2**32 - 1), st.sampled_from([50.0, 90.0, 99.0, 99.9, 100.0]), st.integers(1, 400))
def test_affine_percentile_is_the_narrowest_range(seed: int, percent: float, count: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(random.uniform(-2, 2), 1.0, count).astype(np.float32)
    histogram = seen(values)
    chosen = percentile(histogram, percent, Scheme(UINT8, symmetric=False))
    assert chosen.minimum <= 0.0 <= chosen.maximum
    width = chosen.maximum - chosen.minimum
    assert abs(width - plain_narrowest(values, percent)) <= 2.001 * histogram.bin_width
    edge = histogram.bin_width * 1.001
    kept = np.count_nonzero((values >= chosen.minimum - edge) & (values <= chosen.maximum + edge))
    assert kept >= percent / 100.0 * count - 1e-6


@given(st.integers(0, 2**32 - 1))
def test_affine_percentile_100_is_minmax_around_zero(seed: int) -> None:
    random = np.random.default_rng(seed)
    histogram = seen(random.normal(random.uniform(-3, 3), 1.0, 200))
    expected = Range(min(histogram.minimum, 0.0), max(histogram.maximum, 0.0))
    assert percentile(histogram, 100.0, Scheme(UINT8, symmetric=False)) == expected


def test_behind_relu_affine_and_symmetric_percentiles_cut_the_same() -> None:
    histogram = seen(tensors()["relu"])
    for percent in (90.0, 99.0, 99.99):
        chosen = percentile(histogram, percent, Scheme(UINT8, symmetric=False))
        assert chosen == Range(0.0, percentile(histogram, percent).amax)


# laws of all of them


@pytest.mark.parametrize("scheme", SCHEMES, ids=title)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), power=st.integers(-30, 30))
def test_powers_of_two_scale_every_range(scheme: Scheme, seed: int, power: int) -> None:
    values = (np.random.default_rng(seed).laplace(size=300) + 0.3).astype(np.float32)
    for name in ALL:
        plain = choose_range(seen(values), Method(name), scheme)  # type: ignore[arg-type]
        chosen = choose_range(seen(values * np.float32(2.0**power)), Method(name), scheme)  # type: ignore[arg-type]
        assert chosen == Range(plain.minimum * 2.0**power, plain.maximum * 2.0**power)


@pytest.mark.parametrize("scheme", SCHEMES, ids=title)
@pytest.mark.parametrize("name", ALL)
def test_every_method_serves_every_scheme(scheme: Scheme, name: str) -> None:
    """Nothing, constants, subnormal numbers; and no range is wider than the data and half a step."""
    method = Method(name)  # type: ignore[arg-type]
    with pytest.raises(NoDataError, match="empty"):
        choose_range(Histogram(), method, scheme)
    constants = [np.full(100, value) for value in (0.0, 5.0, -5.0, 1e-42, 3e38)]
    for values in [*constants, *shifted().values()]:
        histogram = seen(values)
        chosen = choose_range(histogram, method, scheme)
        low, high = min(histogram.minimum, 0.0), max(histogram.maximum, 0.0)
        half = 0.0 if scheme.symmetric else (high - low) / scheme.steps / 2 * 1.001
        assert low - half <= chosen.minimum and chosen.maximum <= high + half
        qparams = qparams_of(chosen, scheme)
        assert dequantize(quantize(np.zeros(1, np.float32), qparams), qparams)[0] == 0.0


@pytest.mark.parametrize("scheme", [scheme for scheme in NARROW if not scheme.symmetric], ids=title)
@pytest.mark.parametrize("name", list(shifted()))
def test_a_mirrored_tensor_has_the_mirrored_affine_range(scheme: Scheme, name: str) -> None:
    values = shifted()[name]
    for method in map(Method, ("minmax", "mse", "percentile")):  # groups of the entropy search begin at whole bins
        plain, mirrored = (choose_range(seen(array), method, scheme) for array in (values, -values))
        slack = 0.002 * (plain.maximum - plain.minimum)
        assert mirrored.minimum == pytest.approx(-plain.maximum, abs=slack)
        assert mirrored.maximum == pytest.approx(-plain.minimum, abs=slack)


def test_the_scheme_of_today_is_the_default() -> None:
    for values in shifted().values():
        for method in map(Method, ALL):  # type: ignore[arg-type]
            assert choose_range(seen(values), method) == choose_range(seen(values), method, Scheme())
            assert choose_range(seen(values), method) == choose_range(seen(values), method, Scheme(UINT8))  # 127 too


def test_a_table_gives_ranges_for_any_scheme() -> None:
    table = CalibrationTable(entries={"x": Entry(seen(tensors()["relu"]), (60_000,))})
    for scheme in (Scheme(), Scheme(UINT8, symmetric=False), Scheme(FP8_E4M3)):
        assert ranges_of(table, Method(), scheme).ranges == {"x": mse(seen(tensors()["relu"]), scheme)}
