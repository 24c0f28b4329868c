"""Every type, symmetric and affine, per tensor, channel and block: against ONNX Runtime bit for bit, and laws."""

from __future__ import annotations

import math
from functools import cache

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from calibrators import (
    FP4_E2M1,
    FP8_E4M3,
    FP8_E5M2,
    INT4,
    INT8,
    QTYPES,
    UINT8,
    Block,
    Granularity,
    NonFiniteError,
    ParameterError,
    PerChannel,
    PerTensor,
    QParams,
    QType,
    Range,
    Ranges,
    Scheme,
    dequantize,
    qparams_of,
    quantize,
    symmetric_qparams,
    weight_amax,
    weight_ranges,
)
from tests.calibrators.test_qparams import run, truncates_halves

ML_DTYPES = {
    "int4": ml_dtypes.int4,
    "uint4": ml_dtypes.uint4,
    "float8e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8e5m2": ml_dtypes.float8_e5m2,
    "float4e2m1": ml_dtypes.float4_e2m1fn,
}
SHAPE = (6, 10, 7)
GRANULARITIES = (PerTensor(), PerChannel(0), PerChannel(1), PerChannel(2), Block(1, 5), Block(0, 4), Block(2, 2))
SCHEMES = [
    Scheme(qtype, symmetric, granularity)
    for qtype in QTYPES.values()
    if qtype is not FP4_E2M1  # for which ONNX Runtime's CPU has neither Q nor DQ
    for symmetric in ((True, False) if qtype.grid is None else (True,))
    for granularity in GRANULARITIES
]


def title(scheme: Scheme) -> str:
    granularity = str(scheme.granularity).replace("axis=", "").replace("size=", "").replace(", ", "-")
    return f"{scheme.qtype.name}-{'symmetric' if scheme.symmetric else 'affine'}-{granularity}"


def onnx_type(qtype: QType) -> int:
    return int(getattr(TensorProto, qtype.name.upper()))


def stored(codes: np.ndarray, qtype: QType, name: str) -> onnx.TensorProto:
    """Codes as a file holds them: 4-bit integers two a byte, the first in the low half."""
    data = codes.tobytes()
    if "int4" in qtype.name:
        flat = (codes.reshape(-1).astype(np.int64) & 15).astype(np.uint8)
        flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
        data = (flat[::2] | flat[1::2] << 4).tobytes()
    return TensorProto(name=name, data_type=onnx_type(qtype), dims=codes.shape, raw_data=data)


