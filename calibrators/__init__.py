"""calibrators: arrays in, quantization parameters out; NumPy is all it needs.

>>> import numpy as np
>>> from calibrators import Histogram, percentile
>>> histogram = Histogram()
>>> for batch in np.linspace(-1.0, 3.0, 4000, dtype=np.float32).reshape(4, 1000):
...     histogram.observe(batch)
>>> histogram.count, histogram.amax
(4000, 3.0)
>>> round(percentile(histogram, 90.0).amax, 2)
2.6
"""

from calibrators.cache_file import decode_table, encode_table, read_cache, write_cache
from calibrators.errors import (
    CacheFileError,
    CalibratorError,
    MismatchError,
    NoDataError,
    NonFiniteError,
    ParameterError,
)
from calibrators.histogram import Histogram
from calibrators.kernels import warm_up
from calibrators.methods import Method, MethodName, choose_range, entropy, minmax, mse, percentile
from calibrators.metrics import SQNR_CEILING_DB, Comparison, Distances, TopAgreement, sqnr_db
from calibrators.ort_table import format_ort_table
from calibrators.qparams import QParams, dequantize, is_negligible, quantize, symmetric_qparams, weight_amax
from calibrators.qtypes import INT8, INT16, QTYPES, UINT8, QType
from calibrators.range_files import format_json, format_ort_json, format_text, format_torch_json, parse_ranges
from calibrators.ranges import Range
from calibrators.table import CalibrationTable, Entry, Provenance, merge_tables, sample_digest
from calibrators.tensorrt_cache import (
    TensorRTCache,
    format_tensorrt_cache,
    make_tensorrt_cache,
    parse_tensorrt_cache,
    tensorrt_version,
)

__all__ = [
    "INT8",
    "INT16",
    "QTYPES",
    "SQNR_CEILING_DB",
    "UINT8",
    "CacheFileError",
    "CalibrationTable",
    "CalibratorError",
    "Comparison",
    "Distances",
    "Entry",
    "Histogram",
    "Method",
    "MethodName",
    "MismatchError",
    "NoDataError",
    "NonFiniteError",
    "ParameterError",
    "Provenance",
    "QParams",
    "QType",
    "Range",
    "TensorRTCache",
    "TopAgreement",
    "choose_range",
    "decode_table",
    "dequantize",
    "encode_table",
    "entropy",
    "format_json",
    "format_ort_json",
    "format_ort_table",
    "format_tensorrt_cache",
    "format_text",
    "format_torch_json",
    "is_negligible",
    "make_tensorrt_cache",
    "merge_tables",
    "minmax",
    "mse",
    "parse_ranges",
    "parse_tensorrt_cache",
    "percentile",
    "quantize",
    "read_cache",
    "sample_digest",
    "sqnr_db",
    "symmetric_qparams",
    "tensorrt_version",
    "warm_up",
    "weight_amax",
    "write_cache",
]
