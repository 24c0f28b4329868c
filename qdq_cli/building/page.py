"""The page of `qdq build`: what was built for each GPU, prediction beside fact, other forms, every kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from qdq_cli.building.agreement import types_text as kernel_types
from qdq_cli.building.loss_text import cost_text, time_text
from qdq_cli.building.record import BuildReport, Device, GpuBuild, Kernel, Operator, Outcome
from qdq_cli.building.text import figures, operators_text
from qdq_cli.building.verdict import forms_of
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.anchors import built_of
from qdq_cli.screen.page import Badge, Block, Cell, Facts, Link, Note, Page, Section, Table, Tone, Verdict
from qdq_cli.screen.sentences import some_of

_FORMS = "Activations and constants that kernels read and write in one run of the usual sizes."


def build_page(report: BuildReport, predicted: tuple[Section, ...] = ()) -> Page:
    """Compose the page of a run.

    Args:
        report: What was built.
        predicted: The graph of the model, and its layers, as predicted.
    """
    facts: tuple[tuple[str, Cell], ...] = (
        ("compiler", report.compiler),
        *(("input", f"{name} {shape}") for name, shape in report.shapes.items()),
        *((("engine", report.engine),) if report.engine else ()),
        *_device_facts(report.device),
    )
    sections = [section for build in report.builds for section in _sections(build, report.builds[0])]
    times = () if report.device is None else tuple(_times(report.device, report.builds[0].kernels))
    summary = Section("Summary", "", (verdict_of(report), Facts(facts)))
    return Page("Build", report.model, (summary, *predicted[:1], *sections, *times, *predicted[1:]))


_MOST_LOOKS = 3


def verdict_of(report: BuildReport) -> Verdict:
    """Say whether every GPU has its engine, and which operators run in another type than predicted."""
    failed = [build for build in report.builds if build.outcome is not Outcome.BUILT]
    if failed:
        said = tuple(f"{refusal.op_type} '{refusal.node}': {refusal.said}" for refusal in failed[0].refusals)
        names = [refusal.node for refusal in failed[0].refusals]
        looks = (*zip(said, names, strict=True), *((text, "") for text in failed[0].said if not said))[:_MOST_LOOKS]
        return Verdict(Tone.STANDALONE, "bad", f"For {some_of([build.gpu for build in failed])}: no engine.", looks)
    differ = {each.name: each for build in report.builds for each in build.operators if each.agrees is False}
    looks = tuple(
        (f"{each.op_type} {each.name} runs in {each.built}, and {each.predicted} was predicted.", each.name)
        for each in differ.values()
    )[:_MOST_LOOKS]
    built = f"Built for {some_of([build.gpu for build in report.builds])}"
    if not differ:
        return Verdict(Tone.GOOD, "good", f"{built}; weighted operators run in the types that were predicted.")
    return Verdict(Tone.WARNING, "look at these", f"{built}; {len(differ)} run in other types than predicted.", looks)


def _device_facts(device: Device | None) -> Iterator[tuple[str, Cell]]:
    if device is not None:
        yield "GPU", device.name
        if device.total_ms is not None:
            yield "time", time_text(device.total_ms, len(device.times_ms), device.untimed)
        yield "command", device.command


def _times(device: Device, kernels: Sequence[Kernel]) -> Iterator[Section]:
    """Yield what to mend first, and the time of every layer."""
    losses = tuple((loss.found, loss.subject, cost_text(loss), loss.advice) for loss in device.losses)
    if losses:
        columns = ("found", "layer or node", "costs", "advice")
        yield Section("What to mend first", "", (Table(columns, losses, frozenset({2})),))
    if device.times_ms:
        known = [(device.times_ms[each.name], each) for each in kernels if each.name in device.times_ms]
        rows = tuple(
            (f"{1000 * time:.1f}", each.kind, kernel_types(each), some_of(each.nodes, 4))
            for time, each in sorted(known, key=lambda entry: -entry[0])
        )
        intro = "Mean time of each layer in one run, most first."
        yield Section("Times", intro, (Table(("us", "kind", "types", "nodes"), rows, frozenset({0})),))


def with_build(page: Page, report: BuildReport) -> Page:
    """Return a page about a result with what a compiler made of it behind its first section, but for the kernels."""
    intro = f"What {report.compiler} makes of the result, on this machine, without a GPU."
    first = report.builds[0]
    sections = [section for build in report.builds for section in (_result(build, intro), *_compared(build, first))]
    return replace(page, sections=(*page.sections[:1], *sections, *page.sections[1:]))


def _sections(build: GpuBuild, first: GpuBuild) -> Iterator[Section]:
    yield _result(build)
    yield from _compared(build, first)
    if build.kernels:
        yield Section(f"Kernels, {build.gpu}", "As the compiler names them.", (_kernels(build),))


def _result(build: GpuBuild, intro: str = "") -> Section:
    return Section(f"Build for {build.gpu}", intro, (Facts(tuple(_facts(build))), *_refusals(build)))


def _compared(build: GpuBuild, first: GpuBuild) -> Iterator[Section]:
    """Yield the other forms, and the operators; the graph shows those of the first GPU."""
    if build.beside:
        yield Section(f"Forms, {build.gpu}", _FORMS, (_forms(build), *(Note(text) for text in build.verdict)))
    if build.operators:
        yield Section(f"Weighted operators, {build.gpu}", "", (_operators(build.operators, shown=build is first),))


def _facts(build: GpuBuild) -> Iterator[tuple[str, Cell]]:
    good = build.outcome is Outcome.BUILT
    yield "result", Badge(build.outcome.value, Tone.GOOD if good else Tone.WARNING)
    if not good:
        return
    yield "engine", size_text(build.engine_bytes)
    yield "weighted", operators_text(build)
    yield from figures(build)


def _refusals(build: GpuBuild) -> Iterator[Block]:
    for refusal in build.refusals:
        ours = "; ".join(f"{finding.code}: {finding.found}. {finding.fix}" for finding in refusal.findings)
        yield Note(f"{refusal.op_type} '{refusal.node}': {refusal.said} {ours}".strip(), warning=True)
    if not build.refusals:
        yield from (Note(text, warning=True) for text in build.said)


def _forms(build: GpuBuild) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for form in forms_of(build):
        if form.traffic is None:
            rows.append((form.name, "", "", "", f"not built: {form.said}"))
            continue
        sizes = (size_text(form.traffic.activation_bytes), size_text(form.traffic.weight_bytes))
        types = ", ".join(f"{count} {kind}" for kind, count in form.operators.items())
        rows.append((form.name, str(form.kernels), *sizes, types))
    return Table(("form", "kernels", "activations", "constants", "operators"), tuple(rows), frozenset({1, 2, 3}))


def _operators(operators: tuple[Operator, ...], *, shown: bool) -> Table:
    rows = tuple(
        (Link(each.name, each.name), each.op_type, each.predicted, _built(each), " ".join(each.because))
        for each in operators
    )
    anchors = tuple(built_of(each.name) for each in operators) if shown else ()
    differ = frozenset(number for number, each in enumerate(operators) if each.agrees is False)
    return Table(
        ("operator", "type", "predicted", "built", "predicted because"), rows, highlight=differ, anchors=anchors
    )


def _built(operator: Operator) -> Badge:
    if not operator.built:
        return Badge("not told")
    return Badge(operator.built, Tone.FLOAT if operator.built in ("FP32", "FP16", "BF16") else Tone.INT8)


def _kernels(build: GpuBuild) -> Table:
    rows = tuple((kernel.kind, kernel_types(kernel), some_of(kernel.nodes, 4)) for kernel in build.kernels)
    return Table(("kind", "types", "nodes"), rows)
