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
from calibrators.qparams import QParams, dequantize, is_negligible, quantize, symmetric_qparams, weight_amax
from calibrators.qtypes import INT8, INT16, QTYPES, UINT8, QType
from calibrators.ranges import Range

__all__ = [
    "INT8",
    "INT16",
    "QTYPES",
    "SQNR_CEILING_DB",
    "UINT8",
    "CacheFileError",
    "CalibratorError",
    "Comparison",
    "Distances",
    "Histogram",
    "Method",
    "MethodName",
    "MismatchError",
    "NoDataError",
    "NonFiniteError",
    "ParameterError",
    "QParams",
    "QType",
    "Range",
    "TopAgreement",
    "choose_range",
    "dequantize",
    "entropy",
    "is_negligible",
    "minmax",
    "mse",
    "percentile",
    "quantize",
    "sqnr_db",
    "symmetric_qparams",
    "warm_up",
    "weight_amax",
]
