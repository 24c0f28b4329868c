"""The report of `qdq quantize` as lines of text for people; the console prints them.

The summary fits one screen: long rows are wrapped between words, long lists are cut with a count of the rest. Paths and
the command to type next stay whole, so that they can be copied.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from calibrators.scheme import Block
from qdq_cli.calibrating.spread_record import ShiftGain, SpreadGain, SteadyGain
from qdq_cli.config.execution import ON_CPU
from qdq_cli.config.forms import STORED
from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.record import WeightTarget
from qdq_cli.quantizing.agreement import HeldLimit, Standing, interval_text
from qdq_cli.quantizing.float_text import float_lines, unweighed_lines
from qdq_cli.quantizing.limits import to_decide, undecided_text
from qdq_cli.quantizing.low import judged_text, silent_text
from qdq_cli.quantizing.plan_text import (
    Paint,
    by_outputs_text,
    is_plan,
    kept_float,
    next_commands,
    predicted_texts,
    quantized,
    runtime_text,
    runtime_title,
)
from qdq_cli.quantizing.report import Calibration, Distance, Report, Verification
from qdq_cli.recovering.page import recovery_text
from qdq_cli.recovering.record import Recovery
from qdq_cli.screen.amounts import decibels, seconds_text, share_text, size_text
from qdq_cli.screen.lines import LABEL_WIDTH, beside, labelled, plain, short_path
from qdq_cli.screen.sentences import count_text, some_of
from qdq_cli.timing.text import speed_lines

MAX_OUTPUTS = 4


def summary_lines(report: Report, width: int = 80, paint: Paint = plain) -> list[str]:
    """Return the summary.

    Args:
        report: What a run found.
        width: Columns of the screen.
        paint: Makes a label stand out.
    """
    rows: list[tuple[str, Iterable[str]]] = [
        ("model", _model(report, width)),
        ("plan" if is_plan(report) else "quantized", beside(quantized(report), width)),
        ("kept float", kept_float(report, width)),
    ]
    if report.float_rest is not None:
        rest = report.float_rest
        rows.append(("float rest", [*float_lines(rest, width), *unweighed_lines(rest, width)]))
    if report.calibration is not None:
        rows.append(("calibration", _calibration(report.calibration, width)))
    if report.spread or report.steady:
        rows.append(("channels", [*_spread(report.spread, width), *_steady(report.steady, width)]))
    if report.shifted:
        rows.append(("shifted", beside(shifted_text(report.shifted), width)))
    if report.recovery is not None:
        rows.append(("recovery", _recovery(report.recovery, width)))
    if report.verification is not None:
        rows.append(("verification", verification_lines(report.verification, width)))
    if report.speed is not None:
        rows.append(("speed", speed_lines(report.speed, width)))
    if told := _in_runtime(report, width):
        rows.append((runtime_title(report), told))
    if report.output is not None:
        rows.append(("output", _output(report, report.output, width)))
    elif report.already_quantized and report.unmet_limit is None:
        rows.append(("output", ["none: the model is kept as it is"]))
    rows.append(("seconds", beside(seconds_text(dataclasses.asdict(report.seconds)), width)))
    if report.unmet_limit is None:
        rows.append(("next", next_commands(report, width)))
    else:
        rows.append(("not written", beside(report.unmet_limit, width)))
    return [line for label, texts in rows for line in labelled(label, texts, paint)]


def _with_details(path: str, details: str, width: int) -> list[str]:
    """A path, and details behind it or, where there is no room, below it."""
    line = f"{path}  ({details})"
    return [line] if LABEL_WIDTH + len(line) <= width else [path, *beside(f"({details})", width)]


def _model(report: Report, width: int) -> list[str]:
    return _with_details(short_path(report.model), size_text(report.size_bytes.before), width)


def _calibration(calibration: Calibration, width: int) -> list[str]:
    parts = [calibration.method]
    if calibration.percentile is not None:
        parts[0] += f" {calibration.percentile:g} %"
    if calibration.judged:
        parts.append(by_outputs_text(calibration.judged))
    if calibration.samples:
        parts.append(count_text(calibration.samples, "sample"))
    if calibration.batch_size:
        parts.append(f"batch size {calibration.batch_size}")
    if calibration.provider != ON_CPU.provider_text:
        parts.append(f"run by {calibration.provider}")
    if calibration.manual_ranges:
        parts.append(f"{count_text(calibration.manual_ranges, 'range')} by hand")
    lines = beside("; ".join(parts), width)
    if calibration.cache is not None:
        lines.append(f"{'read from' if calibration.from_cache else 'kept in'} {short_path(calibration.cache)}")
    if calibration.preprocessing:
        assumed = " (assumed; --preprocess chooses)" if calibration.assumed else ""
        lines += beside(calibration.preprocessing + assumed, width, indent=2)
    if calibration.few is not None:
        lines += beside(calibration.few.text, width, indent=2)
    return lines


def _spread(spread: Sequence[SpreadGain], width: int) -> list[str]:
    """Say what enlarging nearly dead channels gained, operator by operator, at most a few."""
    lines = ["nearly dead ones in front of depthwise convolutions:"] if spread else []
    for gain in spread[:_MOST_SPREAD]:
        done = [f"{gain.enlarged} made larger"] * bool(gain.enlarged) + [f"{gain.folded} folded"] * bool(gain.folded)
        told = "" if gain.before_db is None else f"; {gain.before_db:.1f} dB by itself before, {_now(gain)} now"
        lines += beside(f"{gain.operator}: {', '.join(done)}{told}", width, indent=2)
    if len(spread) > _MOST_SPREAD:
        lines.append(f"  and {len(spread) - _MOST_SPREAD} more (--json lists them)")
    return lines


def _steady(steady: Sequence[SteadyGain], width: int) -> list[str]:
    """Say what biases gained that make up for channels that hardly move, operator by operator, at most a few."""
    lines = ["those that hardly move, their rounding made up for by biases:"] if steady else []
    for gain in steady[:_MOST_SPREAD]:
        told = f"{gain.operator}: {gain.before_db:.1f} dB by itself before, {gain.after_db:.1f} dB now"
        lines += beside(told, width, indent=2)
    if len(steady) > _MOST_SPREAD:
        lines.append(f"  and {len(steady) - _MOST_SPREAD} more (--json lists them)")
    return lines


def shifted_text(shifted: Sequence[ShiftGain]) -> str:
    """Say how many tensors are shifted, what that gained, and which gained most."""
    gains = {each.tensor: 20 * math.log10(each.step_before / each.step) for each in shifted}
    best = sorted(gains, key=lambda name: -gains[name])
    found = f"{count_text(len(gains), 'tensor')} by biases, to use all 256 codes: steps {min(gains.values()):.1f}"
    return f"{found} to {gains[best[0]]:.1f} dB finer ({some_of(best)})"


def _now(gain: SpreadGain) -> str:
    return "exact" if gain.after_db is None else f"{gain.after_db:.1f} dB"


_MOST_SPREAD = 5


def _recovery(recovery: Recovery, width: int) -> list[str]:
    judged = f"judged on {count_text(recovery.samples, 'sample')} set aside:"
    lines = [judged, f"  {recovery_text(recovery)}"]
    for step in recovery.steps:
        lines += beside(
            f"{step.step}: {step.gain_db:+.1f} dB, {step.accepted} of {step.tried} accepted", width, indent=2
        )
    return lines


def verification_lines(verification: Verification, width: int, reference: str = "FP32") -> list[str]:
    """Return how far the outputs of a result are from those of the model it was made from.

    Args:
        verification: What was measured.
        width: Columns of the screen.
        reference: What that model is called.
    """
    samples = count_text(verification.samples, "sample")
    seen = f"{samples} held back" if verification.held_back else f"{samples} that calibration saw too"
    twin = ", by a twin that rounds what kernels store" if verification.twin else ""
    lines = beside(f"{seen}, against {reference}{twin}:", width)
    told: set[str] = set()
    for name in _shown(verification):
        lines += beside(f"{name}: {_distance(verification.outputs[name])}", width, indent=2)
        if name in verification.low:
            text, judged = verification.low[name].text, judged_text(verification.outputs[name])
            why = "for the same reason" if text in told else text
            lines += beside(f"  low: {judged}; {why}" if judged else f"  low: {why}", width, indent=4)
            told.add(text)
    more = len(verification.outputs) - MAX_OUTPUTS
    if more > 0:
        lines.append(f"and {count_text(more, 'output')} more, none of them worse (--json has them)")
    for name, rows in list(verification.rows.items())[:MAX_OUTPUTS]:
        lines += beside(f"{name}: {rows}", width, indent=2)
    for name in verification.not_compared[:MAX_OUTPUTS]:
        lines += beside(f"{name}: not compared, its shape depends on the values", width, indent=2)
    if not (verification.outputs or verification.rows or verification.not_compared):
        lines.append("nothing compared: no output holds numbers")
    lines += limit_lines(verification.limits, width)
    if verification.default_session is not None and verification.default_session.text:
        lines += beside(verification.default_session.text, width, indent=2)
    return lines


def _shown(verification: Verification) -> list[str]:
    """The outputs to show: all in the model's order where they are few and none is low, else the worst first."""
    outputs = verification.outputs
    if len(outputs) <= MAX_OUTPUTS and not verification.low:
        return list(outputs)
    ranked = sorted(outputs, key=lambda name: (name not in verification.low, outputs[name].sqnr_db))
    return ranked[:MAX_OUTPUTS]


