"""What build services are told of a run of `qdq quantize`."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.quantizing.plan_text import quantized, runtime_text, runtime_title, work_text
from qdq_cli.quantizing.report import Distance, Report, Verification
from qdq_cli.screen.amounts import decibels, share_text, size_text
from qdq_cli.screen.told import Case, Told, Verdict
from qdq_cli.timing.record import Speed
from qdq_cli.timing.text import speed_text

MAX_OUTPUTS = 8
"""Outputs whose distance is a row of the table, the worst first."""


def told_of_report(report: Report) -> Told:
    """Tell what a report says."""
    return Told("quantize", report.model, tuple(_facts(report)), tuple(_cases(report)), dict(_values(report)))


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "quantized", quantized(report)
    if report.calibration is not None:
        yield "calibration", f"{report.calibration.method}, {report.calibration.samples} samples"
    yield from distance_facts({} if report.verification is None else dict(report.verification.outputs))
    if (ran := runtime_text(report)) is not None:
        yield f"in {runtime_title(report)}", ran
    if report.speed is not None:
        yield "speed", speed_text(report.speed)
    if report.predicted is not None and report.weighted_ops.quantized:
        yield "predicted", work_text(report.predicted, report.computed_title)
        yield "stand-alone Q/DQ inside, at the boundary", f"{report.predicted.standalone}, {report.predicted.boundary}"
    if report.unmet_limit is not None:
        yield "limit not met", report.unmet_limit
    sizes = report.size_bytes
    if report.output is None or sizes.after is None:
        yield "output", "none was written"
    else:
        yield "output", f"{report.output} ({size_text(sizes.after)}, was {size_text(sizes.before)})"
    for build in report.builds if report.output is not None else ():
        yield build.releases, build.command.format(model=report.output)


def distance_facts(outputs: dict[str, Distance]) -> Iterator[tuple[str, str]]:
    """Yield how far outputs are from FP32, the worst first."""
    ranked = sorted(outputs, key=lambda name: outputs[name].sqnr_db)
    for name in ranked[:MAX_OUTPUTS]:
        yield f"output {name}", distance_text(outputs[name])
    if len(ranked) > MAX_OUTPUTS:
        yield "further outputs", f"{len(ranked) - MAX_OUTPUTS}, none of them worse"


def distance_text(distance: Distance) -> str:
    """Write how far an output is from FP32."""
    if distance.equal:
        return "equal to FP32"
    agreement = distance.top1_agreement
    return f"SQNR {decibels(distance.sqnr_db)}" + ("" if agreement is None else f", top-1 {share_text(agreement)}")


def distance_values(outputs: dict[str, Distance]) -> Iterator[tuple[str, str]]:
    """Yield the lowest SQNR in dB and the lowest top-1 agreement in percent."""
    if outputs:
        yield "sqnr-db", f"{min(each.sqnr_db for each in outputs.values()):.2f}"
    agreements = [each.top1_agreement for each in outputs.values() if each.top1_agreement is not None]
    if agreements:
        yield "top1-agreement", f"{min(agreements):.2f}"


def speed_values(speed: Speed | None) -> Iterator[tuple[str, str]]:
    """Yield how many times as fast as FP32 a model is, where that was measured."""
    if speed is not None:
        yield "speedup", f"{speed.ratio:.2f}"


def _cases(report: Report) -> Iterator[Case]:
    if report.unmet_limit is None:
        yield Case("limits")
    else:
        yield Case("limits", report.unmet_limit, Verdict.FAILED)
    nothing = not (report.weighted_ops.quantized or report.already_quantized)
    yield Case("quantized", f"{quantized(report)}.", Verdict.DOUBT if nothing else Verdict.PASSED)
    if report.verification is not None:
        yield from _verified(report.verification)
    for entry in report.refused:
        releases = ", ".join(release.value for release in entry.releases)
        yield Case(f"read by TensorRT {releases}", f"{entry.found} is refused. {entry.way_out}", Verdict.DOUBT)


def _verified(verification: Verification) -> Iterator[Case]:
    for name, distance in verification.outputs.items():
        low = verification.low.get(name)
        text = distance_text(distance)
        if low is None:
            yield Case(f"output {name}", f"{text}.")
        else:
            yield Case(f"output {name}", f"{text}; low: {low.text}.", Verdict.DOUBT)
    session = verification.default_session
    if session is not None:
        yield Case("default session", session.text, Verdict.DOUBT if session.text else Verdict.PASSED)


def _values(report: Report) -> Iterator[tuple[str, str]]:
    if report.output is not None:
        yield "output", report.output
    if report.verification is not None:
        yield from distance_values(dict(report.verification.outputs))
    yield from speed_values(report.speed)
    if report.predicted is not None and report.predicted.quantized_macs_percent is not None:
        yield "int8-macs", f"{report.predicted.quantized_macs_percent:.1f}"
        yield "standalone", str(report.predicted.standalone)
