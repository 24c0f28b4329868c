"""The laws of the histogram: its state is a function of the multiset of observed values, whichever way they came."""

import functools
import math
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrators import Histogram, NonFiniteError, ParameterError, kernels
from calibrators.cells import CENTER, Cells
from calibrators.histogram import fold

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = arrays.arrays(np.float32, st.integers(0, 200), elements=FLOATS)
MILD = arrays.arrays(np.float32, st.integers(1, 200), elements=st.floats(-8.0, 8.0, width=32))


def seen(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.observe(batch)
    return histogram


def plain_counts(values: np.ndarray) -> tuple[float, dict[int, int]]:
    """The definition, in Python integers: width from the amax, bin trunc(x / width)."""
    amax = float(np.abs(values).max())
    exponent = max(int(np.frexp(amax)[1]) - 12, -126) if amax else -126
    counts: dict[int, int] = {}
    for value in values.ravel().tolist():
        index = int(value * 2.0**-exponent)
        counts[index] = counts.get(index, 0) + 1
    return 2.0**exponent, counts


@given(VALUES.filter(len))
def test_state_is_the_definition(values: np.ndarray) -> None:
    histogram = seen(values)
    width, counts = plain_counts(values)
    assert histogram.bin_width == width
    assert {int(i) - CENTER: int(histogram.counts[i]) for i in np.flatnonzero(histogram.counts)} == counts
    assert (histogram.count, histogram.minimum, histogram.maximum) == (values.size, values.min(), values.max())
    assert np.copysign(1.0, histogram.minimum) == 1.0 or histogram.minimum < 0.0


@given(VALUES, st.randoms(use_true_random=False), st.integers(1, 9))
def test_order_and_batches_do_not_matter(values: np.ndarray, random: object, pieces: int) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert seen(*np.array_split(shuffled, pieces)) == seen(values)


@given(VALUES, VALUES, VALUES)
def test_merge_is_observing_everything(one: np.ndarray, two: np.ndarray, three: np.ndarray) -> None:
    left = seen(one)
    left.merge(seen(two))
    left.merge(seen(three))
    tail = seen(three)
    tail.merge(seen(two))
    right = tail.copy()
    right.merge(seen(one))
    assert left == right == seen(one, two, three)
    assert tail == seen(two, three)


@given(MILD, st.integers(-60, 60))
def test_scaling_by_a_power_of_two_scales_the_widths(values: np.ndarray, power: int) -> None:
    plain, scaled = seen(values), seen(values * np.float32(2.0**power))
    if min(plain.bin_width, scaled.bin_width) > 2.0**-126 and np.all(np.abs(values[values != 0]) > 1e-18):
        assert np.array_equal(plain.counts, scaled.counts)
        assert scaled.bin_width == plain.bin_width * 2.0**power
        assert scaled.amax == plain.amax * 2.0**power


@given(VALUES)
def test_negated_values_mirror_the_counts(values: np.ndarray) -> None:
    plain, mirrored = seen(values), seen(-values)
    assert np.array_equal(plain.counts, mirrored.counts[::-1])
    assert np.array_equal(plain.magnitudes(), mirrored.magnitudes())
    assert np.array_equal(plain.magnitudes(), seen(np.abs(values)).magnitudes())


@pytest.mark.parametrize("count", [127, 128, 129, 32_767, 32_768, 1 << 31])
def test_counts_of_a_power_of_two_are_rebuilt(count: int) -> None:
    rebuilt = Histogram.from_occupied(2.0, 2.0, np.array([count]))
    assert rebuilt.counts.max() == rebuilt.count == count
    assert rebuilt.occupied()[1].tolist() == [count]


@given(VALUES)
def test_occupied_counts_rebuild_the_histogram(values: np.ndarray) -> None:
    histogram = seen(values)
    first, counts = histogram.occupied()
    rebuilt = Histogram.from_occupied(histogram.minimum, histogram.maximum, counts)
    assert rebuilt == histogram
    assert rebuilt.occupied()[0] == first
    rebuilt.observe(values)
    assert rebuilt == seen(values, values)


@given(arrays.arrays(np.float32, 50, elements=st.floats(-1.0, 1.0, width=32)).filter(np.any))
def test_amax_has_at_least_2048_bins(values: np.ndarray) -> None:
    histogram = seen(values)
    if histogram.bin_width > 2.0**-126:
        assert 2048 <= int(histogram.amax / histogram.bin_width) <= 4095
        assert histogram.magnitudes()[: int(histogram.amax / histogram.bin_width) + 1].sum() == values.size


@pytest.mark.parametrize("counter", [kernels.count_with_numpy, "compiled"])
@settings(max_examples=60)
@given(
    size=st.sampled_from([1, 3, 511, 1023, 1025, 8191, 8192, 8193, 9000, 70_001]),
    seed=st.integers(0, 2**32 - 1),
    share_of_zeros=st.sampled_from([0.0, 0.5, 0.99, 1.0]),
    clipped_to=st.sampled_from([math.inf, 1.5, 0.0, -1.0, 1e-30]),
)
def test_both_counters_count_the_same(
    counter: object, size: int, seed: int, share_of_zeros: float, clipped_to: float
) -> None:
    if counter == "compiled":
        pytest.importorskip("numba")
        counter = compiled()
    assert callable(counter)
    random = np.random.default_rng(seed)
    values = random.normal(size=size).astype(np.float32)
    values[random.random(size) < share_of_zeros] = 0.0
    values = np.minimum(values, np.float32(clipped_to))  # a bound that many values equal, as behind Relu6
    histogram = seen(values)
    open_cells = Cells()
    limit = np.array(4096 * histogram.bin_width, np.float32).view(np.int32) - 1
    done, low, high = counter(values, np.float32(1 / histogram.bin_width), int(limit), open_cells)
    assert done == size
    cells = open_cells.counts
    _, counts = plain_counts(values)
    assert {int(i) - CENTER: int(cells[i]) for i in np.flatnonzero(cells)} == counts
    assert (kernels.key_to_float(low), kernels.key_to_float(high)) == (values.min(), values.max())


def compiled() -> kernels.Counter:
    counter = kernels._COMPILED.load(wait=True)
    assert counter is not None
    return counter


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, 5.0, -5.0])
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_counter_stops_in_front_of_a_value_over_the_limit(value: float, size: int) -> None:
    counters: list[kernels.Counter] = [kernels.count_with_numpy]
    if kernels.warm_up():
        counters.append(compiled())
    values = np.ones(size, np.float32)
    values[size // 2] = value
    limit = int(np.float32(4.0).view(np.int32)) - 1
    for count in counters:
        cells = Cells()
        done, *ends = count(values, np.float32(1024.0), limit, cells)
        assert not kernels.within(*ends, limit)
        assert done <= size // 2
        assert cells.counts.sum() == cells.counts[CENTER + 1024] == done


@functools.cache
def spreading() -> kernels.Counter:
    """The compiled counter as processors have it that cannot squeeze vectors."""
    vector_counter = pytest.importorskip("calibrators.vector_counter")
    squeezes, vector_counter.squeezes = vector_counter.squeezes, lambda: False
    try:
        made = vector_counter.compiled(cache=False)
    finally:
        vector_counter.squeezes = squeezes
    return kernels._with_scratch(made, vector_counter.COUNTERS, vector_counter.NUMBERS)


@settings(max_examples=20, deadline=None)
@given(size=st.sampled_from([1023, 1024, 5_000, 9_217]), seed=st.integers(0, 2**32 - 1), power=st.integers(0, 6))
def test_counts_are_the_same_on_every_processor(size: int, seed: int, power: int) -> None:
    random = np.random.default_rng(seed)
    values = np.round(random.normal(size=size), 1).astype(np.float32) ** power * (random.random(size) < 0.5)
    values = np.minimum(values.astype(np.float32), np.float32(power))
    parts = [Cells() for _ in range(2)]
    width, limit = np.float32(0.25), int(np.float32(1024.0).view(np.int32)) - 1
    found = [
        count(values, 1 / width, limit, part) for count, part in zip((spreading(), compiled()), parts, strict=True)
    ]
    assert found[0] == found[1]
    assert np.array_equal(parts[0].counts, parts[1].counts)
    assert parts[0].counts.sum() == found[0][0]


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 2_000, 4_999])
def test_nothing_is_counted_of_an_array_that_is_not_finite(bad: float, place: int) -> None:
    kernels.warm_up()
    values = np.random.default_rng(place).normal(size=5_000).astype(np.float32)
    histogram, before = seen(values), seen(values)
    values[place] = bad
    values[3_000] *= 1e6  # would have widened the bins
    with pytest.raises(NonFiniteError):
        histogram.observe(values)
    assert histogram == before
    assert histogram.bin_width == before.bin_width
    assert np.array_equal(histogram.counts, before.counts)


