"""The calibration cache: exact round trips, the same bytes every time, finished sentences for bad files."""

import hashlib
import os
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from calibrators import (
    CacheFileError,
    CalibrationTable,
    CalibratorError,
    Entry,
    Extremes,
    ExtremesEntry,
    Grouping,
    Histogram,
    Provenance,
    ScaleGroup,
    cache_file,
    decode_table,
    encode_table,
    packing,
    read_cache,
    write_cache,
)

FORMAT_1 = Path(__file__).with_name("format_1.qcal")
TEXT = st.text(max_size=12)
DIMENSION = st.one_of(st.none(), st.integers(0, 1 << 40), TEXT)
VALUES = arrays.arrays(
    np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)


def seen(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.observe(np.asarray(values, np.float32))
    return histogram


ENTRIES = st.builds(Entry, st.builds(seen, VALUES), st.lists(DIMENSION, max_size=4).map(tuple), TEXT, TEXT)
PROVENANCES = st.builds(
    Provenance,
    TEXT,
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=3).map(lambda versions: tuple(versions.items())),
    st.frozensets(st.binary(min_size=8, max_size=8).map(bytes.hex), max_size=5),
)
NAMES = st.lists(TEXT, max_size=3).map(tuple)
GROUPS = st.builds(ScaleGroup, NAMES, NAMES, st.none(), st.booleans(), NAMES)
ENDS = st.tuples(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False)).map(sorted)
EXTREMES = st.builds(
    ExtremesEntry, st.one_of(st.just(Extremes()), ENDS.map(lambda ends: Extremes(*map(float, ends)))), TEXT
)
GROUPINGS = st.builds(Grouping, st.frozensets(TEXT, max_size=2), st.lists(GROUPS, max_size=3).map(tuple))
TABLES = st.builds(
    CalibrationTable,
    PROVENANCES,
    st.dictionaries(TEXT, ENTRIES, max_size=4),
    groupings=st.lists(GROUPINGS, max_size=2).map(tuple),
    extremes=st.dictionaries(TEXT, EXTREMES, max_size=3),
)


def known_table() -> CalibrationTable:
    """What format_1.qcal holds."""
    steps = np.arange(3000)
    return CalibrationTable(
        Provenance(
            model="8c5f",
            preprocessing="imagenet, rgb, 224x224, crop",
            versions=(("onnxruntime", "1.31.1"), ("qdq", "0.1.0")),
            samples=frozenset(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(40)),
        ),
        {
            "input": Entry(seen(np.sin(steps) * 2.5), ("batch", 3, 224, 224), "float32", "00" * 32),
            "conv1: out": Entry(
                seen(np.maximum(steps % 700 - 350, 0) / 16), (None, 64, 112, 112), "float16", "11" * 32
            ),
            "größe": Entry(seen(np.zeros(9)), (1,), "float32"),
            "never run": Entry(Histogram()),
            "far": Entry(seen(np.append(np.full(70_000, 1e-3), [-3e38, 2e38])), (), "bfloat16", "22" * 32),
        },
    )


@given(TABLES)
def test_a_written_table_reads_back_equal(table: CalibrationTable) -> None:
    data = encode_table(table)
    back = decode_table(data)
    assert back == table
    assert encode_table(back) == data


@given(arrays.arrays(np.int64, st.integers(1, 200), elements=st.integers(0, 2**53)))
def test_counts_of_any_size_are_packed_exactly(counts: np.ndarray) -> None:
    reader = packing.Reader(cache_file.pack_counts(counts), 0, "test")
    assert np.array_equal(cache_file._unpack_counts(reader, counts.size, "x"), counts)
    reader.finish()


def test_files_of_format_1_are_read_for_ever() -> None:
    table = read_cache(FORMAT_1)
    assert table == known_table()
    assert encode_table(table) == FORMAT_1.read_bytes()


def test_a_hundred_tensors_of_a_large_run_stay_small() -> None:
    """Like a ResNet-50 over 512 images: 4e8 values a tensor, all bins in use."""
    magnitudes = np.arange(3000)
    generator = np.random.default_rng(0)
    size = 0
    for scale in (200.0, 400.0, 800.0):
        counts = generator.poisson(4e8 / scale * np.exp(-magnitudes / scale)) + 1
        size += len(cache_file.pack_counts(counts))
    assert size / 3 * 75 < 300_000


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "cafe\u0301 model.qcal"
    write_cache(known_table(), path)
    return path


def test_write_then_read(written: Path) -> None:
    assert read_cache(written) == known_table()
    assert read_cache(str(written)) == known_table()
    assert os.listdir(written.parent) == [written.name]  # noqa: PTH208


def test_writing_replaces_and_keeps_a_symbolic_link(written: Path) -> None:
    link = written.with_name("link.qcal")
    link.symlink_to(written.name)
    write_cache(CalibrationTable(), link)
    assert link.is_symlink()
    assert read_cache(written) == CalibrationTable()


