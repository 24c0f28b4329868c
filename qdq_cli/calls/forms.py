"""What a call takes for a model, for samples and for single keywords, as types."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import onnx
import onnx_ir as ir

from calibrators import CalibrationTable, Range
from qdq_cli.calls.place import Kept


class SupportsArray(Protocol):
    """What NumPy makes an array of: an array, a tensor of another library."""

    def __array__(self) -> Any: ...


FilePath: TypeAlias = str | os.PathLike[str]
Model: TypeAlias = FilePath | bytes | bytearray | memoryview | onnx.ModelProto | ir.Model | Kept
Calib: TypeAlias = FilePath | SupportsArray | CalibrationTable | Iterable[Any] | Callable[[], Any]
Names: TypeAlias = str | Sequence[str]
Constants: TypeAlias = float | Sequence[float]
InputShape: TypeAlias = str | Sequence[str] | Sequence[int] | Mapping[str, Sequence[int]]
Ranges: TypeAlias = FilePath | Mapping[str, Range | float | tuple[float, float]]
