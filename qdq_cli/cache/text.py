"""What the calibration and cache commands found, as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qdq_cli.config.ranges import DEFAULT_METHOD, METHODS
from qdq_cli.quantizing.plan_text import by_outputs_text
from qdq_cli.screen.amounts import digits_percent, seconds_text, size_text
from qdq_cli.screen.lines import beside, labelled
from qdq_cli.screen.sentences import count_text

if TYPE_CHECKING:
    from calibrators import CalibrationTable, Histogram
    from qdq_cli.cache.drift import Difference
    from qdq_cli.cache.exchange import RangeFile
    from qdq_cli.cache.fit import Fit
    from qdq_cli.cache.summary import CacheSummary, ExtremesSummary, TensorSummary
    from qdq_cli.calibrating.calibrate import CalibrationReport

BLOCKS = " ▁▂▃▄▅▆▇█"
"""Heights of a sparkline, from nothing on."""

ASCII_BLOCKS = " .:-=+*#@"
"""The same where the terminal has no block letters."""

_SPARK_CELLS = 16
_LABEL_WIDTH = 14
_MOST_LINES = 25  # of a list that -v shows in full
_SHORTEST_NAME = 20


def calibration_lines(report: CalibrationReport, *, full: bool, options: Sequence[str] = ()) -> list[str]:
    """A run of `qdq calibrate` on one screen.

    Args:
        report: What it did.
        full: List every tensor.
        options: Words of a command line that say what was calibrated for, as `qdq quantize` takes them too.
    """
    found = report.samples
    counts = [f"{found.cache} in the cache"]
    counts += [f"{found.new} new"] if found.new != found.cache else []
    counts += [f"{found.known} were in it before"] if found.known else []
    if report.interrupted:
        counts.append(f"{'others' if found.left is None else found.left} left out by the interruption")
    share = f"; share {report.shard} of the runs" if report.shard != "1/1" else ""
    lines = [
        _row("model", f"{report.model}  (fingerprint {report.fingerprint[:12]})"),
        _row("tensors", f"{len(report.tensors)} observed"),
        _row("samples", f"{', '.join(counts)}; batch size {report.batch_size}{share}"),
    ]
    if report.preprocessing:
        lines.append(_row("preprocessing", report.preprocessing + (" (assumed)" if report.assumed else "")))
    few = None if report.interrupted else report.few
    lines += [] if few is None else labelled("few samples", beside(few.text), label_width=_LABEL_WIDTH)
    lines.append(_row("output", f"{report.output}  ({size_text(report.size_bytes)})"))
    lines.append(_row("seconds", seconds_text(report.seconds)))
    lines += [] if report.interrupted else [_row("next", _next_command(report, options))]
    return [*lines, "", *(f"  {name}" for name in report.tensors)] if full else lines


def _next_command(report: CalibrationReport, options: Sequence[str]) -> str:
    if report.shard != "1/1":
        return f"qdq cache merge {_quoted(report.output)} OTHER-SHARES -o MERGED"
    return " ".join(("qdq quantize", _quoted(report.model), "--cache", _quoted(report.output), *options))


def head_lines(summary: CacheSummary) -> list[str]:
    """Where a calibration cache comes from."""
    versions = ", ".join(f"{tool} {version}" for tool, version in summary.versions.items())
    lines = [
        _row("cache", f"{summary.file}  ({size_text(summary.size_bytes)}; model {summary.fingerprint[:12]})"),
        _row("samples", f"{summary.samples}  (digest {summary.samples_digest[:12]})"),
    ]
    lines += [_row("preprocessing", summary.preprocessing)] if summary.preprocessing else []
    alone = f", and {len(summary.extremes)} by their extremes alone" if summary.extremes else ""
    return [*lines, _row("versions", versions), _row("tensors", f"{len(summary.tensors)}{alone}")]


def show_lines(summary: CacheSummary, table: CalibrationTable, columns: int, blocks: str) -> list[str]:
    """A calibration cache with one line a tensor.

    Args:
        summary: What is in it.
        table: The cache itself, for the sparklines.
        columns: Width of the terminal in letters.
        blocks: Letters of a sparkline, from nothing to the full height.
    """
    heads = ("count", "min", "max", *METHODS, f"cut by {DEFAULT_METHOD}")
    cells = [_cells(tensor) for tensor in summary.tensors]
    sparks = [sparkline(table.entries[tensor.name].histogram, blocks) for tensor in summary.tensors]
    rest = _columns([heads, *cells])
    room = max(_SHORTEST_NAME, columns - len(rest[0]) - _SPARK_CELLS - 2)
    names = _names([tensor.name for tensor in summary.tensors], room)
    lines = [f"{name}{line}  {spark}" for name, line, spark in zip(names[1:], rest[1:], sparks, strict=True)]
    lines = [*head_lines(summary), "", f"{names[0]}{rest[0]}  histogram (log)", *lines]
    alone = [f"  {tensor.name}: {_ends(tensor)}" for tensor in summary.extremes]
    return [*lines, "", "extremes alone:", *alone] if alone else lines


def _ends(tensor: ExtremesSummary) -> str:
    if tensor.minimum is None or tensor.maximum is None:
        return "no values"
    return f"{tensor.minimum:.4g} to {tensor.maximum:.4g}"


def _cells(tensor: TensorSummary) -> tuple[str, ...]:
    if not tensor.count:
        return ("0", *["-"] * (len(METHODS) + 3))
    cut = tensor.clipped_percent[DEFAULT_METHOD]
    amax = (f"{tensor.amax[method]:.4g}" for method in METHODS)
    return (f"{tensor.count:,}", f"{tensor.minimum:.4g}", f"{tensor.maximum:.4g}", *amax, digits_percent(cut))


def sparkline(histogram: Histogram, blocks: str) -> str:
    """The shape of a histogram from its smallest to its largest value, on a logarithmic scale."""
    from calibrators import profile
    from qdq_cli.cache.picture import levels

    heights = levels(profile(histogram, _SPARK_CELLS)) * (len(blocks) - 1)
    return "".join(blocks[int(height + 0.999999)] for height in heights.tolist())


def merge_lines(summary: CacheSummary, files: Sequence[Path]) -> list[str]:
    """What `qdq cache merge` wrote."""
    return [_row("merged", f"{len(files)} caches"), *head_lines(summary)]


def drift_lines(difference: Difference, columns: int, *, full: bool) -> list[str]:
    """What moved between two calibration caches, the largest drift first."""
    first, second = difference.samples
    lines = [
        _row("first", f"{difference.first}  ({first} samples)"),
        _row("second", f"{difference.second}  ({second} samples, {difference.common_samples} of them in both)"),
        _row("model", "the same" if difference.same_model else "different: another network or other weights"),
    ]
    lines += [] if difference.same_preprocessing else [_row("preprocessing", "different")]
    lines.append(_row("drift", f"{digits_percent(difference.largest_percent)} at most; ranges by {difference.method}"))
    lines += _lone("only in first", difference.only_first, full=full)
    lines += _lone("only in second", difference.only_second, full=full)
    shown = difference.tensors if full else difference.tensors[:_MOST_LINES]
    heads = ("first amax", "second amax", "ratio", "distance", "drift")
    cells = [
        (f"{t.amax:.4g}", f"{t.other_amax:.4g}", f"{t.ratio:.4g}", f"{t.distance:.3g}", digits_percent(t.drift_percent))
        for t in shown
    ]
    rest = _columns([heads, *cells])
    names = _names([tensor.name for tensor in shown], max(_SHORTEST_NAME, columns - len(rest[0])))
    lines += ["", *(name + line for name, line in zip(names, rest, strict=True))]
    hidden = len(difference.tensors) - len(shown)
    return [*lines, f"and {hidden} more that moved less (-v)"] if hidden else lines


def fit_lines(fit: Fit, *, full: bool) -> list[str]:
    """How a file serves a model."""
    unit = "tensors" if fit.samples is not None else "scale groups"
    there = f"all {fit.needed} {unit} are there" if fit.needed else "nothing needs a range"
    verdict = there if fit.fits else f"{len(fit.missing)} of {fit.needed} {unit} missing"
    lines = [
        _row("model", fit.model),
        _row("file", f"{fit.file}  ({fit.kind}{'' if fit.samples is None else f', {fit.samples} samples'})"),
        _row("fits", f"{'yes' if fit.fits else 'no'}: {verdict}; {fit.spare} more in the file"),
    ]
    if fit.same_model is not None:
        lines.append(_row("network", _network_text(fit)))
    lines += [_row("preprocessing", fit.preprocessing)] if fit.preprocessing else []
    lines += _float_types(fit, full=full)
    lines += _lone("renamed", [f"{name} <- {place}" for name, place in fit.renamed.items()], full=full)
    return lines + _lone("missing", fit.missing, full=full)


def _float_types(fit: Fit, *, full: bool) -> list[str]:
    """Whether the file tells all that `--float-type` has to know; -v names what it does not."""
    if fit.unbounded is None or fit.missing:
        return []
    known = [kind for kind, names in fit.unbounded.items() if not names]
    lines = [_row("float types", f"{' and '.join(known)}: nothing is missing")] if known else []
    for kind, names in fit.unbounded.items():
        number = f"the size of {count_text(len(names), 'tensor')} is not known"
        lines += [_row("" if lines else "float types", f"{kind}: {number}; give --calib too")] if names else []
        lines += _lone("", names, full=full) if full else []
    return lines


def _network_text(fit: Fit) -> str:
    if not fit.same_model:
        return "different: another model was observed"
    return f"the same, another export: {len(fit.by_values)} found by values" if fit.by_values else "the same"


def range_lines(found: RangeFile, *, full: bool) -> list[str]:
    """Ranges that went to or came from another tool."""
    kind = f"{found.format}: {found.header}" if found.header else found.format
    method = f"; method {found.method}" if found.method else ""
    method += f"; {by_outputs_text(len(found.judged))}" if found.judged else ""
    lines = [_row("ranges", f"{len(found.ranges)} of {found.file}  ({kind}{method})")]
    if found.ignored_lines:
        lines.append(_row("", f"lines without a range, left out: {found.ignored_lines}"))
    if found.output is not None:
        lines.append(_row("output", found.output))
    if full:
        lines += [f"  {amax:>12.6g}  {name}" for name, amax in sorted(found.ranges.items())]
    return lines


def _lone(label: str, names: Sequence[str], *, full: bool) -> list[str]:
    shown = names if full else names[:_MOST_LINES]
    lines = [_row(label if number == 0 else "", name) for number, name in enumerate(shown)]
    return [*lines, _row("", f"and {len(names) - len(shown)} more (-v)")] if len(shown) < len(names) else lines


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, right-aligned."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]


def _names(names: Iterable[str], room: int) -> list[str]:
    """A column of tensor names with its heading, left-aligned, cut to the room there is."""
    from qdq_cli.cache.picture import shortened

    cut = ["tensor", *(shortened(name, room) for name in names)]
    width = max(map(len, cut))
    return [name.ljust(width) for name in cut]


def _row(label: str, text: str) -> str:
    return f"{label.ljust(_LABEL_WIDTH)} {text}" if len(label) >= _LABEL_WIDTH else f"{label.ljust(_LABEL_WIDTH)}{text}"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
