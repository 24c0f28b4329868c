"""Write a result, check it, verify it; it gets its name only when all went well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from qdq_cli.casting.twin import low_types, twin
from qdq_cli.model import files
from qdq_cli.model.check import check_written
from qdq_cli.placement.prediction import Predictor
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing import verification
from qdq_cli.quantizing.float_rest import Finished
from qdq_cli.quantizing.groundwork import Groundwork
from qdq_cli.quantizing.limits import unmet_limit
from qdq_cli.quantizing.report import Report, SizeBytes
from qdq_cli.quantizing.reporting import macs_missed, predicted
from qdq_cli.quantizing.run import Run
from qdq_cli.quantizing.speed import measured
from qdq_cli.quantizing.speed_limit import held_speed, unmet_speed
from qdq_cli.timing.runtimes import DEFAULT_RUNTIME


@contextlib.contextmanager
def with_twin(
    result: verification.Result, staged: files.Staged, finished: Finished, predictor: Predictor | None
) -> Iterator[verification.Result]:
    """Let a twin be verified in place of a result with a float rest of 16 bits.

    ONNX Runtime's CPU runs hardly an operator in BF16, and most of those in FP16 in FP32, without rounding in between:
    what overflows in the type does not overflow there. The twin rounds what the kernels of the target store.

    Args:
        result: What is known of the result.
        staged: Its file.
        finished: It.
        predictor: Says which tensors are stored; None where nobody knows, and all are taken to be.
    """
    native = finished.rest is None
    if (native and not result.natively) or not (types := low_types(finished.model)):
        yield result
        return
    beside = staged.target.with_name(f"{staged.target.name}.twin")
    exact = frozenset() if predictor is None else predictor.never_stored(finished.model)
    with files.staged(twin(finished.model, exact, keep_inputs=native), beside, external=False) as file:
        by_default = result.by_default and ir.DataType.BFLOAT16 not in types
        yield replace(result, twin=file.path, by_default=by_default)


def write_verified(
    run: Run, work: Groundwork, finished: Finished, to: tuple[Path, Report]
) -> tuple[Report, LimitError | None]:
    """Write, check and verify a quantized model in a temporary place; it gets its name only when all went well.

    Args:
        run: The run.
        work: What it was made from.
        finished: It.
        to: Its path, and the report so far.

    Returns:
        The report, completed, and the limit that is not met.
    """
    config, source = run.config, work.opened.source
    target, report = to
    with contextlib.ExitStack() as stack:
        with run.stage("save"):
            staged = stack.enter_context(files.staged(finished.model, target, external=source.external))
            run.say(*check_written(staged.path, source.path))
        with run.stage("predict"):
            prediction = predicted(run, work.opened, finished.model, work.samples)
        with run.stage("verify"):
            seen = work.observed
            known = report.opset, seen.digests, seen.histograms, seen.samples
            runtime = run.target.runtime or DEFAULT_RUNTIME
            ordinary = not work.plan.has_blocks  # no runtime on a CPU knows these
            result = verification.Result(*known, natively=True, runtime=runtime, by_default=ordinary)
            if work.samples is not None and config.verify.samples:
                result = stack.enter_context(with_twin(result, staged, finished, run.target.predictor))
            models = (source.path, staged.path)
            compared = verification.verify(models, work.samples, config.verify, run.listener, result)
        with run.stage("time"):
            speed = measured(run, models, work.samples)
        if compared is not None:
            compared = replace(compared, limits=(*compared.limits, *held_speed(speed, config.min_speedup)))
        unmet = macs_missed(prediction, config.min_int8_macs, run.target.type_title) or unmet_limit(
            compared, config.verify
        )
        unmet = unmet or unmet_speed(speed, config.min_speedup, "The model was not written.")
        report = replace(report, verification=compared, predicted=prediction, speed=speed)
        if unmet is not None:
            return replace(report, unmet_limit=unmet.message), unmet
        with run.stage("save"):
            staged.commit()
        sizes = SizeBytes(source.size_bytes, staged.size_bytes)
        return replace(report, output=str(config.destination), size_bytes=sizes), None
