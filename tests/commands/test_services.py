"""What build services are told: annotations, summaries, outputs of a step, JUnit reports; of failures too."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.screen.told import Case, Told, Verdict, annotation_lines, junit, markdown, value_lines
from tests.building.fake import use_fake_compiler
from tests.networks import Network
from tests.workspace import SIDE, Outcome, Workspace, qdq


@pytest.fixture
def here(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(space.folder)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("GITHUB_OUTPUT", "outputs")
    use_fake_compiler(monkeypatch)
    assert space.quantize("-q").code == 0
    return space


LINES = {
    "quantize": "quantize model.onnx --calib arrays.npz -o new.onnx",
    "compare": "compare model.onnx model.qdq.onnx --data arrays.npz",
    "inspect": "inspect model.qdq.onnx",
    "build": "build model.qdq.onnx",
}
"""Each command that tells services."""

VALUES = {
    "quantize": {"output", "sqnr-db", "top1-agreement", "int8-macs", "standalone"},
    "compare": {"sqnr-db", "top1-agreement"},
    "inspect": {"errors", "warnings", "standalone", "int8-macs"},
    "build": {"built"},
}
"""Command -> what later steps get."""

MISSED = {
    "quantize": "--min-sqnr 190",
    "compare": "--min-sqnr 190",
    "inspect": "--min-int8-macs 100 --exclude first",
    "build": "--max-bytes 1",
}
"""Command -> options that it fails by."""


def told(line: str, style: str, *more: str) -> Outcome:
    return qdq(*line.split(), "--format", style, *more)


def values() -> dict[str, str]:
    return dict(line.split("=", 1) for line in Path("outputs").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("command", LINES)
def test_github_gets_a_summary_and_values(command: str, here: Workspace):
    done = told(LINES[command], "github")
    assert done.code == 0, done.err
    assert not [line for line in done.out.splitlines() if not line.startswith("::")]
    assert Path("summary.md").read_text(encoding="utf-8").startswith(f"### qdq {command}: `model.")
    assert set(values()) == VALUES[command]


@pytest.mark.parametrize("command", LINES)
def test_markdown_is_the_summary_on_stdout(command: str, here: Workspace):
    assert told(LINES[command], "github").code == 0
    done = told(LINES[command], "markdown")
    assert done.out.strip() == Path("summary.md").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("command", LINES)
def test_junit_is_a_report_of_cases(command: str, here: Workspace):
    words = LINES[command].split()
    last = 3 if command == "compare" else 2
    done = qdq(*words[:last], "report.xml", *words[last:], "--format", "junit")
    assert done.code == 0, done.err
    suite = ElementTree.parse("report.xml").getroot()
    cases = suite.findall("testcase")
    assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), "0")
    assert len(cases) >= 2
    assert {str(case.get("classname")).split(".")[1] for case in cases} == {command}


@pytest.mark.parametrize("command", ["quantize", "compare"])
def test_a_limit_that_is_missed_fails_a_case(command: str, here: Workspace):
    words = LINES[command].split()
    last = 3 if command == "compare" else 2
    done = qdq(*words[:last], "report.xml", *words[last:], "--format", "junit", *MISSED[command].split())
    assert done.code == 5
    (failure,) = ElementTree.parse("report.xml").getroot().findall("testcase/failure")
    assert "--min-sqnr is 190 dB" in str(failure.get("message"))
    again = qdq(*words[:last], "report.xml", *words[last:], "--format", "junit")
    assert again.code == 0, "a report may take the place of another one"


@pytest.mark.parametrize("command", ["quantize", "compare", "inspect"])
def test_github_is_told_once_why_a_run_failed(command: str, here: Workspace):
    line = LINES[command].replace("inspect model.qdq.onnx", "inspect model.onnx")
    done = told(line, "github", *MISSED[command].split())
    assert done.code == 5, done.err
    errors = [line for line in done.out.splitlines() if line.startswith("::error")]
    assert len(errors) == 1
    sentence = done.err.splitlines()[0].removeprefix("error: ")
    assert sentence.replace("%", "%25") in errors[0]
    assert Path("summary.md").read_text(encoding="utf-8").rstrip().splitlines()[-1].startswith("**Exit 5.**")


@pytest.mark.parametrize(
    "line", ["quantize missing.onnx", "compare model.onnx --data x", "inspect model.onnx --nonsense"]
)
@pytest.mark.parametrize("style", ["--format github", "--format=github"])
def test_other_errors_are_told_too(line: str, style: str, here: Workspace):
    done = qdq(*line.split(), *style.split())
    assert done.code in (2, 3)
    assert done.out.startswith("::error title=qdq::")
    assert f"**Exit {done.code}.**" in Path("summary.md").read_text(encoding="utf-8")
    assert not Path("outputs").exists()


def test_without_the_files_of_github_the_summary_is_printed(here: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    monkeypatch.delenv("GITHUB_OUTPUT")
    done = told(LINES["quantize"], "github")
    assert "| output scores | SQNR " in done.out
    assert not Path("outputs").exists()


def test_what_is_to_be_looked_at_is_a_warning(here: Workspace):
    net = Network()
    net.op("Relu", net.input("images", ("N", 3, SIDE, SIDE)), name="out")
    onnx.save(net.proto("out"), here.model)
    done = told(LINES["quantize"], "github")
    assert "::warning file=model.onnx,title=qdq quantize%3A quantized::nothing" in done.out
    assert "**To look at: quantized.** nothing" in Path("summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("victim", ["model.onnx", "images/0.png", "arrays.npz"])
def test_a_report_takes_the_place_of_no_other_file(victim: str, here: Workspace):
    before = Path(victim).read_bytes()
    for line in ("quantize model.onnx", "compare model.onnx model.qdq.onnx", "inspect model.qdq.onnx"):
        done = qdq(*line.split(), victim, "--format", "junit")
        assert done.code == 2
        assert f"FILE {victim} is there, and is no report." in done.err or "--data" in done.err
    assert Path(victim).read_bytes() == before


@pytest.mark.parametrize(
    "more", ["--format junit", "report.xml", "--dry-run --format github", "--tune --format markdown"]
)
def test_formats_go_with_what_they_are_for(more: str, here: Workspace):
    done = qdq("quantize", "model.onnx", "--calib", "arrays.npz", *more.split())
    assert done.code == 2
    assert "--format" in done.err


ODD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(ODD, ODD, ODD)
def test_no_text_of_a_model_forges_a_line(file: str, name: str, text: str):
    """Commands, rows, tags and outputs are those that we write, whatever names and sentences hold."""
    case = Case(name, text, Verdict.DOUBT)
    run = Told("quantize", file, ((name, text),), (case, Case(name, text, Verdict.FAILED)), {"output": text})
    (annotation,) = annotation_lines(run)
    assert len(annotation.splitlines()) == 1
    lines = markdown(run).splitlines()
    assert len(lines) == 7
    assert "<" not in "".join(lines[1:])  # the first has the file between marks of code
    suite = ElementTree.fromstring(junit(run).partition("\n")[2])
    assert len(suite.findall("testcase/failure")) == 1
    (line,) = value_lines(run.values)
    assert line.startswith("output=")
    assert line.count("\n") == 1
