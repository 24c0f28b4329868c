"""Files of ranges of other tools; the binary and JSON tables against ONNX Runtime's own reader and writer."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.CalTableFlatBuffers.TrtTable import TrtTable
from onnxruntime.quantization.quant_utils import write_calibration_table

from calibrators import (
    UINT8,
    CacheFileError,
    ParameterError,
    Range,
    Scheme,
    format_json,
    format_ort_json,
    format_ort_table,
    format_text,
    format_torch_json,
    parse_ranges,
    range_files,
    wide_in,
)

KNOWN = {"input": 1.0, "conv: 1 out": 0.1, "größe": 6.0, "dead": 0.0, "far": 3.4e38, "a/b:0": 1e-40}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
AMAX = st.dictionaries(NAMES, st.floats(0.0, 3e38), min_size=1, max_size=6)


def symmetric(amax: dict[str, float]) -> dict[str, Range]:
    return {name: Range.symmetric(value) for name, value in amax.items()}


@given(AMAX)
def test_json_and_binary_tables_read_back_bit_for_bit(amax: dict[str, float]) -> None:
    kept = symmetric(amax)
    assert parse_ranges(format_json(kept).encode()) == kept
    assert parse_ranges(format_torch_json(kept).encode()) == kept
    assert parse_ranges(format_ort_table(amax)) == kept
    turned = dict(reversed(amax.items()))
    assert (format_json(symmetric(turned)), format_ort_table(turned)) == (format_json(kept), format_ort_table(amax))


@given(st.dictionaries(NAMES, st.tuples(st.floats(-3e38, 3e38), st.floats(-3e38, 3e38)), min_size=1, max_size=6))
def test_json_holds_both_ends_and_what_stays_float(ends: dict[str, tuple[float, float]]) -> None:
    ranges = {name: Range(*sorted(both)) for name, both in ends.items()}
    wide = frozenset(list(ranges)[::2])
    affine = format_torch_json(ranges, Scheme(UINT8, symmetric=False), wide)
    for text in (format_json(ranges, wide), affine):
        assert (parse_ranges(text.encode()), wide_in(text.encode())) == (ranges, wide)
    assert parse_ranges(format_ort_json(ranges).encode()) == ranges
    assert wide_in(format_ort_json(ranges).encode()) == frozenset()


@given(
    st.dictionaries(
        st.from_regex(r"[^\s\x00]([^\n\r\x00]*[^\s\x00])?", fullmatch=True), st.floats(0.0, 3e38), min_size=1
    )
)
def test_text_tables_read_back_bit_for_bit(amax: dict[str, float]) -> None:
    assert range_files.parse_text_ranges(format_text(amax)) == symmetric(amax)


def test_known_files_are_told_apart() -> None:
    assert parse_ranges(format_text(KNOWN).encode()) == symmetric(KNOWN)
    assert parse_ranges(b"\xef\xbb\xbf" + format_json(symmetric(KNOWN)).encode()) == symmetric(KNOWN)
    assert parse_ranges(b"TRT-8601-EntropyCalibration2\nx: 3c010204\n") == symmetric(
        {"x": 127 * float(np.float32(1 / 127))}
    )


def test_torch_json_holds_what_fake_quantization_takes() -> None:
    document = json.loads(format_torch_json({"x": Range(-254.0, 254.0), "dead": Range(0.0, 0.0)}))
    assert document == {
        "x": {"amax": 254.0, "scale": 2.0, "zero_point": 0},
        "dead": {"amax": 0.0, "scale": 1.0, "zero_point": 0},
    }
    affine = Scheme(UINT8, symmetric=False)
    assert json.loads(format_torch_json({"x": Range(-1.0, 254.0)}, affine, frozenset({"x"}))) == {
        "x": {"minimum": -1.0, "maximum": 254.0, "scale": 1.0, "zero_point": 1, "wide": True}
    }


def test_onnx_runtime_reads_the_binary_table() -> None:
    table = TrtTable.GetRootAs(format_ort_table(KNOWN), 0)
    entries = [table.Dict(i) for i in range(table.DictLength())]
    assert {entry.Key().decode(): float(entry.Value()) for entry in entries} == KNOWN
    assert TrtTable.GetRootAs(format_ort_table({}), 0).DictLength() == 0


def test_tables_written_by_onnx_runtime_are_read(tmp_path: Path) -> None:
    ranges = {"input": Range(-1.0, 0.5), "conv: 1": Range(0.0, 6.0), "odd": Range(-0.25, 3.7)}
    data = {
        name: TensorData(lowest=np.array(chosen.minimum, np.float32), highest=np.array([chosen.maximum], np.float32))
        for name, chosen in ranges.items()
    }
    write_calibration_table(data, str(tmp_path))
    ranges["odd"] = Range(-0.25, float(np.float32(3.7)))  # what it stores
    signless = {name: chosen.amax for name, chosen in ranges.items()}
    signless["input"] = 0.5  # it stores max(high, low) without abs
    for table in ("calibration.flatbuffers", "calibration.cache"):
        found = parse_ranges((tmp_path / table).read_bytes())
        assert {name: kept.amax for name, kept in found.items()} == pytest.approx(signless)
        assert all(kept.minimum == -kept.maximum for kept in found.values())
    assert parse_ranges((tmp_path / "calibration.json").read_bytes()) == ranges
    assert parse_ranges(format_ort_json(ranges).encode()) == ranges


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 2.5}',
        '{"x": [-2.5, 2.5]}',
        '{"x": {"amax": 2.5, "scale": 1}}',
        '{"x": {"lowest": -2.5, "highest": 2.5}}',
        '{"CLS": "TensorsData", "data": {"x": {"lowest": {"data": [-2.5], "CLS": "numpy.array"}, "highest": 2.5}}}',
        '  {"x": "2.5"}',
        "x 2.5",
        "\n x 25e-1 \r\n",
    ],
)
def test_forms_of_a_range(text: str) -> None:
    assert {name.strip(): kept for name, kept in parse_ranges(text.encode()).items()} == symmetric({"x": 2.5})


@pytest.mark.parametrize("text", ['{"x": [0, 2.5]}', '{"x": {"lowest": 0, "highest": 2.5}}'])
def test_both_ends_of_a_range_are_kept(text: str) -> None:
    assert parse_ranges(text.encode()) == {"x": Range(0.0, 2.5)}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "holds no range"),
        (b"{}", "holds no range"),
        (b"{", "no valid JSON"),
        (b"[1, 2]", "holds a list"),
        (b'{"x": NaN}', "NaN is no number"),
        (b'{"x": Infinity}', "no number"),
        (b'{"x": 1e999}', "'x' no range"),
        (b'{"x": 1e39}', "'x' an amax of 1e\\+39"),
        (b'{"x": -1}', "'x' an amax of -1.0"),
        (b'{"x": true}', "'x' no range"),
        (b'{"x": null}', "'x' no range"),
        (b'{"x": []}', "'x' no range"),
        (b'{"x": {}}', "'x' no range"),
        (b'{"x": "1_0"}', "'x' no range"),
        (b'{"x": [1, 2, 3]}', "'x' no range"),
        (b'{"x": [3, 1]}', "'x' a range from 3.0 to 1.0"),
        (b'{"x": [0, 1e39]}', "'x' a range from 0.0 to 1e\\+39"),
        (b'{"x": 1, "x": 2}', "a name is there twice"),
        (b"[" * 100_000, "no valid JSON"),
        (b'{"x": ' + b"9" * 5000 + b"}", "no valid JSON|'x' no range"),
        (b"x", "Line 1 of f is broken"),
        (b"a 1\nx y\n", "Line 2 of f is broken"),
        (b"x nan\n", "Line 1 of f is broken"),
        (b"x -1\n", "'x' an amax of -1"),
        (b"x 1\nx 2\n", "'x' two ranges"),
        (b"TRT-8601-EntropyCalibration2\n", "holds no range"),
        (b"TRT-8601-EntropyCalibration2\nx: 7e800000\n", "'x' an amax of"),
        (b"\x00", "no valid TensorRT table"),
        (b"\x00" * 64, "no valid TensorRT table|holds no range"),
        (b"\x04\x00\x00\x00\xff\xff\xff\x7f", "points to byte"),
    ],
)
def test_broken_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(CacheFileError, match=sentence):
        parse_ranges(data, "f")


def test_a_range_of_text_in_the_binary_table_must_be_a_number() -> None:
    data = format_ort_table({"x": 1.25})
    for wrong in (b"nan ", b"1_25", b"0x12", b"-1.0", b"1\xb25 "):
        with pytest.raises(CacheFileError, match="'x'"):
            parse_ranges(data.replace(b"1.25", wrong))


def test_overlapping_texts_cannot_blow_up_the_memory() -> None:
    data = bytearray(format_ort_table({f"{i:064}": 1.0 for i in range(500)}))
    first = data.index(b"0" * 64) - 4
    data[first : first + 4] = (len(data) - first - 4).to_bytes(4, "little")
    second = data.index(b"0" * 63 + b"1", first + 60) - 4
    data[second : second + 4] = (len(data) - second - 4).to_bytes(4, "little")
    with pytest.raises(CacheFileError, match="announces a text"):
        parse_ranges(bytes(data))


def test_too_large_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_files, "LARGEST_FILE", 1 << 10)
    with pytest.raises(CacheFileError, match="larger than"):
        parse_ranges(b"x 1\n" * 257)


@pytest.mark.parametrize("amax", [-1.0, math.nan, math.inf])
def test_ranges_that_cannot_be_written(amax: float) -> None:
    for write in (format_ort_table, format_text):
        with pytest.raises(ParameterError, match="'x'"):
            write({"x": amax})
    for write_json in (format_json, format_torch_json, format_ort_json):
        with pytest.raises(ParameterError, match="'x'"):
            write_json({"x": Range(0.0, 1e39)})


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\rb"])
def test_names_that_a_line_cannot_hold(name: str) -> None:
    with pytest.raises(ParameterError, match="cannot hold"):
        format_text({name: 1.0})


@pytest.mark.parametrize("form", [format_json, format_torch_json, format_text, format_ort_table])
def test_mutated_files_are_refused_or_hold_finite_ranges(form: object) -> None:
    assert callable(form)
    written = form(symmetric(KNOWN) if form in (format_json, format_torch_json) else KNOWN)
    data = written if isinstance(written, bytes) else written.encode()
    source = random.Random(len(data))
    refused = 0
    for _ in range(300):
        mutant = bytearray(data)
        for _ in range(source.choice([1, 2, 6])):
            at = source.randrange(len(mutant))
            mutant[at : at + source.choice([0, 1, 1, 9])] = source.randbytes(source.choice([0, 1, 1, 4]))
        try:
            found = parse_ranges(bytes(mutant))
        except CacheFileError as error:
            assert str(error).endswith(".")
            refused += 1
            continue
        assert all(0.0 <= kept.amax < math.inf for kept in found.values())
    assert 50 < refused <= 300
