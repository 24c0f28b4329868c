"""A build as lines of text for people, 80 columns wide; the console prints them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from qdq_cli.building.agreement import share_of_codes
from qdq_cli.building.loss_text import conversions_time_text, loss_lines, time_text
from qdq_cli.building.record import (
    Agreement,
    Beside,
    BuildReport,
    Device,
    GpuBuild,
    Operator,
    Outcome,
    Refusal,
    Traffic,
)
from qdq_cli.building.verdict import forms_of
from qdq_cli.screen.amounts import share_text, short_count, size_text
from qdq_cli.screen.lines import Paint, plain, row, wrapped
from qdq_cli.screen.sentences import count_text, some_of

MAX_NAMES = 3
MAX_SHOWN = 5
MAX_TYPES = 4


def build_lines(report: BuildReport, paint: Paint = plain, *, full: bool = False) -> list[str]:
    """Return the report that fits one screen; for several GPUs one block each.

    Args:
        report: What was found.
        paint: Colours a text.
        full: Show every node that is refused, and every group of operators that differ.
    """
    kind = "Q/DQ model" if report.quantized else "float model"
    lines = row("model", f"{report.model}  (opset {report.opset}, {size_text(report.size_bytes)}, {kind})")
    lines += row("compiler", f"{report.compiler}, {_where(report)}")
    for name, shape in report.shapes.items():
        lines += row("input", f"{name} {shape}" + ("  (assumed; --input-shape)" if name in report.assumed else ""))
    if report.unpredicted:
        lines += row("prediction", f"none: {report.unpredicted}")
    lines += block_lines(report, paint, 10**9 if full else MAX_SHOWN)
    if report.engine:
        lines += ["", *row("engine", f"{report.engine}  ({_runs_on(report)})")]
    return lines


def _runs_on(report: BuildReport) -> str:
    if report.device is None:
        return f"for RTX GPUs of {report.builds[0].gpu}"
    return f"for {report.compiler} on this GPU"


def _where(report: BuildReport) -> str:
    """Say what built the model."""
    if report.device is None:
        return "on this machine, without a GPU"
    return f"{report.device.trtexec}" + (f" on {report.device.name}" if report.device.name else "")


def block_lines(report: BuildReport, paint: Paint = plain, most: int = MAX_SHOWN) -> list[str]:
    """Return what became of the model, a block for each GPU.

    Args:
        report: What was found.
        paint: Colours a text.
        most: Most entries of a list.
    """
    return [line for build in report.builds for line in _block(report, build, paint, most)]


def _block(report: BuildReport, build: GpuBuild, paint: Paint, most: int) -> list[str]:
    lines = ["", *row(build.gpu, _result(build, paint))]
    if build.outcome is not Outcome.BUILT:
        lines += _refusals(build, paint, most)
        return lines if report.unpredicted else lines + _errors(build, paint, most)
    lines += row("weighted", operators_text(build))
    if report.device is not None and report.device.total_ms is not None:
        lines += row("time", time_text(report.device.total_ms, len(report.device.times_ms), report.device.untimed))
    if build.quantized_macs_percent is not None:
        macs = sum(operator.macs or 0 for operator in build.operators)
        kind, share = share_of_codes(build.operators)
        lines += row("MACs", f"{share_text(share)} of {short_count(macs)} in {kind}")
    if build.agreement is not None and not report.unpredicted:
        lines += row("prediction", agreement_text(build.agreement))
    lines += row("kernels", types_text(build.types or {}))
    if build.traffic is not None:
        lines += row("bytes", traffic_text(build.traffic))
    lines += row("Q/DQ", _conversions(report, build))
    lines += differing_lines(build.operators, paint, most) + _errors_of_built(build, paint, most)
    return lines + (beside_lines(build) if report.device is None else _device_lines(report.device, paint, most))


def _device_lines(device: Device, paint: Paint, most: int) -> list[str]:
    """Say what costs time on this machine's GPU, and how it was measured."""
    losses = loss_lines(device.losses, paint, most, timed=device.total_ms is not None)
    return [*losses, "", *wrapped(f"the same by hand: {device.command}", 0)]


