"""Models that are quantized already: they are kept as they are, and their results are not named after themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.model import files
from qdq_cli.process.errors import UsageError
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.planned import planned
from qdq_cli.quantizing.report import Report, SizeBytes, UnmetLimitError
from qdq_cli.quantizing.reporting import macs_missed, predicted
from qdq_cli.quantizing.run import Run
from qdq_cli.targets.known import written_for


def require_named(config: QuantizeConfig) -> None:
    """Refuse to name a result `model.qdq.qdq.onnx`.

    Raises:
        UsageError: The model is called `model.qdq.onnx`, and no output is named.
    """
    if config.output is None and config.model.stem.endswith(".qdq"):
        raise UsageError(
            f"{config.model} is named like a result of qdq already, so its own result needs a name.",
            "Name it with -o.",
        )


def keep_model(run: Run, opened: Opened, target: Path) -> Report:
    """End a run on a model that is quantized already: it stays as it is, and is copied where an output was named.

    Raises:
        UsageError: A limit on accuracy is set, and there is no float model to measure it against; or a float type is
            asked for.
        UnmetLimitError: Too little of it runs in INT8.
    """
    config = run.config
    if config.verify.gates or config.min_speedup is not None:
        raise UsageError(
            f"{config.model} is quantized already, so there is no float model that --min-sqnr, --min-agreement or "
            "--min-speedup could be measured against.",
            "Quantize the float model it was made from, or hold the two against each other with qdq compare.",
        )
    if opened.form is not None and config.float_type is not None:
        raise UsageError(
            f"{config.model} is quantized already, and quantize leaves it as it is.",
            f"qdq convert gives what is not quantized another type, with --float-type {config.float_type.value}.",
        )
    written = written_for(opened.prepared.model) or run.target
    with run.stage("predict"):
        fits = written.name == run.target.name
        prediction = predicted(run, opened, opened.prepared.model, None) if fits else None
    report = replace(planned(run, replace(opened, form=None)), predicted=prediction, target=written.name)
    unmet = macs_missed(prediction, config.min_int8_macs, run.target.type_title)
    if unmet is not None:
        raise UnmetLimitError(run.finish(replace(report, unmet_limit=unmet.message)), unmet.hint)
    report = _copied(run, opened, target, report) if config.output is not None else report
    done = "no file was written" if report.output is None else f"{report.output} is a copy of it"
    for_whom = "" if fits else f" for {written.title}"
    run.warn(f"{config.model} is quantized already{for_whom}, so nothing was added; {done}.")
    return run.finish(report)


def _copied(run: Run, opened: Opened, target: Path, report: Report) -> Report:
    """Write the model as it was read, not as it was prepared."""
    with run.stage("save"):
        source = files.load(opened.source.path)
        with files.staged_copy(source, target) as staged:
            staged.commit()
    return replace(
        report, output=str(run.config.destination), size_bytes=SizeBytes(source.size_bytes, staged.size_bytes)
    )
