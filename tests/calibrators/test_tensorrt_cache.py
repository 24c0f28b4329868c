"""TensorRT's text calibration cache: test case T56 and the vectors of the rules, section 6.1."""

import math
import random
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calibrators import (
    CacheFileError,
    ParameterError,
    Range,
    TensorRTCache,
    format_tensorrt_cache,
    make_tensorrt_cache,
    parse_ranges,
    parse_tensorrt_cache,
    symmetric_qparams,
    tensorrt_version,
)

SAMPLE = """\
TRT-8503-EntropyCalibration2
input: 3c010204
conv1_out: 3d418306
(Unnamed Layer* 64) [Shuffle]_output: 3b810204
model/conv:0: 40008102
a: b: c: 0
tiny: 1
"""


def test_t56_the_sample_of_the_specification() -> None:
    cache = parse_tensorrt_cache(SAMPLE)
    assert (cache.version, cache.algorithm, cache.other) == (8503, "EntropyCalibration2", ())
    amax = cache.amax()
    assert list(amax) == [
        "input",
        "conv1_out",
        "(Unnamed Layer* 64) [Shuffle]_output",
        "model/conv:0",
        "a: b: c",
        "tiny",
    ]
    assert [np.float32(value) for value in amax.values()][:5] == [1.0, 6.0, 0.5, 255.0, 0.0]
    assert amax["tiny"] == 127 * 2.0**-149
    assert format_tensorrt_cache(cache) == SAMPLE


@pytest.mark.parametrize(
    ("amax", "digits"),
    [(1.0, "3c010204"), (0.5, "3b810204"), (6.0, "3d418306"), (255.0, "40008102"), (0.0, "0"), (1e-40, "232")],
)
def test_scales_of_the_specification(amax: float, digits: str) -> None:
    text = format_tensorrt_cache(make_tensorrt_cache({"x": amax}))
    assert text == f"TRT-8601-EntropyCalibration2\nx: {digits}\n"


def test_onnx_runtimes_sample() -> None:
    cache = parse_tensorrt_cache("TRT-8501-EntropyCalibration2\nt: 4000889d\n")
    assert cache.amax()["t"] == pytest.approx(255.06, abs=0.005)


@pytest.mark.parametrize(
    ("release", "number"),
    [("8.5.3", 8503), ("8.6.1", 8601), ("8.6.1.6", 8601), ("7.2", 7200), ("10.14.1", 101401), ("10.0.0", 100000)],
)
def test_release_numbers(release: str, number: int) -> None:
    assert tensorrt_version(release) == number


@pytest.mark.parametrize("release", ["", "8", "8601", "eight", "8.6.1-ga", "8.6.100", "-8.6.1"])
def test_other_release_names_are_refused(release: str) -> None:
    with pytest.raises(ParameterError, match="not a TensorRT release"):
        tensorrt_version(release)


NAMES = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), min_size=1, max_size=20)
AMAX = st.floats(0.0, float(np.finfo(np.float32).max))


@given(st.dictionaries(NAMES, AMAX, max_size=6))
@example({"#": 1.504632769052528e-36})
def test_t56_written_caches_read_back(amax: dict[str, float]) -> None:
    cache = make_tensorrt_cache(amax, "10.3.0", "MinMaxCalibration")
    text = format_tensorrt_cache(cache)
    assert parse_tensorrt_cache(text) == cache
    assert (
        format_tensorrt_cache(make_tensorrt_cache(dict(reversed(amax.items())), "10.3.0", "MinMaxCalibration")) == text
    )


@given(st.integers(0x00800000, 0x7E000000))
def test_scales_survive_the_way_through_amax(bits: int) -> None:
    (scale,) = struct.unpack("!f", struct.pack("!I", bits))
    cache = parse_tensorrt_cache(f"TRT-8601-EntropyCalibration2\nx: {bits:x}\n")
    assert cache.scales["x"] == scale
    assert symmetric_qparams(cache.amax()["x"]).scale == np.float32(scale)
    assert make_tensorrt_cache(cache.amax()).scales == cache.scales


def test_blank_and_unknown_lines_and_line_ends() -> None:
    parameters = "\r\n\n  \nquantile 0.9999\nregressionCutoff: 0.5\r\n"
    cache = parse_tensorrt_cache("\ufeffTRT-101401-LegacyCalibration\r\n" + parameters + " x: 3C010204 \r\ny:3f")
    assert cache == TensorRTCache(
        101401,
        "LegacyCalibration",
        {" x": np.float32(1 / 127), "y": 0x3F * 2.0**-149},
        ("quantile 0.9999", "regressionCutoff: 0.5"),
    )
    assert parse_tensorrt_cache(format_tensorrt_cache(cache)) == cache