def _distance(distance: Distance) -> str:
    if distance.equal:
        return "equal to FP32"
    parts = [f"SQNR {decibels(distance.sqnr_db)}", f"cosine {distance.cosine:.5f}"]
    if distance.top1_agreement is not None:
        parts.append(f"top-1 agreement {share_text(distance.top1_agreement)}{_between(distance)}")
    return ", ".join(filter(None, (*parts, silent_text(distance))))


def _between(distance: Distance) -> str:
    return "" if distance.top1_interval is None else f" ({interval_text(distance.top1_interval)})"


def limit_lines(limits: Sequence[HeldLimit], width: int) -> list[str]:
    """Return what is not decided about limits; those that are missed end the run with a sentence of their own."""
    texts = [
        f"limit undecided: {undecided_text(held)}. {to_decide(held)}"
        for held in limits
        if held.standing is Standing.UNDECIDED and not held.fails
    ]
    return [line for text in texts for line in beside(text, width, indent=2)]


def _in_runtime(report: Report, width: int) -> list[str]:
    """What the runtime of the target made of the result, and what it is predicted to make of it."""
    ran = runtime_text(report)
    lines = [] if ran is None else beside(ran, width)
    if report.predicted is None or not (report.weighted_ops.quantized or report.already_quantized):
        return lines
    return [*lines, *_prediction(report.predicted, report, width)]


