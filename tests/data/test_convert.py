from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from qdq_cli.data.convert import check_type, convert
from qdq_cli.process.errors import DataError


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (np.float64, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float16),
        (">f4", np.float32),
        (np.float32, ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, np.float32),
        (np.int32, np.int64),
        (np.int64, np.int32),
        (np.uint8, np.int64),
        (np.int64, np.uint8),
        (bool, bool),
    ],
)
def test_values_that_fit_are_converted_silently(found, wanted, spec):
    array = np.array([[0, 1], [1, 0]]).astype(found)
    target = spec("x", (2, 2), wanted)
    check_type("a", array.dtype, target)
    result = convert(array, target, "a")
    assert result.dtype == target.dtype
    assert result.dtype.isnative
    assert result.astype(np.float32).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (np.int64, np.float32),
        (np.float32, np.int64),
        (bool, np.float32),
        (np.uint8, bool),
        (np.complex64, np.float32),
        (np.float32, bool),
        ("U3", np.float32),
        ("V2", np.float32),
        ("M8[s]", np.int64),
    ],
)
def test_kinds_are_not_mixed_and_both_are_named(found, wanted, spec):
    with pytest.raises(DataError) as caught:
        check_type("calib.npz: array 'x'", np.dtype(found), spec("x", (2, 2), wanted))
    assert np.dtype(found).name in caught.value.message
    assert f"takes {np.dtype(wanted).name}" in caught.value.message


def test_pixels_for_a_float_image_input_get_their_own_hint(spec):
    with pytest.raises(DataError) as caught:
        check_type("a.npy", np.dtype(np.uint8), spec("x", (None, 3, 8, 8)))
    assert "--preprocess" in caught.value.hint
    with pytest.raises(DataError) as caught:
        check_type("a.npy", np.dtype(np.uint8), spec("x", (None, 16)))
    assert "--preprocess" not in caught.value.hint


def test_a_scalar_stays_a_scalar(spec):
    assert convert(np.array(3, np.int32), spec("s", (), np.int64), "a").shape == ()
    assert convert(np.array(3, np.int64), spec("s", (), np.int64), "a").shape == ()


def test_the_result_is_contiguous(spec):
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    for wanted in (np.float32, np.float16):
        assert convert(array, spec("x", (3, 2), wanted), "a").flags.c_contiguous


def test_text_becomes_objects(spec):
    target = spec("x", (2,), object)
    array = np.array(["ab", "c"])
    check_type("a", array.dtype, target)
    assert convert(array, target, "a").tolist() == ["ab", "c"]


def test_bfloat16_written_by_numpy_is_recognized_for_a_bfloat16_input(tmp_path, spec):
    values = np.array([1.5, -2], ml_dtypes.bfloat16)
    target = spec("x", (2,), ml_dtypes.bfloat16)
    unnamed = values.view("V2")
    check_type("a", unnamed.dtype, target)
    assert convert(unnamed, target, "a").tolist() == [1.5, -2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_nan_is_named_and_counted(dtype, spec):
    array = np.array([1, np.nan, np.nan]).astype(dtype)
    with pytest.raises(DataError, match=r"c\.npz\[3\]: input 'x' holds NaN \(2 of 3 values\)"):
        convert(array, spec("x", (3,)), "c.npz[3]")


def test_infinity_is_kept_because_masks_are_made_of_it(spec):
    array = np.array([-np.inf, 0])
    assert convert(array, spec("mask", (2,)), "a").tolist() == [-np.inf, 0]


@pytest.mark.parametrize(
    ("value", "found", "wanted"),
    [
        (70000.0, np.float32, np.float16),
        (1e300, np.float64, np.float32),
        (70000.0, ml_dtypes.bfloat16, np.float16),
        (300, np.int64, np.uint8),
        (-1, np.int64, np.uint8),
        (2**63, np.uint64, np.int64),
    ],
)
def test_a_value_the_type_cannot_hold_is_named(value, found, wanted, spec):
    with pytest.raises(DataError, match=f"input 'x' holds .*{np.dtype(wanted).name}"):
        convert(np.array([0, value]).astype(found), spec("x", (2,), wanted), "a.npy")