def _result(build: GpuBuild, paint: Paint) -> str:
    if build.outcome is Outcome.BUILT:
        memory = "" if build.peak_bytes is None else f", {size_text(build.peak_bytes)} of memory"
        engine = size_text(build.engine_bytes)
        return f"{paint('built', 'green')} in {build.seconds:.1f} s{memory}; the engine has {engine}"
    if build.outcome is Outcome.REFUSED:
        return f"{paint('refused', 'red')}: the importer does not read {count_text(len(build.refusals), 'node')}"
    return f"{paint('not built', 'red')}: the importer reads the model, and the builder makes no engine of it"


def _refusals(build: GpuBuild, paint: Paint, most: int) -> list[str]:
    lines = []
    for refusal in build.refusals[:most]:
        lines += _refusal(refusal, paint)
    if len(build.refusals) > most:
        lines.append(f"... and {len(build.refusals) - most} more nodes (--json)")
    if not build.refusals:
        for said in build.said[:most]:
            lines += ["", *wrapped(f"the compiler: {said}", 0)]
    return lines


def _errors(build: GpuBuild, paint: Paint, most: int) -> list[str]:
    """Show what the lint says about a model that is not built, beyond the nodes that the importer names."""
    named = {finding for refusal in build.refusals for finding in refusal.findings}
    others = [finding for finding in build.errors if finding not in named]
    if not build.errors:
        return ["", *wrapped(f"qdq inspect finds no error in it for {build.gpu}", 0)]
    lines = ["", f"qdq inspect finds {count_text(len(others), 'further error')}"] if others and named else []
    alike: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for finding in others:
        alike[finding.code, finding.rule, finding.found, finding.fix].append(finding.node)
    for (code, rule, found, fix), nodes in list(alike.items())[:most]:
        lines += ["", paint(f"{code}  {len(nodes)}x  rule {rule}", "red")]
        lines += wrapped(f"at {some_of([node for node in nodes if node], MAX_NAMES)}") if any(nodes) else []
        lines += wrapped(f"{found}. {fix}")
    return lines


def _errors_of_built(build: GpuBuild, paint: Paint, most: int) -> list[str]:
    """Show the errors that the lint finds in a model that is built all the same: they may say why it runs in float."""
    if not build.errors:
        return []
    heading = f"built all the same, qdq inspect finds {count_text(len(build.errors), 'error')} in it:"
    return ["", *wrapped(heading, 0), *_errors(build, paint, most)]


def _refusal(refusal: Refusal, paint: Paint) -> list[str]:
    name = f"{refusal.op_type or 'node'}  {refusal.node or '(no name)'}"
    lines = ["", paint(name, "red"), *wrapped(f"the importer: {refusal.said}")]
    for finding in refusal.findings:
        place = "" if finding.node == refusal.node else f" at {finding.node}"
        lines += wrapped(f"{finding.code}, rule {finding.rule}{place}: {finding.found}. {finding.fix}")
    return lines if refusal.findings else [*lines, "  qdq inspect says nothing about this node"]


def figures(build: GpuBuild) -> Iterator[tuple[str, str]]:
    """Yield what a build is measured by, beside the types of its weighted operators: what it is, and the figure."""
    if build.quantized_macs_percent is not None:
        kind, share = share_of_codes(build.operators)
        yield f"MACs in {kind}", share_text(share)
    if build.agreement is not None:
        yield "prediction", agreement_text(build.agreement)
    yield "kernels", types_text(build.types or {})
    if build.traffic is not None:
        yield "bytes", traffic_text(build.traffic)


def operators_text(build: GpuBuild) -> str:
    """Say in which types the weighted operators run."""
    if not build.operators:
        return "no weighted operators"
    types = ", ".join(f"{count} in {kind}" for kind, count in (build.built_types or {}).items())
    return f"{count_text(len(build.operators), 'operator')}: {types or 'in no kernel of their own'}"