def _prediction(prediction: Prediction, report: Report, width: int) -> list[str]:
    inside = {code: count for code, count in prediction.reasons.items() if not code.startswith("BOUNDARY")}
    reasons = f" ({', '.join(f'{count} {code}' for code, count in inside.items())})" if inside else ""
    alone = f"stand-alone Q/DQ: {prediction.standalone} inside{reasons}, {prediction.boundary} at the boundary"
    first, *others = predicted_texts(report, prediction)
    return [*beside(first, width), *(line for text in (*others, alone) for line in beside(text, width, indent=2))]


def _output(report: Report, output: str, width: int) -> list[str]:
    before, after = report.size_bytes.before, report.size_bytes.after or 0
    if report.already_quantized:
        return _with_details(short_path(output), f"a copy, {size_text(after)}", width)
    sizes = f"{size_text(after)}, was {size_text(before)}"
    lines = _with_details(short_path(output), f"opset {report.opset}, {sizes}", width)
    lines += [line for name, codes in report.integers.items() for line in beside(f"{name}: {codes}", width, indent=2)]
    if any(_as_floats(weight) for weight in report.weights) and after > before / 2 and report.target not in STORED:
        lines += beside("weights stay stored as floats; --weights int8 makes the file small", width)
    return lines


def _as_floats(weight: WeightTarget) -> bool:
    """Whether a weight is a float with Q/DQ behind it unless codes are asked for, as those alone and in blocks are."""
    return not weight.alone and not isinstance(weight.scheme.granularity, Block)
