"""An inspection in the forms build pipelines read: GitHub annotations and summary, JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree

from qdq_cli.inspecting.inspect import Inspection
from qdq_cli.process.sentences import some_of
from qdq_cli.targets.tensorrt.findings import RULES, Finding, Severity


def github_annotations(inspection: Inspection) -> list[str]:
    """Return one workflow command a lint code, as GitHub shows it on the run and beside the file; errors first.

    GitHub shows ten of each kind for a step, so a code found a hundred times must not hide the others.

    Source: GitHub documentation, "Workflow commands for GitHub Actions": `::error file=,title=::message`, with %, CR
    and LF escaped, in properties also `:` and `,`.
    """
    return [
        f"::{RULES[code].severity.value} file={_property(inspection.model)},title={_property(_title(found))}::"
        f"{_message(f'{found[0].found}. Expected: {found[0].expected}. {found[0].fix}')}"
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


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def markdown_summary(inspection: Inspection) -> str:
    """Return the summary of an inspection as Markdown, for the page of a pipeline run."""
    summary = inspection.summary
    macs = "unknown" if summary.int8_macs_percent is None else f"{summary.int8_macs_percent:.1f} %"
    traffic = "unknown" if summary.int8_traffic_percent is None else f"{summary.int8_traffic_percent:.1f} %"
    unknown = summary.unknown_costs
    lines = [
        f"### qdq inspect: `{inspection.model}`",
        "",
        "| | |",
        "| --- | --- |",
        f"| weighted operators in INT8 | {summary.weighted_int8} of {summary.weighted_ops} |",
        f"| MACs in INT8 | {macs} |",
        f"| activation traffic in INT8 | {traffic} |",
        *([f"| kernels of unknown shape, not in these shares | {unknown} |"] if unknown else []),
        f"| stand-alone Q/DQ inside / at the boundary | {summary.standalone} / {summary.boundary} |",
        f"| errors / warnings | {summary.errors} / {summary.warnings} |",
        "",
    ]
    by_code = _by_code(inspection)
    if by_code:
        lines += ["| code | count | first at | found | fix |", "| --- | --- | --- | --- | --- |"]
        for code, (first, *others) in by_code.items():
            cells = (code, str(1 + len(others)), f"`{first.node}`", first.found, first.fix)
            lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def junit_xml(inspection: Inspection) -> str:
    """Return a JUnit document with one test case a lint code; warnings are reported in the output of passing cases."""
    by_code = _by_code(inspection)
    failed = sum(RULES[code].severity is Severity.ERROR for code in by_code)
    suite = ElementTree.Element(
        "testsuite", name=f"qdq inspect {inspection.model}", tests=str(len(RULES)), failures=str(failed), errors="0"
    )
    for code, rule in RULES.items():
        case = ElementTree.SubElement(suite, "testcase", classname="qdq.inspect", name=code)
        if code not in by_code:
            continue
        text = "\n".join(f"{entry.node}: {entry.found}" for entry in by_code[code])
        if rule.severity is Severity.ERROR:
            message = f"{len(by_code[code])} findings; expected {rule.expected}"
            ElementTree.SubElement(case, "failure", message=_xml(message), type=code).text = _xml(text)
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(text)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Drop the control characters that XML cannot hold."""
    return "".join(letter for letter in text if letter >= " " or letter in "\t\n")