def in_onnx_runtime(values: np.ndarray, codes: np.ndarray | None, qparams: QParams) -> np.ndarray:
    """DequantizeLinear of stored codes, or the pair Q, DQ of values."""
    attributes = {} if qparams.axis is None else {"axis": qparams.axis}
    if qparams.block_size is not None:
        attributes["block_size"] = qparams.block_size
    real = helper.np_dtype_to_tensor_dtype(qparams.scale.dtype)
    constants = [
        helper.make_tensor("scale", real, qparams.scale.shape, qparams.scale.tobytes(), raw=True),
        stored(qparams.zero_point, qparams.qtype, "zero"),
    ]
    nodes = [helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"], **attributes)]
    if codes is None:
        nodes.insert(0, helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"], **attributes))
        inputs = [helper.make_tensor_value_info("x", real, values.shape)]
    else:
        constants.append(stored(codes, qparams.qtype, "codes"))
        inputs = []
    outputs = [helper.make_tensor_value_info("y", real, values.shape)]
    graph = helper.make_graph(nodes, "pair", inputs, outputs, constants)
    return run(graph, {"x": values} if codes is None else {})


def sample(scheme: Scheme, dtype: type = np.float32, seed: int = 3) -> tuple[np.ndarray, QParams]:
    """Values of very different channels, with ties, zeros of both signs and outliers that saturate."""
    random = np.random.default_rng(seed)
    values = random.normal(0.3, 1.0, SHAPE) * 10.0 ** random.uniform(-1.5, 1.5, SHAPE[:2])[..., None]
    values = values.astype(dtype)
    qparams = qparams_of(weight_ranges(values, scheme.granularity), scheme, dtype)
    if isinstance(scheme.granularity, PerTensor):
        step = qparams.scale.astype(np.float32)
        levels = scheme.qtype.levels()[:200]
        ties = (levels[:-1] + levels[1:]) / 2
        values.reshape(-1)[: ties.size] = (ties * step).astype(dtype)
    # in steps of the finest scale, what is farther out than this overflows 32 bits in ONNX Runtime 1.24
    values.reshape(-1)[-6:] = np.array([0.0, -0.0, 1e3, -1e3, 2e4, -2e4], dtype)
    if scheme.qtype.grid is not None:
        values.reshape(-1)[-8:-6] = np.inf, -np.inf  # integers of ONNX Runtime overflow here and there
    return values, qparams


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("scheme", SCHEMES, ids=title)
def test_equal_to_onnx_runtime(scheme: Scheme, dtype: type) -> None:
    values, qparams = sample(scheme, dtype)
    codes = quantize(values, qparams)
    assert codes.dtype == scheme.qtype.dtype
    reals = dequantize(codes, qparams)
    assert reals.dtype == dtype
    assert reals.tobytes() == in_onnx_runtime(values, codes, qparams).tobytes()
    if dtype is np.float32 or not truncates_halves():
        assert reals.tobytes() == in_onnx_runtime(values, None, qparams).tobytes()


@cache
def onnx_codes(qtype: QType) -> np.ndarray:
    """All stored values of a type by somebody else's reckoning: `ml_dtypes`, or NumPy where it has the type."""
    if qtype.name in ML_DTYPES:
        bits = np.arange(256 if "8" in qtype.name else 16, dtype=np.uint8)
        return bits.view(ML_DTYPES[qtype.name]).astype(np.float32)
    return np.arange(qtype.qmin, qtype.qmax + 1, dtype=np.float32)


@pytest.mark.parametrize("qtype", QTYPES.values(), ids=lambda qtype: qtype.name)
def test_every_stored_value_is_one_that_the_type_has(qtype: QType) -> None:
    expected = onnx_codes(qtype)
    finite = expected[np.isfinite(expected)]
    assert (qtype.qmin, qtype.qmax) == (finite.min(), finite.max())
    if qtype.grid is not None:
        decoded = qtype.decode(np.arange(len(expected), dtype=np.uint8), np.uint8(0))
        assert np.array_equal(decoded, expected, equal_nan=True)
        assert np.array_equal(np.signbit(decoded), np.signbit(expected))
        assert np.array_equal(qtype.levels(), np.unique(np.abs(finite)))
    else:
        assert np.array_equal(np.sort(finite), np.arange(qtype.qmin, qtype.qmax + 1))
        assert qtype.levels().tolist() == list(range(qtype.steps + 1))


@pytest.mark.parametrize("qtype", [FP8_E4M3, FP8_E5M2, FP4_E2M1], ids=lambda qtype: qtype.name)
def test_floats_round_as_ml_dtypes_does(qtype: QType) -> None:
    """Every float32 whose low 16 bits are 0, and its neighbours: all ties, subnormals and zeros of both signs."""
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    values = np.concatenate([high, high + np.uint32(1), high - np.uint32(1)]).view(np.float32)
    values = values[~np.isnan(values)]
    expected = np.clip(values, qtype.qmin, qtype.qmax).astype(ML_DTYPES[qtype.name]).view(np.uint8)
    assert np.array_equal(quantize(values, symmetric_qparams(float(qtype.qmax), qtype=qtype)), expected)


def test_fp8_has_small_values() -> None:
    """What an integer row would make of FP8: 0.3 at a scale of 1 rounds to 0."""
    qparams = symmetric_qparams(448.0, qtype=FP8_E4M3)
    assert dequantize(quantize(np.float32([0.3, -0.3, 448, 1e6, np.inf]), qparams), qparams).tolist() == [
        0.3125, -0.3125, 448.0, 448.0, 448.0,
    ]  # fmt: skip
    with pytest.raises(NonFiniteError, match="NaN"):
        quantize(np.float32([np.nan]), qparams)
    with pytest.raises(ParameterError, match="bit patterns held in uint8, found int8"):
        dequantize(np.zeros(1, np.int8), qparams)


# laws of every scheme


def half_step(reals: np.ndarray, qparams: QParams, scheme: Scheme) -> np.ndarray:
    """Half the distance between the stored values around each real one, in real units."""
    unit = scale_of_each(qparams, reals.shape)
    if scheme.qtype.grid is None:
        return unit / 2
    levels = scheme.qtype.levels()
    position = np.clip(np.searchsorted(levels, np.abs(reals) / unit), 1, levels.size - 1)
    return unit * (levels[position] - levels[position - 1]) / 2


def scale_of_each(qparams: QParams, shape: tuple[int, ...]) -> np.ndarray:
    """The scale of every value, written out the slow way."""
    scales = np.empty(shape)
    for place in np.ndindex(shape):
        if qparams.axis is None:
            scales[place] = qparams.scale
        elif qparams.block_size is None:
            scales[place] = qparams.scale[place[qparams.axis]]
        else:
            block = list(place)
            block[qparams.axis] //= qparams.block_size
            scales[place] = qparams.scale[tuple(block)]
    return scales


@given(st.sampled_from(SCHEMES), st.integers(0, 2**32 - 1), st.sampled_from(["both", "above", "below", "far", "zeros"]))
def test_laws_of_every_scheme(scheme: Scheme, seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=SHAPE) * 10.0 ** random.uniform(-3, 3, SHAPE[:2])[..., None]
    change = {
        "both": values,
        "above": np.abs(values),
        "below": -np.abs(values),
        "far": 1000.0 + values,
        "zeros": values,
    }
    values = change[kind].astype(np.float32)
    if kind == "zeros":
        values[:3] = 0.0
    ranges = weight_ranges(values, scheme.granularity)
    qparams = qparams_of(ranges, scheme)
    codes = quantize(values, qparams)
    reals = dequantize(codes, qparams)
    assert reals.shape == values.shape and codes.dtype == scheme.qtype.dtype
    assert np.array_equal(quantize(reals, qparams), codes)  # a stored value is its own code
    assert not dequantize(quantize(np.zeros_like(values), qparams), qparams).any()  # 0.0 stays 0.0
    rounding = 2.0**-22 * np.abs(values).max()  # of float32 arithmetic
    allowed = half_step(values.astype(np.float64), qparams, scheme) + rounding
    assert np.all(np.abs(reals.astype(np.float64) - values) <= allowed)
    wider = Ranges(ranges.minima * 4, ranges.maxima * 4)  # 2**k times the values have the same codes
    assert np.array_equal(quantize(values * np.float32(4), qparams_of(wider, scheme)), codes)


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.sampled_from([q for q in QTYPES.values() if q.grid is None]))
def test_affine_is_the_published_formula(one: float, other: float, qtype: QType) -> None:
    """ONNX DynamicQuantizeLinear, in Python floats; the zero point follows from the scale that is stored."""
    minimum, maximum = sorted((one, other))
    qparams = qparams_of(Range(minimum, maximum), Scheme(qtype, symmetric=False))
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    scale = float(np.float32((high - low) / (qtype.qmax - qtype.qmin)))
    if scale < np.finfo(np.float32).smallest_normal:
        scale, low = 1.0, qtype.qmin - qtype.zero_code
    assert qparams.scale == scale
    assert qparams.zero_point == min(max(round(qtype.qmin - low / scale), qtype.qmin), qtype.qmax)
    assert qparams.zero_point.dtype == qtype.dtype


def test_affine_uint8_as_onnx_runtime_computes_it() -> None:
    """DynamicQuantizeLinear computes scale and zero point of UINT8 itself."""
    graph = helper.make_graph(
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"])],
        "dynamic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [
            helper.make_tensor_value_info("codes", TensorProto.UINT8, [None]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("zero", TensorProto.UINT8, []),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    scheme = Scheme(UINT8, symmetric=False)
    for seed in range(20):
        random = np.random.default_rng(seed)
        values = random.normal(random.uniform(-3, 3), 10.0 ** random.uniform(-2, 2), 1000).astype(np.float32)
        qparams = qparams_of(weight_ranges(values, PerTensor()), scheme)
        codes, scale, zero = session.run(None, {"x": values})
        assert (qparams.scale, qparams.zero_point) == (pytest.approx(scale, rel=2**-22), zero)
        if qparams.scale == scale:  # it divides in float32
            assert np.array_equal(quantize(values, qparams), codes)


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
def test_weight_ranges_are_those_of_the_parts(granularity: Granularity) -> None:
    weight = np.random.default_rng(4).normal(0.5, 1.0, SHAPE).astype(np.float32)
    ranges = weight_ranges(weight, granularity)
    parts: dict[tuple[int, ...], list[float]] = {}
    for place in np.ndindex(SHAPE):
        match granularity:
            case PerTensor():
                part: tuple[int, ...] = ()
            case PerChannel(axis):
                part = (place[axis],)
            case Block(axis, size):
                part = tuple(number // size if i == axis else number for i, number in enumerate(place))
        parts.setdefault(part, [0.0]).append(float(weight[place]))
    assert ranges.minima.shape == (tuple(np.max(list(parts), axis=0) + 1) if () not in parts else ())
    for part, members in parts.items():
        assert (ranges.minima[part], ranges.maxima[part]) == (min(members), max(members))
        assert ranges.amax[part] == max(map(abs, members))
    if isinstance(granularity, PerChannel):
        assert np.array_equal(ranges.amax, weight_amax(weight, granularity.axis))


def test_symmetric_qparams_is_the_same_algebra() -> None:
    amax = np.array([0.0, 1.0, 3.5])
    for qtype in QTYPES.values():
        scheme = Scheme(qtype, granularity=PerChannel(1))
        assert qparams_of(Ranges(-amax / 2, amax), scheme) == symmetric_qparams(amax, axis=1, qtype=qtype)
        assert qparams_of(Range(-3.5, 1.0), Scheme(qtype)) == symmetric_qparams(3.5, qtype=qtype)


def test_ranges_too_small_for_a_scale_get_1_and_the_middle() -> None:  # A19
    for symmetric in (True, False):
        scheme = Scheme(INT4, symmetric, Block(0, 2))
        qparams = qparams_of(Ranges(np.array([0.0, -1e-42]), np.array([1e-42, 1.0])), scheme)
        assert qparams.scale[0] == 1.0 and qparams.zero_point[0] == 0
        assert qparams.scale[1] < 1.0


# what is refused


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Scheme("int8"), "qtype of a scheme is a QType.*found 'int8'"),
        (lambda: Scheme(INT8, "yes"), "symmetric of a scheme is True or False"),
        (lambda: Scheme(INT8, True, 0), "granularity of a scheme is PerTensor"),
        (lambda: Scheme(INT8, True, PerChannel), "granularity of a scheme"),
        (lambda: Scheme(FP8_E4M3, symmetric=False), "no affine quantization to float8e4m3fn"),
        (lambda: Scheme(FP8_E5M2, symmetric=False), "no affine quantization to float8e5m2"),
        (lambda: PerChannel(-1), "axis of a granularity must be a whole number, 0 or more; found -1"),
        (lambda: PerChannel(1.0), "found 1.0"),
        (lambda: Block(0, 0), "size of a block must be a whole number, 1 or more; found 0"),
        (lambda: Block(True, 4), "found True"),
        (lambda: Ranges(np.zeros(2), np.zeros(3)), "minima"),
        (lambda: Ranges(np.ones(2), np.zeros(2)), "2 of 2 ranges end before they begin"),
        (
            lambda: QParams(np.ones(2, np.float32), np.zeros(2, np.int8), None, INT8, 4),
            "block of 4 values needs an axis",
        ),
        (lambda: QParams(np.ones(2, np.float32), np.zeros(2, np.int8), 1, INT8, 4), "rank of the values"),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make()  # type: ignore[operator]


def test_ranges_are_finite() -> None:
    with pytest.raises(NonFiniteError, match="1 of 2 ranges"):
        Ranges(np.array([0.0, math.nan]), np.ones(2))
    with pytest.raises(NonFiniteError, match=r"A width of 2000000\.0 has no finite scale of type float16"):
        qparams_of(Range(-1e6, 1e6), Scheme(INT4, symmetric=False), np.float16)
    weight = np.ones((4, 5), np.float32)
    weight[0, 4], weight[1, 0] = np.nan, np.inf
    with pytest.raises(NonFiniteError, match="2 of 12 blocks"):
        weight_ranges(weight, Block(1, 2))


@pytest.mark.parametrize(
    ("scheme", "ranges", "values"),
    [
        (Scheme(granularity=PerChannel(0)), Range(0.0, 1.0), (3,)),
        (Scheme(granularity=PerTensor()), Ranges(np.zeros(3), np.ones(3)), (3,)),
        (Scheme(granularity=Block(1, 4)), Ranges(np.zeros((3, 2)), np.ones((3, 2))), (3, 9)),
        (Scheme(granularity=Block(1, 4)), Ranges(np.zeros((3, 2)), np.ones((3, 2))), (3, 8, 1)),
    ],
)
def test_ranges_must_fit_granularity_and_values(scheme: Scheme, ranges: Range, values: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError):
        quantize(np.zeros(values, np.float32), qparams_of(ranges, scheme))