def test_a_failed_write_leaves_the_old_file_alone(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_file.os, "fsync", full_disk)
    with pytest.raises(CacheFileError, match="No space left on device"):
        write_cache(CalibrationTable(), written)
    assert read_cache(written) == known_table()
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CacheFileError, match="cannot be written"):
        write_cache(CalibrationTable(), tmp_path / "missing" / "a.qcal")
    with pytest.raises(CacheFileError, match="cannot be written"):
        write_cache(CalibrationTable(), tmp_path)
    with pytest.raises(CacheFileError, match="cannot be read"):
        read_cache(tmp_path / "missing.qcal")
    with pytest.raises(CacheFileError, match="cannot be read"):
        read_cache(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"TRT-8503-EntropyCalibration2\n", b"\x93QCAL\n\x1a", b"\x93NUMPY\x01\x00"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(CacheFileError, match="x is not a calibration cache"):
        decode_table(data, "x")


def signed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def test_a_newer_format_is_refused_by_its_number() -> None:
    with pytest.raises(CacheFileError, match="of format 8, expected format 7 at most"):
        decode_table(signed(cache_file.MAGIC + b"\x08something else"))


def test_extremes_that_contradict_themselves_are_refused() -> None:
    table = CalibrationTable(extremes={"x": ExtremesEntry(Extremes(-1.5, 2.5))})
    body = encode_table(table)[:-32]
    assert decode_table(signed(body)) == table
    ends = struct.pack("<ff", -1.5, 2.5)
    for broken in (struct.pack("<ff", 2.5, -1.5), struct.pack("<ff", float("nan"), 2.5)):
        with pytest.raises(CacheFileError, match="gives tensor 'x' the values from"):
            decode_table(signed(body.replace(ends, broken)))


def test_cut_off_files_are_refused_at_every_length() -> None:
    data = encode_table(known_table())
    body = data[:-32]
    for length in [*range(400), *range(400, len(body), 97)]:
        with pytest.raises(CacheFileError):
            decode_table(data[:length])
        with pytest.raises(CacheFileError):
            decode_table(signed(body[:length]))
    with pytest.raises(CacheFileError, match="1 bytes too many"):
        decode_table(signed(body + b"\0"))


def mutants(data: bytes, number: int, seed: int) -> list[bytes]:
    """Flipped bits, changed, inserted, removed, repeated and swapped pieces."""
    source = random.Random(seed)
    result = []
    for _ in range(number):
        mutant = bytearray(data)
        for _ in range(source.choice([1, 1, 1, 2, 5])):
            at, length = source.randrange(len(mutant)), source.choice([1, 1, 2, 8, 40])
            change = source.randrange(5)
            if change == 0:
                mutant[at] ^= 1 << source.randrange(8)
            elif change == 1:
                mutant[at : at + length] = source.randbytes(length)
            elif change == 2:
                mutant[at:at] = source.choice([source.randbytes(length), b"\xff" * length, bytes(length)])
            elif change == 3:
                del mutant[at : at + length]
                mutant = mutant or bytearray(b"\0")
            else:
                mutant[at:at] = mutant[at : at + 64]
        result.append(bytes(mutant))
    return result


def test_mutated_files_are_refused_or_equal() -> None:
    data = FORMAT_1.read_bytes()
    for mutant in mutants(data, 300, seed=1):
        try:
            assert decode_table(mutant) == known_table()
        except CacheFileError as error:
            assert str(error).endswith(".")
            continue
        assert mutant == data


def test_mutated_files_with_a_fitting_checksum_are_refused_or_consistent() -> None:
    body = FORMAT_1.read_bytes()[:-32]
    table = known_table()
    small = encode_table(CalibrationTable(table.provenance, {"a": table.entries["far"], "b": Entry(Histogram())}))[:-32]
    tracemalloc.start()
    try:
        for mutant in [*mutants(body, 200, seed=2), *mutants(small, 500, seed=3)]:
            try:
                table = decode_table(signed(mutant))
            except CalibratorError as error:
                assert isinstance(error, CacheFileError)
                continue
            for entry in table.entries.values():
                assert entry.histogram.counts.sum() == entry.histogram.count
                assert entry.histogram.minimum <= entry.histogram.maximum
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


NUMBER = packing.packed_number
EMPTY = cache_file.MAGIC + NUMBER(1) + NUMBER(0) * 3
TENSOR = EMPTY + NUMBER(0) + NUMBER(1) + NUMBER(1) + b"t" + NUMBER(0) * 3


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (cache_file.MAGIC + NUMBER(1) + NUMBER(1 << 40), "length of a model fingerprint"),
        (cache_file.MAGIC + NUMBER(1) + NUMBER(60_000) + b"x", "ends in the middle of a model fingerprint"),
        (cache_file.MAGIC + NUMBER(1) + NUMBER(2) + b"\xff\xfe", "not UTF-8"),
        (cache_file.MAGIC + NUMBER(1) + NUMBER(0) * 2 + NUMBER(1 << 30), "number of tools"),
        (EMPTY + NUMBER(1 << 60), "number of samples"),
        (EMPTY + NUMBER(1 << 20), "list of samples"),
        (EMPTY + NUMBER(2) + b"12345678" * 2, "same sample twice"),
        (EMPTY + NUMBER(0) + NUMBER(1 << 50), "number of tensors"),
        (EMPTY + NUMBER(0) + NUMBER(2) + NUMBER(0) * 10, "tensor '' twice"),
        (EMPTY + NUMBER(0) + NUMBER(1) + NUMBER(0) * 3 + NUMBER(1 << 20), "rank"),
        (EMPTY + NUMBER(0) + NUMBER(1) + NUMBER(0) * 3 + NUMBER(1) + NUMBER(3), "kind of dimension"),
        (TENSOR[:-1] + NUMBER(0) + b"\xff" * 9 + b"\x7f", "a count of"),
        (TENSOR + NUMBER(1) + np.float32([0, np.nan]).tobytes(), "values from 0.0 to nan"),
        (TENSOR + NUMBER(1) + np.float32([2, 1]).tobytes(), "values from 2.0 to 1.0"),
        (TENSOR + NUMBER(1) + np.float32([0, 1]).tobytes() + b"\x00", "list of blocks"),
        (TENSOR + NUMBER(1) + np.float32([1, 1]).tobytes() + b"\x7f" + bytes(999), "counts of 127 bits"),
        (TENSOR + NUMBER(1) + np.float32([1, 1]).tobytes() + b"\x37", "block of counts"),
        (TENSOR + NUMBER(1) + np.float32([1, 1]).tobytes() + b"\x81\xff\xff\xff\xff", "holds a count of -32"),
        (TENSOR + NUMBER(1) + np.float32([1, 1]).tobytes() + b"\x00", "contradicts itself"),
        (TENSOR + NUMBER(2) + np.float32([1, 1]).tobytes() + b"\x01\x01\x00\x00\x00", "counts 1 values.*announces 2"),
    ],
)
def test_crafted_files_are_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(CacheFileError, match=sentence):
        decode_table(signed(body))


