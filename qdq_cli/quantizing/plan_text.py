"""A plan as lines of text for people, as `qdq quantize` and `qdq inspect` show it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable

from qdq_cli.config.forms import DEFAULT_TARGET, QuantType
from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.selection import Skip
from qdq_cli.placement.target import Build
from qdq_cli.quantizing.float_text import float_lines, kept_lines
from qdq_cli.quantizing.report import Report
from qdq_cli.screen.amounts import decibels, share_text
from qdq_cli.screen.lines import beside, labelled, plain, quoted
from qdq_cli.screen.sentences import FLOAT, all_of, count_text

MAX_REASONS = 5
MAX_PLAN_LINES = 40

Paint = Callable[[str], str]
"""Makes a label stand out."""


def _how(report: Report, group: int) -> str:
    """Say what chose a range, where it was not the method that was asked for."""
    if report.calibration is None or not report.chosen or report.chosen[group] == report.calibration.method:
        return ""
    return f" ({report.chosen[group]})"


def plan_rows(report: Report, width: int = 80, paint: Paint = plain) -> list[str]:
    """Return the rows about a plan: how much is quantized, and what is kept float for which reasons."""
    counts = labelled("plan", beside(quantized(report), width), paint)
    rest = [] if report.float_rest is None else labelled("float rest", float_lines(report.float_rest, width), paint)
    return counts + labelled("kept float", kept_float(report, width), paint) + rest


def next_rows(report: Report, paint: Paint = plain) -> list[str]:
    """Return the row with the command to type next."""
    return labelled("next", next_commands(report), paint)


def plan_lines(report: Report, width: int = 80, *, full: bool) -> list[str]:
    """Return the plan: tensors with their scale group and readers, then what is kept float; cut unless `full`."""
    known = bool(report.amax)
    out = (
        ["", "group  amax        tensor -> readers" if known else "group  tensor -> readers"] if report.targets else []
    )
    for target in report.targets:
        start = f"{target.group:>5}  " + (f"{report.amax[target.group]:<10.4g}  " if known else "")
        readers = ", ".join(f"{use.node}:{use.slot}" for use in target.uses)
        opens = " (opens a run)" if target.opens_run else ""
        text = f"{target.tensor} -> {readers}{opens}{_how(report, target.group)}"
        out += textwrap.wrap(
            text, width, initial_indent=start, subsequent_indent=" " * (len(start) + 4),
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    for title, skips in (("kept float:", _float(report)), ("quantized already:", _as_they_came(report))):
        if skips:
            out += ["", title]
            out += [f"  {skip.code:<24} {skip.op_type} {skip.node} ({skip.input})" for skip in skips]
    out += [] if report.float_rest is None else kept_lines(report.float_rest)
    if not full and len(out) > MAX_PLAN_LINES:
        out = [*out[:MAX_PLAN_LINES], f"... {len(out) - MAX_PLAN_LINES} more lines; -v shows all"]
    return out


def by_outputs_text(tensors: int) -> str:
    """Say of how many tensors the range is the best for the outputs of what reads them."""
    return f"{count_text(tensors, 'tensor')} by the outputs of what reads {'it' if tensors == 1 else 'them'}"


def quantized(report: Report) -> str:
    """Write how much of a model is quantized."""
    ops, activations = report.weighted_ops, report.activations
    if report.already_quantized:
        return "nothing: the model is quantized already"
    if not ops.total:
        return "nothing: the model has no Conv, ConvTranspose, Gemm or MatMul"
    if not ops.quantized:
        return f"nothing: 0 of {count_text(ops.total, 'weighted operator')} can be quantized"
    scales = f"{count_text(activations.targets, 'activation')}, {count_text(activations.groups, 'scale')}"
    if not report.targets and report.weights:
        tables = f", {count_text(report.tables, 'table')} of a Gather in INT8" if report.tables else ""
        scales = f"weights alone{tables}"
    if len(report.types) > 1:
        scales = f"{', '.join(f'{number} {title}' for title, number in report.types.items())}; {scales}"
    return f"{ops.quantized} of {count_text(ops.total, 'weighted operator')}; {scales}"


def predicted_texts(report: Report, prediction: Prediction) -> list[str]:
    """Say which types operators are predicted to run in, how many weights alone are codes, and what share that is."""
    operators = count_text(prediction.weighted_layers, "weighted operator")
    if prediction.weights_alone and not prediction.quantized_layers:
        return [f"predicted: {work_text(prediction, report.type_title)}"]
    more = f"{prediction.weights_alone} more read {all_of(report.alone_titles)} and compute in float"
    return [
        f"predicted: {prediction.quantized_layers} of {operators} in {report.computed_title}",
        *([more] if prediction.weights_alone and report.alone_titles else ()),
        work_text(prediction, report.computed_title),
    ]


def work_text(prediction: Prediction, title: str, way: str = "") -> str:
    """Write the shares of the work in a type: "99.1 % of the MACs, 87.5 % of the activation traffic in INT8".

    Args:
        prediction: What runs in which type.
        title: Name of the type.
        way: What gives kernels their shapes, where some have none.
    """
    if prediction.weights_alone and not prediction.quantized_layers:
        operators = count_text(prediction.weighted_layers, "weighted operator")
        return f"{prediction.weights_alone} of {operators} read {title} and compute in float"
    macs, traffic, unknown = (
        prediction.quantized_macs_percent,
        prediction.quantized_traffic_percent,
        prediction.unknown_costs,
    )
    known = [] if macs is None else [f"{share_text(macs)} of the MACs"]
    if traffic is not None:
        known.append(f"{share_text(traffic)} of the {'known ' if unknown else ''}activation traffic")
    text = f"{', '.join(known)} in {title}" if known else ""
    if macs is None:
        text = "share of the MACs: not known" + (f"; {text}" if text else "")
    return text + (f" ({count_text(unknown, 'kernel')} of unknown shape left out{way})" if unknown else "")


def runtime_title(report: Report) -> str:
    """Name what runs the result: the runtime of a target on CPUs, else TensorRT."""
    from qdq_cli.targets.known import TARGETS  # which reads every table

    target = TARGETS.get(report.target)
    return target.title if target is not None and target.runtime else "TensorRT"


def runtime_text(report: Report) -> str | None:
    """Say what the runtime of the target made of the result, as it says itself; None where nobody asked it."""
    session = None if report.verification is None else report.verification.default_session
    if session is None or session.layers is None:
        return None
    layers, worst = session.layers, min(session.sqnr_db.values(), default=None)
    at = "" if worst is None else f"; outputs at {decibels(worst)} or more"
    return f"ran {layers.integer} of {count_text(layers.weighted, 'weighted operator')} on integers{at}"


def kept_float(report: Report, width: int) -> list[str]:
    """Return the commonest reasons why operators are kept float; those that came with Q/DQ are not."""
    skips = () if report.already_quantized else _float(report)
    found = Counter(f"{skip.op_type}: {skip.reason}" for skip in skips).most_common()
    lines = [line for text, count in found[:MAX_REASONS] for line in beside(f"{count} x {text}", width, indent=4)]
    more = sum(count for _, count in found[MAX_REASONS:])
    return [*lines, f"and {more} more for other reasons (-v lists them)"] if more else lines


def _float(report: Report) -> list[Skip]:
    return [skip for skip in report.skips if skip.code != _ALREADY]


def _as_they_came(report: Report) -> list[Skip]:
    return [skip for skip in report.skips if skip.code == _ALREADY]


_ALREADY = "ALREADY_QUANTIZED"


def is_plan(report: Report) -> bool:
    """Say whether a report tells of a plan alone: nothing was calibrated or written."""
    return not (report.predicted or report.output or report.unmet_limit)


def next_commands(report: Report, width: int = 80) -> list[str]:
    """Return the commands to type next."""
    if report.already_quantized:
        return [f"qdq inspect {quoted(report.output or report.model)}{_target(report)}"]
    if not report.weighted_ops.total:
        return []
    if not report.weighted_ops.quantized:
        return [f"qdq quantize {quoted(report.model)} --dry-run -v"]
    if report.output is None:
        data = "" if report.activation_type == FLOAT else " --calib FOLDER"
        return [f"qdq quantize {quoted(report.model)}{data}{_asked_for(report)}"]
    builds = [line for build in report.builds for line in build_lines(build, report.output, width)]
    alone = report.predicted is not None and report.predicted.standalone
    return [*builds, f"qdq inspect {quoted(report.output)}"] if alone and builds else builds


def _asked_for(report: Report) -> str:
    """The options that a command needs for the target and type of a plan."""
    if len(report.types) > 1:
        return f"{_target(report)} --type-of ..."
    kind = next((kind for kind in QuantType if kind.title == report.type_title), QuantType.INT8)
    asked = "" if kind is QuantType.INT8 else f" --type {kind.value}"
    return _target(report) + asked + (" --experimental" if kind.experimental else "")


def _target(report: Report) -> str:
    return "" if report.target in ("", DEFAULT_TARGET) else f" --target {report.target}"


def build_lines(build: Build, model: str, width: int) -> list[str]:
    """Write for which releases a command is, the command as a whole, and what has to be known about it."""
    command = build.command.format(model=quoted(model))
    return [f"{build.releases}: {command}", *beside(build.note, width)]