def test_bins_may_widen_within_one_array() -> None:
    kernels.warm_up()
    values = (np.random.default_rng(1).normal(size=20_000) * np.geomspace(1e-6, 1e6, 20_000)).astype(np.float32)
    whole = seen(values)
    _, counts = plain_counts(values)
    assert {int(i) - CENTER: int(whole.counts[i]) for i in np.flatnonzero(whole.counts)} == counts
    assert whole == seen(values[::-1])


def test_counters_are_emptied_before_they_overflow() -> None:
    kernels.warm_up()
    histogram = Histogram()
    for _ in range(5):
        histogram.observe(np.full(3_000, 2.5, np.float32))
        if histogram._complete_cells()._counters is not None:
            histogram._complete_cells()._room = 2_999
    assert histogram.counts.max() == 15_000


@given(FLOATS, FLOATS)
def test_keys_sort_like_floats(one: float, two: float) -> None:
    assert kernels.key_to_float(kernels.float_to_key(one)) == one
    if one < two:
        assert kernels.float_to_key(one) < kernels.float_to_key(two)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.T,
        np.asfortranarray,
        lambda a: a.transpose(1, 2, 0),
        lambda a: a[::-1, :, ::-1],
        lambda a: a.astype(np.float64),
        lambda a: a.astype(">f4"),
        lambda a: a.tolist(),
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32),
    ],
)
@pytest.mark.parametrize("size", [5, 60])
def test_layout_and_type_of_the_array_do_not_matter(change: Callable[[np.ndarray], object], size: int) -> None:
    array = np.random.default_rng(size).normal(size=(size, size, size)).astype(np.float32)
    assert seen(change(array)) == seen(array)  # type: ignore[arg-type]


