"""Quantization parameters, and quantize/dequantize against ONNX Runtime bit for bit."""

from functools import cache

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper, numpy_helper

from calibrators import (
    INT8,
    UINT8,
    NonFiniteError,
    ParameterError,
    QParams,
    dequantize,
    is_negligible,
    quantize,
    symmetric_qparams,
    weight_amax,
)

AMAX = st.floats(0.0, float(np.finfo(np.float32).max), width=32)


def in_onnx_runtime(operator: str, values: np.ndarray, qparams: QParams) -> np.ndarray:
    """The one operator."""
    attributes = {} if qparams.axis is None else {"axis": qparams.axis}
    constants = [numpy_helper.from_array(qparams.scale, "scale"), numpy_helper.from_array(qparams.zero_point, "zero")]
    result = qparams.zero_point.dtype if operator == "QuantizeLinear" else qparams.scale.dtype
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "scale", "zero"], ["y"], **attributes)],
        "one_operator",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(values.dtype), values.shape)],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(result), values.shape)],
        constants,
    )
    return run(graph, {"x": values})


def run(graph: onnx.GraphProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """The first output of a graph, run literally: optimisations off."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)[0]


@cache
def truncates_halves() -> bool:
    """Whether this ONNX Runtime's float16 kernel cuts 0.75 to 0, as early ones do (1.20 among them)."""
    qparams = QParams(np.array(1.0, np.float16), np.zeros((), np.int8))
    return bool(in_onnx_runtime("QuantizeLinear", np.float16([0.75]), qparams)[0] == 0)


def hard_values(scale: np.ndarray, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    """Ties, saturation, huge and tiny values, signed zeros and Inf, around the given scales."""
    random = np.random.default_rng(7)
    steps = np.arange(-140, 140, dtype=np.float32) + np.float32(0.5)
    steps = np.concatenate([steps, np.nextafter(steps, np.float32(np.inf)), np.nextafter(steps, np.float32(-np.inf))])
    drawn = random.choice(steps, size=shape).astype(np.float32)
    loose = random.random(shape) < 0.3
    drawn[loose] = random.normal(0.0, 60.0, size=int(loose.sum())).astype(np.float32)
    spread = [1] * len(shape)
    if axis is not None:
        spread[axis] = -1
    with np.errstate(over="ignore"):
        values = (drawn * scale.astype(np.float32).reshape(spread if axis is not None else ())).astype(scale.dtype)
    finfo = np.finfo(scale.dtype)
    special = [0.0, -0.0, finfo.max, finfo.min, finfo.smallest_subnormal, finfo.tiny]
    if scale.dtype == np.float32:  # ONNX Runtime's float16 kernel overflows on Inf
        special += [np.inf, -np.inf]
    values.reshape(-1)[: len(special)] = special
    return values


@pytest.mark.parametrize("scale_dtype", [np.float32, np.float16])
@pytest.mark.parametrize("qtype", [INT8, UINT8], ids=lambda qtype: qtype.name)
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
def test_equal_to_onnx_runtime(scale_dtype: type, qtype: object, axis: int | None) -> None:
    shape = (5, 7, 301)
    random = np.random.default_rng(3)
    amax = 10.0 ** random.uniform(-1.5, 2.0, () if axis is None else shape[axis])
    qparams = symmetric_qparams(amax, axis=axis, qtype=qtype, scale_dtype=scale_dtype)  # type: ignore[arg-type]
    values = hard_values(qparams.scale, shape, axis)
    codes = quantize(values, qparams)
    assert codes.dtype == qparams.qtype.dtype
    if scale_dtype is np.float32 or not truncates_halves():
        assert np.array_equal(codes, in_onnx_runtime("QuantizeLinear", values, qparams))
    reals = dequantize(codes, qparams)
    expected = in_onnx_runtime("DequantizeLinear", codes, qparams)
    assert reals.dtype == expected.dtype
    assert reals.tobytes() == expected.tobytes()


@pytest.mark.parametrize("zero_point", [-128, -5, 7, 127])
def test_equal_to_onnx_runtime_with_a_zero_point(zero_point: int) -> None:
    qparams = QParams(np.array(0.05, np.float32), np.array(zero_point, np.int8))
    values = hard_values(qparams.scale, (4, 500), None)
    codes = quantize(values, qparams)
    assert np.array_equal(codes, in_onnx_runtime("QuantizeLinear", values, qparams))
    assert dequantize(codes, qparams).tobytes() == in_onnx_runtime("DequantizeLinear", codes, qparams).tobytes()


def test_rounding_and_saturation_of_the_specification() -> None:
    values = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 127.5, -129])
    assert quantize(values, symmetric_qparams(127.0)).tolist() == [0, 2, 2, 0, -2, -2, 127, -128]


