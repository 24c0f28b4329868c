"""The one room that writes to the terminal. The result goes to stdout, everything else to stderr.

Colour only on a terminal and not under NO_COLOR; progress only on a terminal.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TextIO

import click

from qdq_cli.errors import ModelError

if TYPE_CHECKING:
    from qdq_cli.report import Calibration, Distance, Prediction, Report, Verification

LABEL_WIDTH = 14
MAX_OUTPUTS_SHOWN = 4
MAX_NOTES_SHOWN = 6


def error(message: str, hint: str = "") -> None:
    """Show an error with its hint on stderr."""
    _print(f"{_paint('error:', sys.stderr, fg='red', bold=True)} {message}", sys.stderr)
    if hint:
        _print(f"{_paint('hint:', sys.stderr, fg='cyan')} {hint}", sys.stderr)


def _print(text: str, stream: TextIO | None) -> None:
    """Write a text and a line end; a reader that has gone away (head, less) is no failure.

    Raises:
        ModelError: The result cannot be written, such as to a file on a full disk.
    """
    try:
        click.echo(text, file=stream)
    except OSError as error:
        _let_go(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise ModelError(f"The result cannot be printed: {error.strerror}.") from error


def _let_go(stream: TextIO | None) -> None:
    """Send what is still buffered nowhere: Python would fail on it once more at exit."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # None: closed by the caller (2>&-)


def _paint(text: str, stream: TextIO | None, fg: str | None = None, bold: bool = False) -> str:
    coloured = _is_terminal(stream) and not os.environ.get("NO_COLOR")
    return click.style(text, fg=fg, bold=bold) if coloured else text


