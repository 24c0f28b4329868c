"""`qdq explain`: every code that the program prints, told in plain English, from the records that docs/ is made of."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qdq_cli.casting.reasons import REASONS as CAST_REASONS
from qdq_cli.explaining.casting import CASTS
from qdq_cli.explaining.explain import CHAPTERS, anchor_of, catalogue, rules_of, title_of
from qdq_cli.explaining.kernels import STANDALONE
from qdq_cli.explaining.lint import LINT
from qdq_cli.explaining.outcomes import EXITS, LOW
from qdq_cli.explaining.pages import findings_page, rules_page
from qdq_cli.explaining.record import Explanation, Kind
from qdq_cli.explaining.skips import SKIPS
from qdq_cli.placement.skips import REASONS
from qdq_cli.process.errors import ExitCode
from qdq_cli.quantizing.low import Reason as LowReason
from qdq_cli.targets.known import OTHER_TYPES, TARGETS
from qdq_cli.targets.tensorrt.findings import RULES
from qdq_cli.targets.tensorrt.simulation import Reason
from tests.workspace import REPOSITORY, qdq

CODES = catalogue()
EVERY = pytest.mark.parametrize("entry", CODES.values(), ids=list(CODES))


def test_every_code_that_can_be_printed_is_explained():
    assert set(LINT) == set(RULES)
    assert [entry.code for entry in STANDALONE] == [reason.value for reason in Reason]
    every = [*TARGETS.values(), *(target for tables in OTHER_TYPES.values() for target in tables.values())]
    assert set(SKIPS) == {*REASONS, *(obstacle.code for target in every for obstacle in target.obstacles)}
    assert set(CASTS) == set(CAST_REASONS)
    assert {entry.code for entry in LOW} == {reason.value for reason in LowReason}
    assert [entry.code for entry in EXITS] == [f"exit {code.value}" for code in ExitCode]
    named = {code for rule in RULES.values() for code in rules_of(rule.rule)}
    assert named <= set(CODES)
    assert len(CODES) == len({anchor_of(code) for code in CODES})


def test_every_rule_that_a_repair_names_is_explained():
    named = set()
    for path in (REPOSITORY / "qdq_cli" / "fixing").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and re.fullmatch(r"[APRS]\d+(, [APRS]\d+)*|\d\.[1-9]", str(node.value)):
                named.update(rules_of(str(node.value)))
    assert len(named) > 8
    assert named <= set(CODES)


@EVERY
def test_a_code_is_told_in_whole_sentences(entry: Explanation):
    for text in (title_of(entry), entry.why, entry.mend):
        assert text == "" or text[-1] in ".?)", text
        assert "  " not in text
    assert not entry.why[0].islower()
    assert entry.why
    assert entry.example
    assert entry.mend or entry.code[0].isdigit()
    assert set(entry.see) <= set(CODES)
    assert entry.see or entry.source or entry.mend or entry.code[0].isdigit()


@EVERY
def test_commands_and_options_that_it_names_exist(entry: Explanation, known_options: Callable[[str], bool]):
    for text in (entry.says, entry.why, entry.example, entry.mend):
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text):
            assert known_options(option), option
        for command in re.findall(r"`qdq (\w+)", text):
            assert qdq(command, "--help").code == 0, command


@pytest.fixture(scope="session")
def known_options() -> Callable[[str], bool]:
    from tests.commands.test_help import EVERY as COMMANDS

    params = [param for command in COMMANDS.values() for param in command.params]
    found = {"--help", *(name for param in params for name in (*param.opts, *param.secondary_opts))}
    return lambda option: option in found


@EVERY
def test_a_code_is_found_whatever_its_case(entry: Explanation):
    for spelled in (entry.code, entry.code.lower(), entry.code.upper()):
        done = qdq("explain", *spelled.split())
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"{entry.code}: ")
        assert max(map(len, done.out.splitlines())) <= 80 or " " not in max(done.out.splitlines(), key=len).strip()
    document, *_ = json.loads(qdq("explain", "--json", entry.code).out)["explanations"]
    assert (document["code"], document["kind"]) == (entry.code, entry.kind.value)
    assert document["why"] == entry.why


def test_without_a_code_all_are_listed():
    done = qdq("explain")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line for code in CODES if not any(line.startswith(f"  {code} ") for line in lines) for line in [code]] == []
    assert len(json.loads(qdq("explain", "--json").out)["explanations"]) == len(CODES)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["A9-A11"], ["A9", "A10", "A11"]),
        (["a13,", "a16"], ["A13", "A16"]),
        (["A12, 1.9"], ["A12", "1.9"]),
        (["section", "9,", "item", "2"], ["9, item 2"]),
        (["4.4"], ["4.4"]),
        (["5"], ["5", "exit 5"]),
        (["130"], ["exit 130"]),
        (["(4.4, case 4)"], ["4.4, case 4"]),
        (["(A31; 4.4, case 5)"], ["A31", "4.4, case 5"]),
        (["rules", "P8,", "section 9, item 2;", "exit", "5"], ["P8", "9, item 2", "exit 5"]),
        (["w_conv1d", "W_CONV1D"], ["W_CONV1D"]),
    ],
)
def test_what_a_finding_names_is_found_as_it_stands(words: list[str], found: list[str]):
    done = qdq("explain", "--json", *words)
    assert [entry["code"] for entry in json.loads(done.out)["explanations"]] == found


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["E_ZP_MISING"], "E_ZP_MISSING"),
        (["FEW_CHANNEL"], "FEW_CHANNELS"),
        (["A127"], "A27"),
        (["A1-A99999999"], "lists all of them"),
        (["conv1"], "W_CONV1D"),
        ([""], "lists all of them"),
    ],
)
def test_an_unknown_code_is_a_usage_error_with_near_ones(words: list[str], near: str):
    done = qdq("explain", *words)
    assert (done.code, done.out) == (2, "")
    assert near in done.err


def test_the_pages_are_those_of_the_records(request: pytest.FixtureRequest):
    for name, text in (("rules.md", rules_page()), ("findings.md", findings_page())):
        path = REPOSITORY / "docs" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, f"{path} differs; `make golden` rewrites it, review the diff"


def test_the_table_of_reasons_on_the_page_of_inspect_says_the_same():
    page = (REPOSITORY / "docs" / "inspect.md").read_text(encoding="utf-8")
    for entry in STANDALONE:
        assert f"| `{entry.code}` | {entry.says} |" in page


def test_every_rule_has_a_use():
    """A rule that neither code nor tests name would be there for nothing."""
    places = [path for name in ("qdq_cli", "calibrators", "tests") for path in (REPOSITORY / name).rglob("*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in places if not is_about_rules(path))
    ranges = re.findall(r"\b([A-Z])(\d+)-[A-Z](\d+)\b", source)
    used = {f"{letter}{number}" for letter, first, last in ranges for number in range(int(first), int(last) + 1)}
    rules = [entry.code for entry in CHAPTERS if not entry.code[0].isdigit()]
    assert [code for code in rules if code not in used and not re.search(rf"\b{code}\b", source)] == []


def is_about_rules(path: Path) -> bool:
    return path.parent.name == "explaining" or path.name in ("test_explain.py", "test_citations.py")


def test_nothing_heavy_is_loaded(python: Callable[[str], str]):
    heavy = ("numpy", "onnx", "onnx_ir", "onnxruntime", "highspy", "PIL", "numba")
    code = (
        "import sys, io, contextlib\nfrom qdq_cli.main import run\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    codes = [int(run(words)) for words in (['explain'], ['explain', 'A27'])]\n"
        f"print(codes, sorted(set({heavy!r}) & set(sys.modules)))"
    )
    assert python(code).strip() == "[0, 0] []"


@pytest.fixture
def python() -> Callable[[str], str]:
    from tests.test_promises import python as run_python

    return run_python


def test_kinds_are_all_in_use():
    assert {entry.kind for entry in CODES.values()} == set(Kind)