@given(
    arrays.arrays(np.float32, 30, elements=st.floats(-1000.0, 1000.0, width=32)), st.floats(2.0**-10, 1000.0, width=32)
)
def test_quantizing_twice_changes_nothing(values: np.ndarray, amax: float) -> None:
    qparams = symmetric_qparams(amax)
    codes = quantize(values, qparams)
    assert np.array_equal(quantize(dequantize(codes, qparams), qparams), codes)
    inside = np.abs(values) <= amax
    error = np.abs(dequantize(codes, qparams).astype(np.float64) - values)[inside]
    assert np.all(error <= float(qparams.scale) * 0.5000001)


@given(st.floats(2.0**-10, 1000.0, width=32))
def test_zero_stays_zero(amax: float) -> None:
    for qtype in (INT8, UINT8):
        qparams = symmetric_qparams(amax, qtype=qtype)
        assert dequantize(quantize(np.zeros(1, np.float32), qparams), qparams)[0] == 0.0


@given(AMAX)
def test_scale_is_the_float32_quotient(amax: float) -> None:
    scale = symmetric_qparams(amax).scale
    quotient = np.float32(amax) / np.float32(127)
    assert scale == (quotient if quotient >= np.finfo(np.float32).smallest_normal else 1.0)
    assert scale.dtype == np.float32


@given(st.floats(2.0**-119, 2.0**100, width=32))
def test_amax_and_scale_times_127_differ_by_one_ulp_at_most(amax: float) -> None:  # T55
    back = np.float32(symmetric_qparams(amax).scale) * np.float32(127)
    assert abs(back - np.float32(amax)) <= np.spacing(np.float32(amax))


@given(st.floats(2.0**-126, 2.0**120, width=32))
def test_a_scale_comes_back_from_its_amax_exactly(scale: float) -> None:
    assert symmetric_qparams(scale * 127.0).scale == np.float32(scale)


@pytest.mark.parametrize(
    ("amax", "bits"), [(1.0, "3c010204"), (0.5, "3b810204"), (6.0, "3d418306"), (255.0, "40008102")]
)
def test_scales_of_the_rules(amax: float, bits: str) -> None:  # section 6.1
    assert symmetric_qparams(amax).scale.astype(">f4").tobytes().hex() == bits


def test_negligible_ranges_get_scale_1() -> None:  # A19
    amax = np.array([0.0, 1e-42, 127 * 2.0**-126, 1.0])
    assert symmetric_qparams(amax, axis=0).scale.tolist()[:3] == [1.0, 1.0, 2.0**-126]
    assert is_negligible(amax).tolist() == [True, True, False, False]
    half = symmetric_qparams([0.001, 127 * 2.0**-14, 1.0], axis=0, scale_dtype=np.float16)
    assert half.scale.tolist() == [1.0, 2.0**-14, float(np.float16(1 / 127))]


@pytest.mark.parametrize("amax", [np.nan, np.inf, [1.0, np.nan], 1e300])
def test_non_finite_amax_is_refused(amax: object) -> None:  # A7
    with pytest.raises(NonFiniteError):
        symmetric_qparams(amax, axis=None if np.isscalar(amax) else 0)  # type: ignore[arg-type]


