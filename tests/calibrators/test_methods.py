"""The methods: laws that hold for all of them, and the ranges of known histograms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrators import Histogram, Method, NoDataError, ParameterError, Range, choose_range, minmax, percentile

VALUES = arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-100.0, 100.0, width=32))


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


@pytest.mark.parametrize("name", ["minmax", "percentile"])
def test_no_method_chooses_from_nothing(name: str) -> None:
    with pytest.raises(NoDataError, match="empty"):
        choose_range(Histogram(), Method(name))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["minmax", "percentile"])
@pytest.mark.parametrize("value", [0.0, 5.0, -5.0, 1e-42, 3e38])
def test_a_constant_tensor_keeps_its_value(name: str, value: float) -> None:
    histogram = seen(np.full(1000, value))
    chosen = choose_range(histogram, Method(name))  # type: ignore[arg-type]
    assert chosen.amax <= abs(histogram.minimum)
    assert chosen.amax >= abs(histogram.minimum) * (1 - 1 / 2048)
