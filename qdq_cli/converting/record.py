"""What a run of `qdq convert` did, as a frozen record. The same record is the `--json` document, key for key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdq_cli.placement.target import Build
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.float_record import FloatRest
from qdq_cli.quantizing.report import SizeBytes, Verification


@dataclass(frozen=True)
class Conversion:
    """A model whose floats became FP16 or BF16.

    Args:
        schema_version: Version of this document.
        model: Path of the input.
        output: Path of the result; None where a limit is not met.
        opset: Opset of the result.
        opset_before: Opset of the input.
        float_rest: What became of the operators that compute on floats.
        samples: Samples that say how large the tensors get; 0 where nothing was observed.
        tensors: Tensors of which that is known.
        cache: Path of the calibration cache that says it, if any.
        preprocessing: One line on how samples became inputs; "" for arrays.
        assumed: Whether nobody chose that preprocessing.
        verification: Distance from the model as it came; None where it was not run.
        size_bytes: Model sizes.
        seconds: Time of each stage.
        notes: Sentences the user should read.
        builds: How each TensorRT release that reads the result makes an engine of it.
        unmet_limit: The limit that the result misses, in a sentence with both numbers; None where it misses none.
    """

    schema_version: int
    model: str
    output: str | None
    opset: int
    opset_before: int
    float_rest: FloatRest
    samples: int
    tensors: int
    cache: str | None
    preprocessing: str
    assumed: bool
    verification: Verification | None
    size_bytes: SizeBytes
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    builds: tuple[Build, ...]
    unmet_limit: str | None = None


class UnmetConversionError(LimitError):
    """The result misses a limit and was not written; what was measured is in the report.

    Args:
        report: The report, with `unmet_limit` and without an output.
        hint: What to do about it.
    """

    def __init__(self, report: Conversion, hint: str) -> None:
        super().__init__(report.unmet_limit or "", hint)
        self.found = self.report = report