class Console:
    """How one run talks to its user.

    Args:
        quiet: Errors only.
        verbose: List every skip, target and group.
        as_json: One JSON document on stdout instead of the summary.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._as_json = as_json

    def note(self, text: str) -> None:
        """Show a sentence the user should read, on stderr, at once."""
        if not self._quiet:
            _print(f"{_paint('note:', sys.stderr, fg='yellow')} {text}", sys.stderr)

    @contextlib.contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int, int], None]]:
        """Show a progress bar on a terminal; yields the function that is told (done, total) so far."""
        if self._quiet or not _is_terminal(sys.stderr):
            yield lambda done, total: None
            return
        from tqdm import tqdm

        with tqdm(total=total, desc=title, unit=" runs", leave=False, file=sys.stderr) as bar:

            def advance(done: int, total: int) -> None:
                bar.update(done - bar.n)

            yield advance

    def document(self, record: object) -> None:
        """Print a record as the one JSON document of the run."""
        from qdq_cli.documents import as_json

        _print(json.dumps(as_json(record), indent=2, ensure_ascii=False), sys.stdout)

    def write(self, lines: Iterable[str]) -> None:
        """Print lines of the result."""
        if not self._quiet:
            _print("\n".join(lines), sys.stdout)

    def paint(self, text: str, colour: str) -> str:
        """Colour a part of a line of the result, on a terminal only."""
        return _paint(text, sys.stdout, fg=colour)

    def result(self, record: object, lines: Callable[[], Iterable[str]]) -> None:
        """Show a result: the record as the one JSON document of the run, or its lines."""
        if self._as_json:
            self.document(record)
        elif not self._quiet:
            self.write(lines())

    def show(self, report: Report) -> None:
        """Show the result: one JSON document, or the summary."""
        if self._as_json:
            self.document(report)
        elif not self._quiet:
            self.write(_summary(report))
            if self._verbose or report.output is None:
                self.write(_details(report, full=self._verbose))


def _summary(report: Report) -> list[str]:
    """The report that fits one screen."""
    out = [_row("model", f"{report.model}  (opset {report.opset}, {_size(report.size_bytes.before)})")]
    out.append(_row("quantized", _quantized(report)))
    out += _rows("kept float", [f"{count} x {line}" for line, count in _reasons(report).most_common()])
    if report.calibration is not None:
        out.append(_row("calibration", _calibration(report.calibration)))
    if report.verification is not None:
        out += _rows("verification", _verification(report.verification))
    if report.tensorrt is not None:
        out.append(_row("TensorRT", _prediction(report.tensorrt)))
    if report.output is not None:
        after = _size(report.size_bytes.after or 0)
        out.append(_row("output", f"{report.output}  ({after}, was {_size(report.size_bytes.before)})"))
    out.append(_row("seconds", _seconds(report)))
    out += _rows("note", list(report.notes[:MAX_NOTES_SHOWN]))
    out.append(_row("next", _next_command(report)))
    return out


def _row(label: str, text: str) -> str:
    return f"{_paint(label.ljust(LABEL_WIDTH), sys.stdout, bold=True)}{text}"


def _rows(label: str, texts: list[str]) -> list[str]:
    return [_row(label if number == 0 else "", text) for number, text in enumerate(texts)]


def _quantized(report: Report) -> str:
    ops, activations = report.weighted_ops, report.activations
    if not ops.quantized:
        return f"nothing: 0 of {ops.total} weighted operators can be quantized"
    return (
        f"{ops.quantized} of {ops.total} weighted operators; {activations.targets} activation tensors in "
        f"{activations.groups} scale groups"
    )


def _reasons(report: Report) -> Counter[str]:
    return Counter(f"{skip.op_type}: {skip.reason}" for skip in report.skips)


def _calibration(calibration: Calibration) -> str:
    method = calibration.method
    if calibration.percentile is not None:
        method += f" {calibration.percentile:g} %"
    parts = [method]
    if calibration.from_cache:
        parts.append(f"from {calibration.cache} ({calibration.samples} samples)")
    elif calibration.samples:
        parts.append(f"{calibration.samples} samples, batch size {calibration.batch_size}")
    if calibration.manual_ranges:
        parts.append(f"{calibration.manual_ranges} ranges by hand")
    if calibration.preprocessing:
        parts.append(calibration.preprocessing + (" (assumed)" if calibration.assumed else ""))
    return "; ".join(parts)


def _verification(verification: Verification) -> list[str]:
    seen = "held-back samples" if verification.held_back else "samples that were calibrated on too"
    lines = [f"{verification.samples} {seen}, against FP32:"]
    shown = list(verification.outputs.items())[:MAX_OUTPUTS_SHOWN]
    lines += [f"  {name}: {_distance(distance)}" for name, distance in shown]
    if len(verification.outputs) > len(shown):
        lines.append(f"  and {len(verification.outputs) - len(shown)} more outputs (--json)")
    return lines


def _distance(distance: Distance) -> str:
    if distance.equal:
        return "equal to FP32"
    parts = [f"SQNR {distance.sqnr_db:.1f} dB", f"cosine {distance.cosine:.5f}"]
    if distance.top1_agreement is not None:
        parts.append(f"top-1 agreement {distance.top1_agreement:.1f} %")
    return ", ".join(parts)


def _prediction(prediction: Prediction) -> str:
    text = (
        f"predicted: {prediction.int8_layers} of {prediction.weighted_layers} weighted operators in INT8, "
        f"{prediction.standalone} stand-alone Q/DQ inside, {prediction.boundary} at the boundary"
    )
    reasons = ", ".join(f"{count} {code}" for code, count in prediction.reasons.items())
    return f"{text} ({reasons})" if reasons else text


def _seconds(report: Report) -> str:
    seconds = report.seconds
    stages = ("load", "prepare", "plan", "observe", "choose", "rewrite", "verify", "save")
    times = [(stage, float(getattr(seconds, stage))) for stage in stages]
    shown = [f"{stage} {value:.1f}" for stage, value in times if value >= 0.05]
    return f"{sum(value for _, value in times):.1f}" + (f"  ({', '.join(shown)})" if shown else "")


def _next_command(report: Report) -> str:
    if report.output is None:
        return "run again with --calib and without --dry-run"
    if not report.weighted_ops.quantized:
        return f"qdq quantize {_quoted(report.model)} --dry-run -v"
    flag = "--int8 --fp16" if report.trt.startswith("8") else "--stronglyTyped"
    return f"trtexec --onnx={_quoted(report.output)} {flag}"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path


def _details(report: Report, *, full: bool) -> list[str]:
    """The plan: scale groups with their readers, then skips; cut to a screen unless `full`."""
    out = ["", f"{'group':>5}  {'amax':>10}  tensor -> readers"]
    for target in report.targets:
        amax = f"{report.amax[target.group]:10.4g}" if report.amax else " " * 10
        readers = ", ".join(f"{use.node}:{use.slot}" for use in target.uses)
        out.append(f"{target.group:>5}  {amax}  {target.tensor} -> {readers}{'  (opens a run)' * target.opens_run}")
    if report.skips:
        out += ["", "kept float:"]
        out += [f"  {skip.code:<24} {skip.op_type} {skip.node} ({skip.input})" for skip in report.skips]
    height = shutil.get_terminal_size().lines * 2
    if not full and len(out) > height:
        out = [*out[:height], f"... {len(out) - height} more lines; -v shows all"]
    return out


def _size(size_bytes: int) -> str:
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1_000:.1f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"