def test_bins_are_bounded_before_they_are_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_file, "_MOST_BINS", 5000)
    with pytest.raises(CacheFileError, match="more than 5000 bins"):
        decode_table(FORMAT_1.read_bytes())


def test_files_are_bounded_before_they_are_read_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_file, "LARGEST_FILE", 1 << 10)
    with pytest.raises(CacheFileError, match="larger than"):
        read_cache(FORMAT_1)
    with pytest.raises(CacheFileError, match="larger than"):
        write_cache(known_table(), tmp_path / "a.qcal")
    assert list(tmp_path.iterdir()) == []


def test_a_text_too_long_for_the_format_is_refused() -> None:
    with pytest.raises(CacheFileError, match="65536 bytes"):
        encode_table(CalibrationTable(Provenance(preprocessing="x" * 65_536)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.qcal")
    with pytest.raises(CacheFileError, match="it is a named pipe"):
        read_cache(tmp_path / "a.qcal")


def sparse_table(tensors: int) -> CalibrationTable:
    """Tensors with two values each, in the first bin and in the last."""
    histogram = Histogram()
    histogram.observe(np.float32([-0.99999, 0.99999]))
    return CalibrationTable(entries={f"t{number}": Entry(histogram) for number in range(tensors)})


def test_bins_that_hold_nothing_take_little_memory() -> None:
    """8191 bins a tensor in 290 bytes of the file; as 64-bit counts they would be 65 kB each."""
    data = encode_table(sparse_table(200))
    tracemalloc.start()
    try:
        table = decode_table(data)
        assert tracemalloc.get_traced_memory()[0] < 200 * 10_000
        for entry in table.entries.values():
            assert entry.histogram.magnitudes().sum() == entry.histogram.counts.sum() == 2
        assert tracemalloc.get_traced_memory()[0] < 200 * 10_000
    finally:
        tracemalloc.stop()
    assert table == sparse_table(200)


def test_what_was_read_goes_on_counting() -> None:
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    whole = Histogram()
    whole.observe(np.concatenate([values, 100 * values]))
    entry = decode_table(encode_table(table_of(values))).entries["x"]
    entry.histogram.observe(100 * values)
    assert entry.histogram == whole
    assert entry.histogram.counts.dtype == np.int64


def table_of(values: np.ndarray) -> CalibrationTable:
    histogram = Histogram()
    histogram.observe(values)
    return CalibrationTable(entries={"x": Entry(histogram)})