def agreement_text(agreement: Agreement) -> str:
    """Say how many operators run as predicted."""
    known = agreement.agree + agreement.differ
    text = f"{agreement.agree} of {known} run in the type that qdq inspect predicts"
    return text + (f"; nothing is told of {agreement.untold} more" if agreement.untold else "")


def types_text(types: Mapping[str, int]) -> str:
    """Count kernels by the types they read and write; the rarest together."""
    shown = list(types.items())
    left = sum(count for _, count in shown[MAX_TYPES:])
    parts = [f"{count} {kinds}" for kinds, count in shown[:MAX_TYPES]] + ([f"{left} others"] if left else [])
    return f"{sum(types.values())}: {', '.join(parts)}" if types else "0"


def traffic_text(traffic: Traffic) -> str:
    """Say how much kernels read and write, by type."""
    kinds = ", ".join(f"{size_text(size)} {kind}" for kind, size in traffic.activations.items() if size)
    kinds = f" ({kinds})" if kinds else ""
    constants = size_text(traffic.weight_bytes)
    text = f"{size_text(traffic.activation_bytes)} of activations{kinds}, {constants} of constants"
    return text + (f"; {count_text(traffic.unknown, 'kernel')} of unknown size" if traffic.unknown else "")


def _conversions(report: BuildReport, build: GpuBuild) -> str:
    count = len(build.conversions)
    verbs = "quantizes or dequantizes" if count == 1 else "quantize or dequantize"
    device = report.device
    times = "" if device is None else conversions_time_text(device.conversions_ms, device.total_ms)
    found = f"{count_text(count, 'kernel')} that only {verbs}{times}"
    if report.predicted_standalone is None:
        return found
    predicted = f"{report.predicted_standalone} inside, {report.predicted_boundary} at the boundary"
    weights = f", {count_text(report.predicted_weights, 'weight')} made float" if report.predicted_weights else ""
    return f"{found}; predicted: {predicted}{weights}"


def differing_lines(operators: Iterable[Operator], paint: Paint, most: int) -> list[str]:
    """Show the operators that run in another type than predicted, those of one kind and one chain of rules together."""
    kinds: dict[tuple[str, str, str, str], list[Operator]] = defaultdict(list)
    for operator in operators:
        if operator.agrees is False:
            rule = operator.because[0] if operator.because else ""
            kinds[operator.op_type, operator.predicted, operator.built, rule].append(operator)
    lines = []
    for (op_type, predicted, built, rule), found in list(kinds.items())[:most]:
        heading = f"{len(found)}x {op_type}: {predicted} predicted, {built} built"
        lines += ["", paint(heading, "yellow"), *wrapped(f"at {some_of([each.name for each in found], MAX_NAMES)}")]
        lines += wrapped(f"predicted because: {rule}") if rule else []
    return lines


def beside_lines(build: GpuBuild) -> list[str]:
    """Lay the other forms of the model beside it, and say whether INT8 is worth it."""
    if not build.beside:
        return []
    lines = ["", f"{'form of the model':<34}{'kernels':>8}{'activations':>13}{'constants':>11}  operators"]
    for form in forms_of(build):
        lines += _form(form)
    for number, sentence in enumerate(build.verdict):
        lines += ["", *wrapped(sentence, 0)] if not number else wrapped(sentence, 0)
    return lines


def _form(form: Beside) -> list[str]:
    if form.traffic is None:
        return [f"{form.name:<34}not built", *wrapped(form.said, 4)]
    types = ", ".join(f"{count} {kind}" for kind, count in form.operators.items())
    sizes = f"{size_text(form.traffic.activation_bytes):>13}{size_text(form.traffic.weight_bytes):>11}"
    return [f"{form.name:<34}{form.kernels:>8}{sizes}  {types}"]
