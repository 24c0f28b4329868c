"""The report of `qdq quantize` as lines of text for people; the console prints them.

The summary fits one screen: long rows are wrapped between words, long lists are cut with a count of the rest. Paths and
the command to type next stay whole, so that they can be copied.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from qdq_cli.report import Calibration, Distance, Prediction, Report, Verification

LABEL_WIDTH = 14
MAX_REASONS = 5
MAX_OUTPUTS = 4
MAX_PLAN_LINES = 40
LOW_SQNR_DB = 10.0
"""Below this the noise is a third of the signal or more, in amplitude: worth a hint."""

Paint = Callable[[str], str]
"""Makes a label stand out."""


def plain(text: str) -> str:
    """Leave the label as it is."""
    return text


def summary_lines(report: Report, width: int = 80, paint: Paint = plain) -> list[str]:
    """Return the summary.

    Args:
        report: What a run found.
        width: Columns of the screen.
        paint: Makes a label stand out.
    """
    rows: list[tuple[str, Iterable[str]]] = [
        ("model", _model(report, width)),
        ("quantized" if report.output else "plan", _wrapped(_quantized(report), width)),
        ("kept float", _kept_float(report, width)),
    ]
    if report.calibration is not None:
        rows.append(("calibration", _calibration(report.calibration, width)))
    if report.verification is not None:
        rows.append(("verification", _verification(report.verification, width)))
    if report.tensorrt is not None and report.weighted_ops.quantized:
        rows.append(("TensorRT", _prediction(report.tensorrt, width)))
    if report.output is not None:
        rows.append(("output", _output(report, report.output, width)))
    rows.append(("seconds", _wrapped(_seconds(report), width)))
    rows.append(("next", _next_commands(report)))
    return [line for label, texts in rows for line in _labelled(label, texts, paint)]


def _labelled(label: str, texts: Iterable[str], paint: Paint) -> list[str]:
    labels = [paint(label.ljust(LABEL_WIDTH))]
    return [(labels.pop() if labels else " " * LABEL_WIDTH) + text for text in texts]


def _wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """Break a text between words; what follows the first line is indented."""
    room = max(20, width - LABEL_WIDTH)
    return textwrap.wrap(
        text, room, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )  # fmt: skip


def _with_details(path: str, details: str, width: int) -> list[str]:
    """A path, and details behind it or, where there is no room, below it."""
    line = f"{path}  ({details})"
    return [line] if LABEL_WIDTH + len(line) <= width else [path, *_wrapped(f"({details})", width)]


def short_path(path: str) -> str:
    """Write a path from the current folder where it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _model(report: Report, width: int) -> list[str]:
    return _with_details(short_path(report.model), _size(report.size_bytes.before), width)


def _quantized(report: Report) -> str:
    ops, activations = report.weighted_ops, report.activations
    if not ops.total:
        return "nothing: the model has no Conv, ConvTranspose, Gemm or MatMul"
    if not ops.quantized:
        return f"nothing: 0 of {_count(ops.total, 'weighted operator')} can be quantized"
    scales = f"{_count(activations.targets, 'activation')}, {_count(activations.groups, 'scale')}"
    return f"{ops.quantized} of {_count(ops.total, 'weighted operator')}; {scales}"


def _kept_float(report: Report, width: int) -> list[str]:
    found = Counter(f"{skip.op_type}: {skip.reason}" for skip in report.skips).most_common()
    lines = [line for text, count in found[:MAX_REASONS] for line in _wrapped(f"{count} x {text}", width, indent=4)]
    more = sum(count for _, count in found[MAX_REASONS:])
    return [*lines, f"and {more} more for other reasons (-v lists them)"] if more else lines


def _calibration(calibration: Calibration, width: int) -> list[str]:
    parts = [calibration.method]
    if calibration.percentile is not None:
        parts[0] += f" {calibration.percentile:g} %"
    if calibration.samples:
        parts.append(_count(calibration.samples, "sample"))
    if calibration.batch_size:
        parts.append(f"batch size {calibration.batch_size}")
    if calibration.manual_ranges:
        parts.append(f"{_count(calibration.manual_ranges, 'range')} by hand")
    lines = _wrapped("; ".join(parts), width)
    if calibration.cache is not None:
        lines.append(f"{'read from' if calibration.from_cache else 'kept in'} {short_path(calibration.cache)}")
    if calibration.preprocessing:
        assumed = " (assumed; --preprocess chooses)" if calibration.assumed else ""
        lines += _wrapped(calibration.preprocessing + assumed, width, indent=2)
    return lines