def test_an_amax_too_large_for_float16_is_refused() -> None:
    with pytest.raises(NonFiniteError, match="float16"):
        symmetric_qparams(127 * 65_536.0, scale_dtype=np.float16)


@pytest.mark.parametrize("amax", [-1.0, [1.0, -0.5]])
def test_negative_amax_is_refused(amax: object) -> None:
    with pytest.raises(ParameterError):
        symmetric_qparams(amax, axis=None if np.isscalar(amax) else 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis"),
    [
        (np.ones(3, np.float32), np.zeros(3, np.int8), None),
        (np.float32(1.0).reshape(()), np.zeros((), np.int8), 0),
        (np.ones(3, np.float32), np.zeros(2, np.int8), 0),
        (np.ones(3, np.float32), np.zeros(3, np.int8), -1),
        (np.ones(3, np.float64), np.zeros(3, np.int8), 0),
        (np.ones(3, np.float32), np.zeros(3, np.uint8), 0),
    ],
)
def test_parameters_that_do_not_fit_are_refused(scale: np.ndarray, zero_point: np.ndarray, axis: int | None) -> None:
    with pytest.raises(ParameterError):
        QParams(scale, zero_point, axis)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_must_be_positive_and_finite(scale: float) -> None:  # A7
    with pytest.raises(NonFiniteError):
        QParams(np.array(scale, np.float32), np.zeros((), np.int8))


def test_values_that_do_not_fit_the_axis_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"\(2, 4\).*3 scales along axis 1"):
        quantize(np.zeros((2, 4), np.float32), symmetric_qparams(np.ones(3), axis=1))
    with pytest.raises(ParameterError):
        dequantize(np.zeros(3, np.int8), symmetric_qparams(np.ones(3), axis=1))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_infinite_values_saturate(dtype: type) -> None:
    qparams = symmetric_qparams(1.0, scale_dtype=dtype)
    assert quantize(np.array([np.inf, -np.inf], dtype), qparams).tolist() == [127, -128]


def test_nan_has_no_code() -> None:
    with pytest.raises(NonFiniteError, match="NaN"):
        quantize(np.float32([1.0, np.nan]), symmetric_qparams(1.0))


def test_equality_compares_the_numbers() -> None:
    assert symmetric_qparams(np.ones(3), axis=0) == symmetric_qparams(np.ones(3), axis=0)
    assert symmetric_qparams(np.ones(3), axis=0) != symmetric_qparams(np.ones(3), axis=1)
    assert symmetric_qparams(1.0) != symmetric_qparams(1.0, scale_dtype=np.float16)
    assert symmetric_qparams(1.0) != symmetric_qparams(2.0)
    assert symmetric_qparams(1.0) != 1.0


@given(
    arrays.arrays(np.float32, (3, 4, 5), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    st.sampled_from([0, 1, 2]),
)
def test_weight_amax_is_the_plain_maximum(weight: np.ndarray, axis: int) -> None:
    kept = np.moveaxis(weight, axis, 0)
    assert weight_amax(weight, axis).tolist() == [float(np.abs(part).max()) for part in kept]
    assert weight_amax(weight) == np.abs(weight).max()
    assert weight_amax(weight).shape == ()


def test_weight_amax_names_bad_slices_and_axes() -> None:
    weight = np.ones((4, 3), np.float16)
    assert weight_amax(weight, 0).dtype == np.float32
    weight[1, 1] = np.nan
    weight[2, 0] = -np.inf
    with pytest.raises(NonFiniteError, match="2 of 4 slices"):
        weight_amax(weight, 0)
    with pytest.raises(ParameterError, match="no axis 2"):
        weight_amax(weight, 2)
    assert weight_amax(np.zeros((2, 0), np.float32), 0).tolist() == [0.0, 0.0]
