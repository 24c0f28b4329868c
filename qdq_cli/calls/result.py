"""What a call gives back: its report, and the model it made, in a file until somebody wants it in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from calibrators import CalibrationTable, read_cache
from qdq_cli.calls.place import Kept, Place
from qdq_cli.model import files
from qdq_cli.placement.plan import Plan
from qdq_cli.process.errors import UsageError
from qdq_cli.process.writable import check_writable
from qdq_cli.quantizing.run import Outcome
from qdq_cli.quantizing.table import table_of_run

if TYPE_CHECKING:
    import onnx

ReportT = TypeVar("ReportT")


class Result(Kept, Generic[ReportT]):
    """What `quantize`, `tune` or `fix` made.

    The model lies in a temporary file, whose folder goes with this object.

    Attributes:
        report: What was found: the record that the command prints with `--json`.
        plan: Which tensors got Q/DQ and why others did not; None of `fix`.
    """

    def __init__(
        self,
        report: ReportT,
        path: Path | None,
        place: Place,
        outcome: Outcome | None = None,
        cache: Path | None = None,
    ) -> None:
        self.report = report
        self.plan: Plan | None = None if outcome is None else outcome.plan
        self._path = path
        self._place = place
        self._outcome = outcome
        self._cache = cache
        self._table: CalibrationTable | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with a {type(self.report).__name__}>"

    @property
    def path(self) -> Path:  # type: ignore[override]
        """The temporary file of the model; it is gone with this object.

        Raises:
            UsageError: A dry run made none.
        """
        if self._path is None:
            raise UsageError("A dry run makes no model.", "Leave dry_run out.")
        return self._path

    @property
    def model(self) -> onnx.ModelProto:
        """The model, read into memory each time it is asked for, external weights included.

        Raises:
            UsageError: A dry run made none.
        """
        return files.read_whole(self.path)

    @property
    def table(self) -> CalibrationTable | None:
        """What calibration saw, as `calibrators.write_cache` writes it; None where nothing was calibrated.

        It is put together when it is first asked for: samples are read once more for the keys by which a cache knows
        them, unless a cache was named.

        Raises:
            QdqError: The samples cannot be read any more.
        """
        if self._table is None and self._outcome is not None:
            with self._place.speaking():
                self._table = self._made_table(self._outcome)
        return self._table

    def _made_table(self, outcome: Outcome) -> CalibrationTable | None:
        if self._cache is not None and outcome.observed is not None:
            return read_cache(self._cache)
        return table_of_run(outcome)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to a file; above 1.8 GB, or where those of the input were, with the weights beside it.

        Args:
            path: The file; it is replaced whole or not at all.

        Returns:
            Its absolute path.

        Raises:
            UsageError: A dry run made no model, or the file cannot be written.
            ModelError: There is no room for it.
        """
        with self._place.speaking():
            target = check_writable(Path(path), "path", "path")
            with files.staged_copy(files.load(self.path), target) as staged:
                staged.commit()
        return target
