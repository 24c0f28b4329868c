"""calibrators: arrays in, quantization parameters out; NumPy is all it needs (Numba, where it is there, counts faster).

Observe the tensors of a few hundred samples, choose a range, lay it over the integers:

    >>> import numpy as np
    >>> from calibrators import Histogram, dequantize, mse, quantize, sqnr_db, symmetric_qparams
    >>> histogram = Histogram()
    >>> for seed in range(8):
    ...     batch = np.random.default_rng(seed).laplace(size=(4, 16, 28, 28)).astype(np.float32)
    ...     histogram.observe(batch)
    >>> histogram.count, round(histogram.amax, 2)
    (401408, 12.81)
    >>> qparams = symmetric_qparams(mse(histogram).amax)
    >>> codes = quantize(batch, qparams)
    >>> codes.dtype, round(sqnr_db(batch, dequantize(codes, qparams)))
    (dtype('int8'), 36)

A scheme says how a tensor is quantized; `qparams_of` lays a range, or those of channels or blocks, over its codes:

    >>> from calibrators import FP8_E4M3, INT4, UINT8, Block, Method, Scheme, choose_range, qparams_of, weight_ranges
    >>> relu = Histogram()
    >>> relu.observe(np.maximum(batch, 0.0))
    >>> affine = Scheme(UINT8, symmetric=False)
    >>> int(qparams_of(choose_range(relu, Method("mse"), affine), affine).zero_point)
    0
    >>> weight = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    >>> blocks = Scheme(INT4, granularity=Block(axis=1, size=32))
    >>> qparams_of(weight_ranges(weight, blocks.granularity), blocks).scale.shape
    (8, 2)
    >>> floats = symmetric_qparams(448.0, qtype=FP8_E4M3)
    >>> dequantize(quantize(np.float32([0.3, 300.0]), floats), floats).tolist()
    [0.3125, 288.0]

The histogram does not care about order, batch size or splitting, so shares of the work merge exactly. Tables of them
keep their provenance, and files of a few kilobytes a tensor carry them to another machine:

    >>> from calibrators import CalibrationTable, Entry, Method, Provenance, decode_table, encode_table, ranges_of
    >>> table = CalibrationTable(Provenance(model="digits"), {"conv1_out": Entry(histogram, ("batch", 16, 28, 28))})
    >>> data = encode_table(table)  # write_cache(table, "digits.qcal") and read_cache for files
    >>> ranges_of(decode_table(data), Method("percentile", 99.9)).ranges["conv1_out"].amax < histogram.amax
    True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calibrators.block_scales import BlockScales, dynamic_blocks, from_blocks, tensor_scale
    from calibrators.cache_file import decode_table, encode_table, read_cache, write_cache
    from calibrators.choosing import Chosen, chosen_by, range_of, ranges_of
    from calibrators.distribution import distance, profile, share_outside
    from calibrators.errors import (
        CacheFileError,
        CalibratorError,
        MismatchError,
        NoDataError,
        NonFiniteError,
        ParameterError,
    )
    from calibrators.extremes import Extremes, ExtremesEntry
    from calibrators.histogram import Histogram
    from calibrators.kernels import counting, warm_up
    from calibrators.methods import CANDIDATES, Method, MethodName, choose_range
    from calibrators.methods.entropy import entropy
    from calibrators.methods.minmax import minmax
    from calibrators.methods.mse import mse
    from calibrators.methods.percentile import percentile
    from calibrators.metrics import SQNR_CEILING_DB, Comparison, Distances, TopAgreement, sqnr_db
    from calibrators.ort_table import format_ort_table
    from calibrators.qparams import (
        QParams,
        dequantize,
        is_negligible,
        qparams_of,
        quantize,
        symmetric_qparams,
        weight_amax,
        weight_ranges,
    )
    from calibrators.qtypes import (
        FP4_E2M1,
        FP8_E4M3,
        FP8_E5M2,
        INT4,
        INT8,
        INT16,
        QTYPES,
        UINT4,
        UINT8,
        UINT16,
        QType,
    )
    from calibrators.range_files import (
        format_json,
        format_ort_json,
        format_text,
        format_torch_json,
        parse_ranges,
        wide_in,
    )
    from calibrators.ranges import Range, Ranges
    from calibrators.scale_groups import Grouping, ScaleGroup
    from calibrators.scheme import Block, Dynamic, Granularity, PerChannel, PerTensor, ScaleForm, Scheme
    from calibrators.table import CalibrationTable, Entry, Provenance, merge_tables, sample_digest
    from calibrators.tensorrt_cache import (
        TensorRTCache,
        format_tensorrt_cache,
        make_tensorrt_cache,
        parse_tensorrt_cache,
        tensorrt_version,
    )
    from calibrators.wide import wide_tensors

__all__ = [
    "CANDIDATES",
    "FP4_E2M1",
    "FP8_E4M3",
    "FP8_E5M2",
    "INT4",
    "INT8",
    "INT16",
    "QTYPES",
    "SQNR_CEILING_DB",
    "UINT4",
    "UINT8",
    "UINT16",
    "Block",
    "BlockScales",
    "CacheFileError",
    "CalibrationTable",
    "CalibratorError",
    "Chosen",
    "Comparison",
    "Distances",
    "Dynamic",
    "Entry",
    "Extremes",
    "ExtremesEntry",
    "Granularity",
    "Grouping",
    "Histogram",
    "Method",
    "MethodName",
    "MismatchError",
    "NoDataError",
    "NonFiniteError",
    "ParameterError",
    "PerChannel",
    "PerTensor",
    "Provenance",
    "QParams",
    "QType",
    "Range",
    "Ranges",
    "ScaleForm",
    "ScaleGroup",
    "Scheme",
    "TensorRTCache",
    "TopAgreement",
    "choose_range",
    "chosen_by",
    "counting",
    "decode_table",
    "dequantize",
    "distance",
    "dynamic_blocks",
    "encode_table",
    "entropy",
    "format_json",
    "format_ort_json",
    "format_ort_table",
    "format_tensorrt_cache",
    "format_text",
    "format_torch_json",
    "from_blocks",
    "is_negligible",
    "make_tensorrt_cache",
    "merge_tables",
    "minmax",
    "mse",
    "parse_ranges",
    "parse_tensorrt_cache",
    "percentile",
    "profile",
    "qparams_of",
    "quantize",
    "range_of",
    "ranges_of",
    "read_cache",
    "sample_digest",
    "share_outside",
    "sqnr_db",
    "symmetric_qparams",
    "tensor_scale",
    "tensorrt_version",
    "warm_up",
    "weight_amax",
    "weight_ranges",
    "wide_in",
    "wide_tensors",
    "write_cache",
]

_LATER = {
    "calibrators.block_scales": ("BlockScales", "dynamic_blocks", "from_blocks", "tensor_scale"),
    "calibrators.cache_file": ("decode_table", "encode_table", "read_cache", "write_cache"),
    "calibrators.choosing": ("Chosen", "chosen_by", "range_of", "ranges_of"),
    "calibrators.distribution": ("distance", "profile", "share_outside"),
    "calibrators.errors": (
        "CacheFileError",
        "CalibratorError",
        "MismatchError",
        "NoDataError",
        "NonFiniteError",
        "ParameterError",
    ),
    "calibrators.extremes": ("Extremes", "ExtremesEntry"),
    "calibrators.histogram": ("Histogram",),
    "calibrators.kernels": ("counting", "warm_up"),
    "calibrators.methods": ("CANDIDATES", "Method", "MethodName", "choose_range"),
    "calibrators.methods.entropy": ("entropy",),
    "calibrators.methods.minmax": ("minmax",),
    "calibrators.methods.mse": ("mse",),
    "calibrators.methods.percentile": ("percentile",),
    "calibrators.metrics": ("SQNR_CEILING_DB", "Comparison", "Distances", "TopAgreement", "sqnr_db"),
    "calibrators.ort_table": ("format_ort_table",),
    "calibrators.qparams": (
        "QParams",
        "dequantize",
        "is_negligible",
        "qparams_of",
        "quantize",
        "symmetric_qparams",
        "weight_amax",
        "weight_ranges",
    ),
    "calibrators.qtypes": (
        "FP4_E2M1",
        "FP8_E4M3",
        "FP8_E5M2",
        "INT4",
        "INT8",
        "INT16",
        "QTYPES",
        "UINT4",
        "UINT8",
        "UINT16",
        "QType",
    ),
    "calibrators.range_files": (
        "format_json",
        "format_ort_json",
        "format_text",
        "format_torch_json",
        "parse_ranges",
        "wide_in",
    ),
    "calibrators.ranges": ("Range", "Ranges"),
    "calibrators.scale_groups": ("Grouping", "ScaleGroup"),
    "calibrators.scheme": ("Block", "Dynamic", "Granularity", "PerChannel", "PerTensor", "ScaleForm", "Scheme"),
    "calibrators.table": ("CalibrationTable", "Entry", "Provenance", "merge_tables", "sample_digest"),
    "calibrators.tensorrt_cache": (
        "TensorRTCache",
        "format_tensorrt_cache",
        "make_tensorrt_cache",
        "parse_tensorrt_cache",
        "tensorrt_version",
    ),
    "calibrators.wide": ("wide_tensors",),
}
"""Module -> names that are imported from it when first asked for: who observes nothing loads no histogram."""

_MODULES = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what was left for later."""
    if name not in _MODULES:
        raise AttributeError(f"module 'calibrators' has no attribute '{name}'")
    found = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return found


def __dir__() -> list[str]:
    """Every name, those that are still to be imported too."""
    return sorted({*globals(), *__all__})
