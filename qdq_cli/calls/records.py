"""From the keywords of a call to the records that a command fills from its options: each field has a keyword."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import onnx
import onnx_ir as ir

from calibrators import CalibrationTable, write_cache
from qdq_cli.cache.exchange import ranges_in
from qdq_cli.calls.forms import Calib, FilePath, InputShape, Names, Ranges
from qdq_cli.calls.place import Place
from qdq_cli.calls.signature import Keywords
from qdq_cli.config.data import DataConfig, Given
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.fields import hints_of
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.preprocess import Overrides
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import DEFAULT_RECOVERY
from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.data.given import is_array
from qdq_cli.data.ranges import read_given
from qdq_cli.process.errors import UsageError

Record = TypeVar("Record")

DATA_RECORDS = (DataConfig, Overrides, ExecutionConfig)
"""The records of samples."""

RUN_RECORDS = (QuantizeConfig, *DATA_RECORDS, PlanConfig, RangeConfig, VerifyConfig)
"""The records of a run that quantizes."""


def record_of(kind: type[Record], given: Keywords, fixed: Keywords | None = None) -> Record:
    """Make a record of the keywords that are called like its fields.

    Args:
        kind: The record.
        given: Keywords, others too.
        fixed: Fields with values of their own; they win.
    """
    assert dataclasses.is_dataclass(kind)
    found = {field.name: given[field.name] for field in dataclasses.fields(kind) if field.name in given}
    for name, value in found.items():
        if isinstance(value, str) and hints_of(kind)[name] == tuple[str, ...]:
            found[name] = (value,)  # one text for a list of one
    return kind(**{**found, **(fixed or {})})


def quantize_of(model: Path, calib: Calib | None, given: Keywords, place: Place, output: Path | None) -> QuantizeConfig:
    """Make the configuration of a run that quantizes.

    Args:
        model: The file of the model.
        calib: The samples, or the table of another run.
        given: The keywords.
        place: Where files of the run go.
        output: The result.
    """
    fixed = {
        "model": model,
        "output": output,
        "data": data_of(calib, given),
        "plan": record_of(PlanConfig, given),
        "ranges": _ranges_of(calib, given, place),
        "verify": record_of(VerifyConfig, given, {"samples": given["verify"]}),
        "recover": _recovery(given["recover"]),
    }
    return record_of(QuantizeConfig, given, fixed)


def data_of(calib: Calib | None, given: Keywords) -> DataConfig:
    """Make the record of the calibration data.

    Raises:
        UsageError: It is nothing that can hold samples.
    """
    paths, samples = _paths_or_samples(calib)
    preprocess = given["preprocess"]
    fixed = {
        "calib": paths,
        "given": samples,
        "preprocess": os.fspath(preprocess) if isinstance(preprocess, os.PathLike) else preprocess,
        "input_shape": shapes_of(given["input_shape"]),
        "overrides": record_of(Overrides, given),
        "execution": record_of(ExecutionConfig, given),
    }
    return record_of(DataConfig, given, fixed)


def _paths_or_samples(calib: Calib | None) -> tuple[tuple[Path, ...], Given | None]:
    if calib is None or isinstance(calib, CalibrationTable):
        return (), None
    if _is_path(calib):
        return (Path(calib),), None  # type: ignore[arg-type]
    if isinstance(calib, bytes | bytearray | memoryview | onnx.ModelProto | ir.Model):
        raise UsageError(
            f"calib is {type(calib).__name__}; expected samples or their path.",
            "The model comes first: quantize(model, calib).",
        )
    if isinstance(calib, list | tuple | set | frozenset) and calib and all(map(_is_path, calib)):
        listed = sorted(calib, key=os.fspath) if isinstance(calib, set | frozenset) else calib
        return tuple(map(Path, listed)), None
    return (), Given(calib)


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike) and not is_array(value)


def _ranges_of(calib: Calib | None, given: Keywords, place: Place) -> RangeConfig:
    ranges, cache = given["ranges"], given["cache"]
    fixed: dict[str, Any] = {"manual": {} if ranges is None else ranges}
    if _is_path(ranges):
        imported, wide = read_given(Path(ranges))
        fixed = {"manual": {}, "imported": imported, "wide": wide}
    fixed["cache"] = cache_of(calib, cache, place)
    return record_of(RangeConfig, given, fixed)


def cache_of(calib: Calib | None, cache: FilePath | None, place: Place) -> Any:
    """Return the file of the calibration table: what was named, or a table that came in place of samples, written.

    Raises:
        UsageError: It is both.
    """
    if not isinstance(calib, CalibrationTable):
        return cache
    if cache is not None:
        raise UsageError("calib is a calibration table, and cache names another one.", "Give one of the two.")
    write_cache(calib, place.folder / "calib.qcal")
    return place.folder / "calib.qcal"


def evaluation_of(given: Keywords) -> Evaluation | None:
    """Make the record of the caller's own measure; None without one."""
    command = given["evaluate"]
    return None if command is None else Evaluation(command, given["lower_is_better"])


def given_ranges(ranges: Ranges | None) -> Any:
    """Return ranges by tensor, read from a file where it is one."""
    return ranges_in(Path(ranges)) if _is_path(ranges) else ({} if ranges is None else ranges)  # type: ignore[arg-type]


def _recovery(recover: bool | Names) -> Names:
    if isinstance(recover, bool):
        return DEFAULT_RECOVERY if recover else ()
    return (recover,) if isinstance(recover, str) else recover


def shapes_of(given: InputShape) -> tuple[str, ...]:
    """Write the shapes of inputs as the option `--input-shape` has them.

    Raises:
        UsageError: They are no shapes.
    """
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping):
        return tuple(f"{name}:{_shape(sizes)}" for name, sizes in given.items())
    texts = [each for each in given if isinstance(each, str)] if isinstance(given, Sequence) else []
    return tuple(texts) if texts or given in ((), []) else (_shape(given),)


def _shape(sizes: object) -> str:
    if isinstance(sizes, str):
        return sizes
    if not isinstance(sizes, Sequence):
        raise UsageError(f"input_shape holds {sizes!r:.60}; expected sizes such as (1, 3, 224, 224).")
    return "x".join("?" if size is None else str(size) for size in sizes)
