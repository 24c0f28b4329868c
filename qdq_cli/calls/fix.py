"""`qdq_cli.fix`: what `qdq fix` does, for models in memory."""

from __future__ import annotations

from qdq_cli.calls.forms import Model, Names, Ranges
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import given_ranges, record_of
from qdq_cli.calls.result import Result
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.fix import FixConfig
from qdq_cli.fixing.fix import fix_model
from qdq_cli.fixing.record import RepairReport


def fix(
    model: Model, *, ranges: Ranges | None = None, plugins: Names = (), samples: int = 4, threads: int | None = None
) -> Result[RepairReport]:
    """Repair a Q/DQ model of any tool; the model itself is not changed, and nothing is written.

    Args:
        model: As `quantize` takes it.
        ranges: Ranges of tensors by name, or a file, for residual branches without a Q on their tensor.
        plugins: Custom operators that the deployment has plugins for: a name, or `domain::name`.
        samples: Random samples to compare the outputs before and after on; 0 for none.
        threads: Threads that these are run on; None: one a core.

    Returns:
        The repaired model with its report.

    Raises:
        QdqError: The model cannot be used.
    """
    place = Place()
    with place.speaking():
        output = place.folder / "result.onnx"
        given = {"plugins": plugins, "samples": samples}
        fixed = {"model": place.model(model), "output": output, "ranges": given_ranges(ranges)}
        fixed["execution"] = ExecutionConfig(threads)
        report = fix_model(record_of(FixConfig, given, fixed))
        return Result(place.unsaved(report), output, place)
