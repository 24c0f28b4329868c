"""Calibration tables: merged shares equal a single run; tables of different origin are refused by name."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibrators import (
    CalibrationTable,
    Entry,
    Extremes,
    ExtremesEntry,
    Histogram,
    Method,
    MismatchError,
    ParameterError,
    Provenance,
    encode_table,
    merge_tables,
    minmax,
    ranges_of,
    sample_digest,
)

ORIGIN = Provenance("model-1", "unit, rgb, 8x8", (("onnxruntime", "1.31.1"), ("qdq", "0.1.0")))


def sample(number: int) -> dict[str, np.ndarray]:
    """Two tensors of one sample; the range grows with the number, so that bins widen on the way."""
    random = np.random.default_rng(number)
    return {
        "conv1_out": np.maximum(random.normal(size=(1, 4, 5, 5)), 0).astype(np.float32) * np.float32(1 + number),
        "in:put 0": random.normal(size=(1, 3, 8, 8)).astype(np.float32),
    }


def table_of(numbers: list[int]) -> CalibrationTable:
    seen = Extremes()
    entries = {
        "conv1_out": Entry(Histogram(), (None, 4, "h", "w"), "float32", "ab" * 32),
        "in:put 0": Entry(Histogram(), ("batch", 3, 8, 8), "float32", "cd" * 32),
    }
    for number in numbers:
        for name, array in sample(number).items():
            entries[name].histogram.observe(array)
            seen = seen.joined(Extremes(float(2 * array.min()), float(2 * array.max())))
    digests = frozenset(sample_digest(sample(number), f"{number}.png") for number in numbers)
    extremes = {"twice": ExtremesEntry(seen, "ef" * 32)}
    return CalibrationTable(replace(ORIGIN, samples=digests), entries, extremes=extremes)


WHOLE = table_of(list(range(14)))


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_merged_shares_are_byte_identical_to_a_single_run(shares: int) -> None:
    tables = [(f"share {share}", table_of(list(range(share, 14, shares)))) for share in range(shares)]
    expected = encode_table(WHOLE)
    assert encode_table(merge_tables(tables)) == expected
    assert encode_table(merge_tables(reversed(tables))) == expected
    half = len(tables) // 2
    grouped = [("a", merge_tables(tables[half:])), *((f"b{i}", merge_tables([t])) for i, t in enumerate(tables[:half]))]
    assert encode_table(merge_tables(grouped)) == expected


@given(st.permutations(range(14)), st.lists(st.integers(0, 14), max_size=4))
def test_any_split_in_any_order_gives_the_same_table(order: list[int], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), 14]
    shares = [order[start:end] for start, end in pairwise(edges)]
    assert merge_tables((str(i), table_of(share)) for i, share in enumerate(shares)) == WHOLE


def test_merging_leaves_the_tables_as_they_are() -> None:
    one, two = table_of([0, 1]), table_of([2])
    merge_tables([("one", one), ("two", two)])
    assert (one, two) == (table_of([0, 1]), table_of([2]))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (replace(ORIGIN, model="model-2"), "a.qcal and b.qcal differ in model: model-1 and model-2"),
        (replace(ORIGIN, preprocessing=""), "differ in preprocessing: unit, rgb, 8x8 and none"),
        (replace(ORIGIN, versions=(("onnxruntime", "1.30.0"), ("qdq", "0.1.0"))), "differ in versions: .*1.30.0"),
    ],
)
def test_tables_of_another_origin_are_refused(changed: Provenance, sentence: str) -> None:
    other = replace(table_of([3]), provenance=changed)
    with pytest.raises(MismatchError, match=sentence):
        merge_tables([("a.qcal", table_of([1])), ("b.qcal", other)])


def test_tables_of_other_tensors_are_refused() -> None:
    one, two = table_of([1]), table_of([2])
    fewer = replace(two, entries={"conv1_out": two.entries["conv1_out"]})
    with pytest.raises(MismatchError, match=r"1 tensors are in only one of a and b, such as 'in:put 0'"):
        merge_tables([("a", one), ("b", fewer)])
    other = dict(two.entries, conv1_out=replace(two.entries["conv1_out"], shape=(1, 4)))
    with pytest.raises(MismatchError, match="shape, type or origin of tensor 'conv1_out'"):
        merge_tables([("a", one), ("b", replace(two, entries=other))])


def test_the_same_samples_twice_are_refused() -> None:
    with pytest.raises(MismatchError, match="b holds 1 of the 3 samples merged so far once more"):
        merge_tables([("a", table_of([1, 2, 3])), ("b", table_of([3, 4]))])
    with pytest.raises(MismatchError):
        merge_tables([("a", table_of([1])), ("b", table_of([2])), ("a again", table_of([1]))])


def test_extremes_that_not_every_table_knows_are_not_known_of_all() -> None:
    one, two = table_of([1]), replace(table_of([2]), extremes={})
    assert merge_tables([("a", one), ("b", two)]).extremes == merge_tables([("b", two), ("a", one)]).extremes == {}


def test_the_extremes_of_a_tensor_with_a_histogram_are_those_of_the_histogram() -> None:
    assert WHOLE.extremes_of("conv1_out").maximum == WHOLE.entries["conv1_out"].histogram.maximum
    assert WHOLE.extremes_of("twice").amax == 2 * max(entry.histogram.amax for entry in WHOLE.entries.values())
    assert Extremes.of(Histogram()) == Extremes()
    assert Extremes().amax == 0.0


def test_nothing_to_merge() -> None:
    with pytest.raises(ParameterError):
        merge_tables([])


def test_sample_digests_tell_samples_apart() -> None:
    array = np.arange(6.0, dtype=np.float32)
    digests = [
        sample_digest({"x": array}),
        sample_digest({"y": array}),
        sample_digest({"x": array.reshape(2, 3)}),
        sample_digest({"x": array.astype(np.float64)}),
        sample_digest({"x": array + 1}),
        sample_digest({"x": array}, "a.png"),
        sample_digest({"x": array}, "b.png"),
        sample_digest({"x": array, "y": array}),
        sample_digest({}),
    ]
    assert len(set(digests)) == len(digests)
    assert sample_digest({"x": array.astype(">f4")}) == digests[0]
    assert sample_digest({"x": np.asfortranarray(array.reshape(2, 3))}) == digests[2]
    assert sample_digest({"x": array}, "caf\udce9.png") != digests[0]


def test_provenance_is_checked_and_ordered() -> None:
    assert Provenance(versions=(("b", "2"), ("a", "1"))) == Provenance(versions=(("a", "1"), ("b", "2")))
    with pytest.raises(ParameterError, match="two versions"):
        Provenance(versions=(("a", "1"), ("a", "2")))
    for digest in ("12", "0123456789ABCDEF", "0123456789abcdef0"):
        with pytest.raises(ParameterError, match="16 lower-case"):
            Provenance(samples=frozenset([digest]))
    assert WHOLE.provenance.sample_count == 14
    assert WHOLE.provenance.samples_digest == table_of(list(range(13, -1, -1))).provenance.samples_digest
    assert WHOLE.provenance.samples_digest != table_of([1]).provenance.samples_digest


def test_names_can_be_mapped_through_the_digests() -> None:
    assert WHOLE.by_digest() == {"ab" * 32: "conv1_out", "cd" * 32: "in:put 0"}
    renamed = WHOLE.renamed({"conv1_out": "/conv/Conv_output_0"})
    assert sorted(renamed.entries) == ["/conv/Conv_output_0", "in:put 0"]
    assert renamed.missing(["conv1_out", "in:put 0"]) == ("conv1_out",)
    with pytest.raises(ParameterError, match="same name"):
        WHOLE.renamed({"conv1_out": "in:put 0"})
    assert sorted(WHOLE.renamed({"twice": "double"}).extremes) == ["double"]
    with pytest.raises(ParameterError, match="same name"):
        WHOLE.renamed({"twice": "in:put 0"})


def test_ranges_of_all_tensors() -> None:
    ranges = ranges_of(WHOLE, Method("minmax")).ranges
    assert list(ranges) == ["conv1_out", "in:put 0"]
    assert ranges["conv1_out"] == minmax(WHOLE.entries["conv1_out"].histogram)
