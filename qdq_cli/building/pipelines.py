"""A build in the forms that build services read: GitHub annotations and summary, JUnit XML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from qdq_cli.building.gates import not_built_text
from qdq_cli.building.loss_text import time_text
from qdq_cli.building.record import BuildReport, GpuBuild, Outcome
from qdq_cli.building.text import figures, operators_text
from qdq_cli.process.printable import printable_line
from qdq_cli.screen.amounts import size_text
from qdq_cli.screen.sentences import count_text, some_of
from qdq_cli.screen.services import annotation, code_text, document_text, prose_text, suite_of

_CASES = ("read", "built", "prediction")
"""What of each GPU is a test case of its own."""


def github_build_annotations(report: BuildReport) -> list[str]:
    """Return one annotation a GPU that the model is not built for, and one where types differ from the prediction."""
    lines = []
    for build in report.builds:
        for name, text in _failures(build):
            severity = "warning" if name == "prediction" else "error"
            lines.append(annotation(severity, report.model, f"{name} for {build.gpu}", text))
    return lines


def _failures(build: GpuBuild) -> Iterator[tuple[str, str]]:
    """Yield (test case, what is wrong)."""
    if build.outcome is Outcome.REFUSED:
        said = "; ".join(f"{each.op_type} '{each.node}': {each.said}" for each in build.refusals[:3])
        yield "read", f"The model is {not_built_text(build)}. {said}"
    elif build.outcome is Outcome.FAILED:
        yield "built", f"The model is {not_built_text(build)}. {' '.join(build.said[:2])}"
    others = [operator for operator in build.operators if operator.agrees is False]
    if others:
        names = some_of([f"{each.name} ({each.predicted} predicted, {each.built} built)" for each in others], 3)
        yield "prediction", f"{count_text(len(others), 'operator')} run in another type than predicted: {names}"


def markdown_build_summary(report: BuildReport) -> str:
    """Return the summary of a build as Markdown, for the page of a pipeline run."""
    lines = [f"### qdq build: {code_text(report.model)}", "", report.compiler, "", "| | |", "| --- | --- |"]
    for build in report.builds:
        lines += [f"| {label} | {prose_text(text)} |" for label, text in _facts(build)]
    if report.device is not None and report.device.total_ms is not None:
        device = report.device
        lines.append(f"| time | {time_text(report.device.total_ms, len(device.times_ms), device.untimed)} |")
    lines += [""]
    for build in report.builds:
        lines += [*build.verdict[:1], ""] if build.verdict else []
    return "\n".join(lines)


def _facts(build: GpuBuild) -> Iterator[tuple[str, str]]:
    yield f"**{build.gpu}**", build.outcome.value
    for refusal in build.refusals[:3]:
        yield f"refused {refusal.op_type}", f"{refusal.node}: {refusal.said}"
    if build.outcome is not Outcome.BUILT:
        return
    yield "weighted operators", operators_text(build)
    yield from figures(build)
    yield "engine", size_text(build.engine_bytes)


def build_values(report: BuildReport) -> Mapping[str, str]:
    """Return what later steps of a pipeline may want to know: whether the model is built for every GPU."""
    built = all(build.outcome is Outcome.BUILT for build in report.builds)
    return {"built": "true" if built else "false", **({"engine": report.engine} if report.engine else {})}


def junit_build_xml(report: BuildReport) -> str:
    """Return a JUnit document: for each GPU whether the model is read, built, and runs in the predicted types."""
    failed = {(build.gpu, name): text for build in report.builds for name, text in _failures(build)}
    errors = {key: text for key, text in failed.items() if key[1] != "prediction"}
    suite = suite_of(f"qdq build {report.model}", len(_CASES) * len(report.builds), len(errors))
    for build in report.builds:
        for name in _CASES:
            case = ElementTree.SubElement(suite, "testcase", classname=f"qdq.build.{build.gpu}", name=name)
            text = printable_line(failed.get((build.gpu, name), ""))
            if (build.gpu, name) in errors:
                ElementTree.SubElement(case, "failure", message=text, type=name).text = text
            elif text:
                ElementTree.SubElement(case, "system-out").text = text
    return document_text(suite)
