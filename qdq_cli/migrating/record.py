"""What a migration found, as frozen records; `MigrationReport` is the `--json` document of `qdq migrate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.fixing.record import Left, Repair
from qdq_cli.placement.target import Build
from qdq_cli.quantizing.float_record import FloatRest
from qdq_cli.quantizing.report import Distance, SizeBytes, WeightedOps
from qdq_cli.targets.tensorrt.findings import Finding


@dataclass(frozen=True)
class TableUse:
    """What the calibration table of an old build gave.

    Args:
        file: Path of it.
        header: Its first line, for TensorRT's own; "" for others.
        ranges: How many ranges it holds.
        matched: Those of tensors of the model.
        importers: Names of tensors that TensorRT's importer made of constants and shapes; ONNX has none of them.
        unknown: Names that are neither.
        lacking: Tensors of the model that needed a range and have none in it.
        left_float: Operators that are float for this reason.
    """

    file: str
    header: str
    ranges: int
    matched: tuple[str, ...]
    importers: tuple[str, ...]
    unknown: tuple[str, ...]
    lacking: tuple[str, ...] = ()
    left_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """An operator that the old build could run in INT8 and that is float now.

    Args:
        node: Its name.
        op_type: Its operator.
        code: Why, as a code or rule that `qdq explain` explains.
        reason: Why, as a sentence without its full stop.
    """

    node: str
    op_type: str
    code: str
    reason: str


@dataclass(frozen=True)
class Compared:
    """How far the result is from what it was made of.

    Args:
        against: What it was compared with: `float model`, `model as it came`, or `FP32 rest` for the same pairs around
            FP32, where no samples are at hand that the ranges of the table are for.
        samples: On how many samples.
        random: Whether these were made up.
        outputs: Output name -> distance.
    """

    against: str
    samples: int
    random: bool
    outputs: Mapping[str, Distance]


@dataclass(frozen=True)
class MigrationReport:
    """Everything a run of `qdq migrate` found.

    Args:
        schema_version: Version of this document.
        model: Path of the input.
        output: Path of the result.
        opset: Opset of the result.
        target: Name of the runtime the model is migrated for.
        trt: Oldest release that reads the result.
        table: What the calibration table gave; None for a model that came with Q/DQ.
        weighted_ops: How many weighted operators run in INT8.
        repairs: What was changed in the pairs that the model came with.
        left: What was not, with the reason.
        rest: What became of the operators that are not quantized; None where they stay as they are.
        changes: Operators that could run in INT8 by the table, and are float now.
        findings: Errors that TensorRT 11 would still give.
        compared: How far the result is from what it was made of; None where that was not possible.
        size_bytes: Model sizes.
        builds: How each release that reads the result makes an engine of it.
        notes: Sentences the user should read.
    """

    schema_version: int
    model: str
    output: str
    opset: int
    target: str
    trt: str
    table: TableUse | None
    weighted_ops: WeightedOps
    repairs: tuple[Repair, ...]
    left: tuple[Left, ...]
    rest: FloatRest | None
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    compared: Compared | None
    size_bytes: SizeBytes
    builds: tuple[Build, ...]
    notes: tuple[str, ...] = ()
