"""The methods: laws that hold for all of them, and the ranges of known histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrators import (
    Histogram,
    Method,
    NoDataError,
    ParameterError,
    Range,
    choose_range,
    dequantize,
    entropy,
    minmax,
    mse,
    percentile,
    quantize,
    sqnr_db,
    symmetric_qparams,
)
from calibrators.methods.mse import best_sqnr_db, candidates, squared_errors

VALUES = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-100.0, 100.0, width=32))

ALL = ["entropy", "minmax", "mse", "percentile"]


def seen(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.observe(np.asarray(values, np.float32))
    return histogram


@given(VALUES)
def test_minmax_ends_are_values_of_the_data(values: np.ndarray) -> None:
    chosen = minmax(seen(values))
    assert chosen == Range(float(values.min()), float(values.max()))
    assert chosen.amax == np.abs(values).max()


@given(VALUES, st.floats(0.01, 100.0))
def test_percentile_keeps_its_share(values: np.ndarray, percent: float) -> None:
    histogram = seen(values)
    amax = percentile(histogram, percent).amax
    wanted = percent / 100.0 * values.size
    assert np.count_nonzero(np.abs(values) < amax + histogram.bin_width) >= wanted - 1e-6
    assert np.count_nonzero(np.abs(values) <= amax - histogram.bin_width) <= wanted + 1e-6


@given(VALUES, st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_percentile_grows_with_the_share(values: np.ndarray, one: float, other: float) -> None:
    histogram = seen(values)
    low, high = sorted((one, other))
    assert percentile(histogram, low).amax <= percentile(histogram, high).amax


@given(VALUES)
def test_percentile_100_is_minmax(values: np.ndarray) -> None:
    assert percentile(seen(values), 100.0) == minmax(seen(values))


def test_percentile_is_linear_inside_the_bin() -> None:
    values = np.arange(8192) / 8192.0  # two values a bin of 1/4096, amax in the last one
    histogram = seen(values)
    assert histogram.bin_width == 1 / 4096
    assert percentile(histogram, 50.0).amax == 0.5
    assert percentile(histogram, 100.0 * 4097 / 8192).amax == 0.5 + 0.5 / 4096


def test_percentile_does_not_reach_over_a_gap_by_a_rounding_error() -> None:
    values = np.concatenate([np.linspace(0.0, 1.0, 41_958), np.full(42, 3.0)])
    assert percentile(seen(values), 99.9).amax <= 1.0 + seen(values).bin_width  # 0.999 * 42000 > 41958 in floats


@pytest.mark.parametrize("percent", [0.0, -1.0, 100.1, float("nan")])
def test_percent_outside_its_interval_is_refused(percent: float) -> None:
    with pytest.raises(ParameterError):
        percentile(seen(np.ones(3)), percent)
    with pytest.raises(ParameterError):
        Method("percentile", percent)


def test_unknown_methods_are_refused_by_name() -> None:
    with pytest.raises(ParameterError, match=r"'maximum'.*minmax"):
        Method("maximum")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
def test_no_method_chooses_from_nothing(name: str) -> None:
    with pytest.raises(NoDataError, match="empty"):
        choose_range(Histogram(), Method(name))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-42, 3e38])
def test_a_constant_tensor_keeps_its_value(name: str, value: float) -> None:
    histogram = seen(np.full(1000, value))
    chosen = choose_range(histogram, Method(name))  # type: ignore[arg-type]
    assert chosen.amax <= abs(histogram.minimum)
    assert chosen.amax >= abs(histogram.minimum) * (1 - 1 / 2048)


@given(VALUES)
def test_no_range_is_wider_than_the_data(values: np.ndarray) -> None:
    histogram = seen(values)
    for name in ALL:
        chosen = choose_range(histogram, Method(name))  # type: ignore[arg-type]
        assert histogram.amax / 40 <= chosen.amax <= histogram.amax
        assert chosen.minimum >= min(histogram.minimum, chosen.amax)
        assert chosen.maximum <= max(histogram.maximum, -chosen.amax)


@given(st.integers(0, 2**32 - 1), st.integers(-30, 30))
def test_powers_of_two_scale_every_range(seed: int, power: int) -> None:
    values = np.random.default_rng(seed).laplace(size=400).astype(np.float32)
    for name in ALL:
        method = Method(name)  # type: ignore[arg-type]
        chosen = choose_range(seen(values * np.float32(2.0**power)), method)
        plain = choose_range(seen(values), method)
        assert chosen == Range(plain.minimum * 2.0**power, plain.maximum * 2.0**power)
        assert choose_range(seen(-values), method) == Range(-plain.maximum, -plain.minimum)


def tensors() -> dict[str, np.ndarray]:
    """Shapes that activations have: one each, seeded."""
    random = np.random.default_rng(11)
    normal = random.normal(size=60_000)
    return {
        "normal": normal,
        "relu": np.maximum(normal, 0.0),
        "sparse": np.where(random.random(60_000) < 0.97, 0.0, random.exponential(5.0, 60_000)),
        "laplace": random.laplace(size=60_000),
        "uniform": random.uniform(-1.0, 1.0, 60_000),
        "heavy": random.standard_t(2.5, 60_000),
        "outlier": np.append(random.laplace(size=60_000), 60.0),
        "few": random.exponential(size=300),
    }


def measured_error(values: np.ndarray, amax: float) -> float:
    values = values.astype(np.float32)
    qparams = symmetric_qparams(amax)
    return float(np.square(dequantize(quantize(values, qparams), qparams).astype(np.float64) - values).sum())


@pytest.mark.parametrize("name", list(tensors()))
def test_squared_errors_are_those_of_quantizing(name: str) -> None:
    values = np.abs(tensors()[name])
    histogram = seen(values)
    tops = candidates(histogram)
    modelled = squared_errors(histogram.magnitudes(), tops) * histogram.bin_width**2
    for i in range(0, tops.size, 12):
        if tops[i] > 8 * 128:  # steps of at least eight bins: the model of a bin's inside hardly matters
            assert modelled[i] == pytest.approx(measured_error(values, tops[i] * histogram.bin_width), rel=0.05)


@pytest.mark.parametrize("name", list(tensors()))
def test_mse_is_no_worse_than_any_other_range(name: str) -> None:
    values = tensors()[name]
    histogram = seen(values)
    chosen = measured_error(values, mse(histogram).amax)
    others = [measured_error(values, histogram.amax * part) for part in np.linspace(0.1, 1.0, 46)]
    assert chosen <= 1.03 * min(others)


@pytest.mark.parametrize("name", list(tensors()))
def test_entropy_costs_at_most_its_share_of_squared_error(name: str) -> None:
    values = tensors()[name]
    histogram = seen(values)
    chosen = measured_error(values, entropy(histogram).amax)
    assert chosen <= 1.6 * measured_error(values, mse(histogram).amax)


def test_a_heavy_tail_is_clipped_but_not_away() -> None:
    """The input of a depthwise Conv of a detector: 99.9 % below 35, mean 1.3, max 126."""
    random = np.random.default_rng(5)
    values = np.abs(random.laplace(0.0, 1.3, 400_000))
    values[:600] = random.uniform(20.0, 126.0, 600)
    values[0] = 126.0
    histogram = seen(values)
    assert minmax(histogram).amax == 126.0
    for method in (mse, entropy):
        assert 40.0 < method(histogram).amax < 126.0
    assert choose_range(histogram, Method("auto")) == mse(histogram)


def test_t54_amax_of_known_histograms() -> None:
    """Made without random numbers: quantiles of an exponential, the same behind a Relu, the same with an outlier."""
    exponential = -np.log((np.arange(40_000) + 0.5) / 40_000)
    histograms = [seen(np.append(exponential, more)) for more in ([], np.zeros(120_000), [100.0])]
    assert [mse(histogram).amax for histogram in histograms] == [9.75, 9.75, 83.0]
    chosen = [entropy(histogram).amax / histogram.amax * 2048 + 0.5 for histogram in histograms]
    assert np.round(chosen, 9).tolist() == [1849.0, 1849.0, 2048.5]  # the outlier alone holds 11 % of the energy
    for histogram in histograms:
        assert percentile(histogram, 99.0).amax <= 4.7  # ln 100 = 4.605


@pytest.mark.parametrize("name", ["normal", "laplace", "heavy", "outlier", "sparse"])
def test_the_best_sqnr_is_the_one_that_mse_reaches(name: str) -> None:
    values = tensors()[name].astype(np.float32)
    histogram = seen(values)
    qparams = symmetric_qparams(mse(histogram).amax)
    reached = sqnr_db(values, dequantize(quantize(values, qparams), qparams))
    assert best_sqnr_db(histogram) == pytest.approx(reached, abs=0.3)


def test_the_best_sqnr_of_zeros_is_infinite() -> None:
    assert best_sqnr_db(seen(np.zeros(5))) == np.inf
    with pytest.raises(NoDataError):
        best_sqnr_db(Histogram())