def test_float16_is_counted_exactly() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    assert seen(halves) == seen(halves.astype(np.float32))


def test_read_only_and_rank_0_and_empty_arrays() -> None:
    array = np.arange(9.0, dtype=np.float32)
    array.flags.writeable = False
    histogram = seen(array, np.array(3.5, np.float32), np.zeros((4, 0), np.float32))
    assert (histogram.count, histogram.amax) == (10, 8.0)
    assert seen(np.zeros(0, np.float32)) == Histogram()


@pytest.mark.parametrize("layout", [lambda a: a, lambda a: a.T, lambda a: a.astype(np.float64)])
@pytest.mark.parametrize(
    ("bad", "sentence"),
    [([np.nan], "1 NaN among"), ([np.inf, -np.inf], "2 Inf among"), ([np.nan, np.inf], "1 NaN and 1 Inf among")],
)
def test_non_finite_values_are_refused_and_leave_no_trace(
    layout: Callable[[np.ndarray], np.ndarray], bad: list[float], sentence: str
) -> None:
    histogram = seen(np.ones(3, np.float32))
    array = np.full((300, 300), 7.0, np.float32)
    array[200, : len(bad)] = bad
    with pytest.raises(NonFiniteError, match=sentence):
        histogram.observe(layout(array))
    assert histogram == seen(np.ones(3, np.float32))


def test_float64_beyond_float32_is_refused() -> None:
    with pytest.raises(NonFiniteError):
        seen(np.array([1e300]))


@pytest.mark.parametrize("array", [np.arange(3), np.array([True]), np.array(["a"]), np.array([1j])])
def test_other_types_are_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(ParameterError, match=str(array.dtype)):
        seen(array)


def test_smallest_and_largest_floats() -> None:
    tiny = np.float32([1e-45, -1e-45, -0.0])
    assert seen(tiny).bin_width == 2.0**-126
    huge = np.float32([np.finfo(np.float32).max, -1.0])
    histogram = seen(tiny, huge)
    assert (histogram.bin_width, histogram.minimum) == (2.0**116, -1.0)
    assert (histogram.counts[CENTER], histogram.counts[-1]) == (4, 1)


@pytest.mark.parametrize(
    ("minimum", "maximum", "counts"),
    [
        (0.0, 1.0, [1] * 2048),  # one bin short
        (0.0, 1.0, [1] * 2048 + [0]),  # nothing where the maximum is
        (0.0, 1.0, [0] + [1] * 2048),
        (0.0, 1.0, [2] + [-1] + [1] * 2047),
        (0.0, 1.0, [1 << 60] + [1] * 2048),
        (1.0, 0.0, [1] * 2049),
        (0.1, 1.0, [1] * 2049),  # 0.1 is no float32 number
        (0.0, np.nan, [1]),
        (0.0, np.inf, [1]),
        (0.0, 1e300, [1]),
        (1.0, 1.0, []),
        (-1e-45, 1e-45, [1]),
    ],
)
def test_contradicting_counts_are_refused(minimum: float, maximum: float, counts: list[int]) -> None:
    with pytest.raises(ParameterError):
        Histogram.from_occupied(minimum, maximum, np.array(counts, np.int64))


def test_folding_is_truncated_halving() -> None:
    numbers = np.arange(-9, 8)
    first, wider = fold(-9, np.ones(17, np.int64), 1)
    expected = {int(i): int((np.trunc(numbers / 2) == i).sum()) for i in np.trunc(numbers / 2)}
    assert dict(zip(range(first, first + wider.size), wider.tolist(), strict=True)) == expected


def test_counts_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        seen(np.ones(3, np.float32)).counts[0] = 1


def test_a_histogram_is_not_hashable_and_equals_nothing_else() -> None:
    with pytest.raises(TypeError):
        hash(Histogram())
    assert Histogram() != 3
    assert repr(seen(np.ones(3))) == "Histogram(count=3, minimum=1.0, maximum=1.0)"


def test_an_open_histogram_holds_its_cells_once() -> None:
    kernels.warm_up()
    values = np.linspace(-1.0, 1.0, 1 << 12, dtype=np.float32)
    histograms = [Histogram() for _ in range(20)]
    tracemalloc.start()
    try:
        for histogram in histograms * 2:
            histogram.observe(values)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20 * 80_000  # 8,191 cells of 64 bits, or two counters of 32
