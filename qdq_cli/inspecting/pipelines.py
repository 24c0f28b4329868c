"""An inspection in the forms build pipelines read: GitHub annotations and summary, JUnit XML."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from qdq_cli.inspecting.record import Inspection
from qdq_cli.inspecting.text import coded_types
from qdq_cli.process.printable import printable_line
from qdq_cli.screen.amounts import share_text
from qdq_cli.screen.sentences import some_of
from qdq_cli.screen.services import annotation, code_text, document_text, prose_text, suite_of
from qdq_cli.targets.tensorrt.findings import RULES, Finding, Severity


def github_annotations(inspection: Inspection) -> list[str]:
    """Return one workflow command a lint code, as GitHub shows it on the run and beside the file; errors first.

    GitHub shows ten of each kind for a step, so a code found a hundred times must not hide the others.
    """
    return [
        annotation(
            RULES[code].severity.value,
            inspection.model,
            _title(found),
            f"{found[0].found}. Expected: {found[0].expected}. {found[0].fix}",
        )
        for code, found in _by_code(inspection).items()
    ]


def _by_code(inspection: Inspection) -> dict[str, list[Finding]]:
    """Code -> its findings, at least one; in the order of the rules, errors before warnings."""
    found: dict[str, list[Finding]] = {code: [] for code in RULES}
    for entry in inspection.findings:
        found[entry.code].append(entry)
    kept = [(code, entries) for code, entries in found.items() if entries]
    return dict(sorted(kept, key=lambda item: RULES[item[0]].severity is not Severity.ERROR))


def _title(found: list[Finding]) -> str:
    return f"{found[0].code} {some_of([entry.node for entry in found], 1)}".strip()


def markdown_summary(inspection: Inspection) -> str:
    """Return the summary of an inspection as Markdown, for the page of a pipeline run."""
    summary = inspection.summary
    macs = "unknown" if summary.quantized_macs_percent is None else share_text(summary.quantized_macs_percent)
    traffic = "unknown" if summary.quantized_traffic_percent is None else share_text(summary.quantized_traffic_percent)
    unknown, types = summary.unknown_costs, coded_types(summary)
    lines = [
        f"### qdq inspect: {code_text(inspection.model)}",
        "",
        "| | |",
        "| --- | --- |",
        f"| weighted operators in {types} | {summary.weighted_quantized} of {summary.weighted_ops} |",
        f"| MACs in {types} | {macs} |",
        f"| activation traffic in {types} | {traffic} |",
        *([f"| kernels of unknown shape, not in these shares | {unknown} |"] if unknown else []),
        f"| stand-alone Q/DQ inside / at the boundary | {summary.standalone} / {summary.boundary} |",
        f"| errors / warnings | {summary.errors} / {summary.warnings} |",
        "",
    ]
    by_code = _by_code(inspection)
    if by_code:
        lines += ["| code | count | first at | found | fix |", "| --- | --- | --- | --- | --- |"]
        for code, (first, *others) in by_code.items():
            cells = (code, str(1 + len(others)), code_text(first.node), prose_text(first.found), prose_text(first.fix))
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines += ["", "`qdq explain CODE` says what a code means, and what to do.", ""]
    return "\n".join(lines)


def step_values(inspection: Inspection) -> Mapping[str, str]:
    """Return what later steps of a pipeline may want to know; what is not known is left out."""
    summary = inspection.summary
    macs = summary.quantized_macs_percent
    return {
        "errors": str(summary.errors),
        "warnings": str(summary.warnings),
        "standalone": str(summary.standalone),
        **({} if macs is None else {"int8-macs": f"{macs:.1f}"}),
    }


def junit_xml(inspection: Inspection) -> str:
    """Return a JUnit document with one test case a lint code; warnings are reported in the output of passing cases."""
    by_code = _by_code(inspection)
    failed = sum(RULES[code].severity is Severity.ERROR for code in by_code)
    suite = suite_of(f"qdq inspect {inspection.model}", len(RULES), failed)
    for code, rule in RULES.items():
        case = ElementTree.SubElement(suite, "testcase", classname="qdq.inspect", name=code)
        if code not in by_code:
            continue
        text = "\n".join(printable_line(f"{entry.node}: {entry.found}") for entry in by_code[code])
        if rule.severity is Severity.ERROR:
            message = f"{len(by_code[code])} findings; expected {rule.expected}"
            ElementTree.SubElement(case, "failure", message=printable_line(message), type=code).text = text
        else:
            ElementTree.SubElement(case, "system-out").text = text
    return document_text(suite)