@pytest.mark.parametrize(
    "header", ["", "TRT-", "TRT-EntropyCalibration2", "input: 3c010204", "\x89PNG", "TRT 8601 and more of it"]
)
def test_files_without_a_header_are_refused(header: str) -> None:
    with pytest.raises(CacheFileError, match=r"f\.cache is no TensorRT calibration cache"):
        parse_tensorrt_cache(f"{header}\nx: 3c010204\n", "f.cache")


@pytest.mark.parametrize(
    ("header", "version", "algorithm"),
    [
        ("TRT-8XXX-EntropyCalibration2", None, "EntropyCalibration2"),
        ("TRT-100001-EntropyCalibration2", 100001, "EntropyCalibration2"),
        ("trt-8503-entropycalibration2", 8503, "EntropyCalibration2"),
        ("Trt-8503-MINMAXCALIBRATION\r", 8503, "MinMaxCalibration"),
        ("TRT-8.6.1-EntropyCalibration2", None, "EntropyCalibration2"),
        ("TRT-8601", 8601, ""),
        ("TRT-8601-", 8601, ""),
        ("  TRT - 8601 - SomethingElse ", 8601, "SomethingElse"),
        ("\n# made at 12:30\n// by hand\nTRT_8601_LegacyCalibration", 8601, "LegacyCalibration"),
    ],
)
def test_headers_of_another_spelling_are_read(header: str, version: int | None, algorithm: str) -> None:
    text = f"{header}\nx: 3c010204\r\n# checked: by 12:30\n; again\n"
    cache = parse_tensorrt_cache(text)
    assert (cache.version, cache.algorithm) == (version, algorithm)
    assert list(cache.scales) == ["x"]
    assert cache.other[-2:] == ("# checked: by 12:30", "; again")
    assert parse_ranges(text.encode()) == {"x": Range.symmetric(cache.amax()["x"])}
    assert parse_tensorrt_cache(format_tensorrt_cache(cache)) == cache


@pytest.mark.parametrize(
    "line",
    [
        "x: ",
        "x: 3c01020z",
        "x: 3c0102040",
        "x: 0x3c010204",
        "x: 7f800000",
        "x: 7fc00000",
        "x: bc010204",
        "x: 80000000",
        ": 3c010204",
        "x: 3c 01",
        "x: -1",
        "x: 12 # note: yes",
    ],
)
def test_broken_lines_are_refused_by_number(line: str) -> None:
    with pytest.raises(CacheFileError, match="Line 3 of f is broken"):
        parse_tensorrt_cache(f"TRT-8601-EntropyCalibration2\na: 3c010204\n{line}\n", "f")


def test_a_tensor_may_not_have_two_scales() -> None:
    same = "TRT-8601-EntropyCalibration2\na: 3c010204\na: 3C010204\n"
    assert list(parse_tensorrt_cache(same).scales) == ["a"]
    with pytest.raises(CacheFileError, match="'a' two scales; the second is in line 4"):
        parse_tensorrt_cache(same + "a: 3c010205\n")


@pytest.mark.parametrize("name", ["", "a\nb", "a\rb"])
def test_names_that_cannot_be_written(name: str) -> None:
    with pytest.raises(ParameterError, match="cannot hold"):
        make_tensorrt_cache({name: 1.0})


@pytest.mark.parametrize("amax", [-1.0, math.nan, math.inf, 1e300])
def test_ranges_that_cannot_be_written(amax: float) -> None:
    with pytest.raises(ParameterError, match="'x'"):
        make_tensorrt_cache({"x": amax})


def test_only_known_algorithms_are_written() -> None:
    with pytest.raises(ParameterError, match="EntropyCalibration2"):
        make_tensorrt_cache({}, algorithm="Entropy")


def test_mutated_files_are_refused_or_hold_finite_scales() -> None:
    source = random.Random(8)
    refused = 0
    for _ in range(400):
        mutant = bytearray(SAMPLE.encode())
        for _ in range(source.choice([1, 2, 6])):
            at = source.randrange(len(mutant))
            mutant[at : at + source.choice([0, 1, 1, 9])] = source.randbytes(source.choice([0, 1, 1, 4]))
        try:
            cache = parse_tensorrt_cache(mutant.decode("utf-8", "surrogateescape"))
        except CacheFileError:
            refused += 1
            continue
        assert all(math.isfinite(scale) and scale >= 0 for scale in cache.scales.values())
        assert parse_tensorrt_cache(format_tensorrt_cache(cache)).scales == cache.scales
    assert 50 < refused < 400