def _verification(verification: Verification, width: int) -> list[str]:
    samples = _count(verification.samples, "sample")
    seen = f"{samples} held back" if verification.held_back else f"{samples} that calibration saw too"
    lines = [f"{seen}, against FP32:"]
    for name, distance in list(verification.outputs.items())[:MAX_OUTPUTS]:
        lines += _wrapped(f"{name}: {_distance(distance)}", width, indent=2)
    more = len(verification.outputs) - MAX_OUTPUTS
    if more > 0:
        lines.append(f"and {_count(more, 'output')} more (--json has them)")
    for name in verification.not_compared[:MAX_OUTPUTS]:
        lines += _wrapped(f"{name}: not compared, its shape depends on the values", width, indent=2)
    if any(distance.sqnr_db < LOW_SQNR_DB for distance in verification.outputs.values()):
        lines += _wrapped("low: is the preprocessing right? else another --method, or --exclude", width)
    return lines


def _distance(distance: Distance) -> str:
    if distance.equal:
        return "equal to FP32"
    parts = [f"SQNR {distance.sqnr_db:.1f} dB", f"cosine {distance.cosine:.5f}"]
    if distance.top1_agreement is not None:
        parts.append(f"top-1 agreement {distance.top1_agreement:.1f} %")
    return ", ".join(parts)


def _prediction(prediction: Prediction, width: int) -> list[str]:
    operators = _count(prediction.weighted_layers, "weighted operator")
    inside = {code: count for code, count in prediction.reasons.items() if not code.startswith("BOUNDARY")}
    reasons = f" ({', '.join(f'{count} {code}' for code, count in inside.items())})" if inside else ""
    alone = f"stand-alone Q/DQ: {prediction.standalone} inside{reasons}, {prediction.boundary} at the boundary"
    return [
        *_wrapped(f"predicted: {prediction.int8_layers} of {operators} in INT8", width),
        *_wrapped(alone, width, indent=2),
    ]


def _output(report: Report, output: str, width: int) -> list[str]:
    before, after = report.size_bytes.before, report.size_bytes.after or 0
    lines = _with_details(short_path(output), f"opset {report.opset}, {_size(after)}, was {_size(before)}", width)
    if report.weighted_ops.quantized and after > before / 2:
        lines += _wrapped("weights stay stored as floats; --weights int8 makes the file small", width)
    return lines


def _seconds(report: Report) -> str:
    times = dataclasses.asdict(report.seconds).items()
    shown = [f"{stage} {value:.1f}" for stage, value in times if value >= 0.05]
    return f"{math.fsum(value for _, value in times):.1f}" + (f"  ({', '.join(shown)})" if shown else "")


def _next_commands(report: Report) -> list[str]:
    if not report.weighted_ops.quantized:
        return [f"qdq quantize {_quoted(report.model)} --dry-run -v"]
    if report.output is None:
        return [f"qdq quantize {_quoted(report.model)} --calib FOLDER"]
    flag = "--int8 --fp16" if report.trt.startswith("8") else "--stronglyTyped"
    build = f"trtexec --onnx={_quoted(report.output)} {flag}"
    alone = report.tensorrt is not None and report.tensorrt.standalone
    return [build, f"qdq inspect {_quoted(report.output)}"] if alone else [build]


def _quoted(path: str) -> str:
    """A path as a shell takes it."""
    path = short_path(path)
    return path if all(letter.isalnum() or letter in "/\\._-+:@%" for letter in path) else f"'{path}'"


def plan_lines(report: Report, width: int = 80, *, full: bool) -> list[str]:
    """Return the plan: tensors with their scale group and readers, then what is kept float; cut unless `full`."""
    out = ["", "group  amax        tensor -> readers"]
    for target in report.targets:
        amax = f"{report.amax[target.group]:.4g}" if report.amax else ""
        readers = ", ".join(f"{use.node}:{use.slot}" for use in target.uses)
        opens = " (opens a run)" if target.opens_run else ""
        text = f"{target.tensor} -> {readers}{opens}"
        out += textwrap.wrap(
            text, width, initial_indent=f"{target.group:>5}  {amax:<10}  ", subsequent_indent=" " * 23,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    if report.skips:
        out += ["", "kept float:"]
        out += [f"  {skip.code:<24} {skip.op_type} {skip.node} ({skip.input})" for skip in report.skips]
    if not full and len(out) > MAX_PLAN_LINES:
        out = [*out[:MAX_PLAN_LINES], f"... {len(out) - MAX_PLAN_LINES} more lines; -v shows all"]
    return out


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _size(size_bytes: int) -> str:
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1_000:.1f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"
