"""The options of trtexec by release: the table is well formed, and every command that is printed holds against it.

A command speaks of the releases named in the words before it on its line: `TensorRT 8.4 to 10: trtexec ...`, `up to 9`,
`| 10 and 11 |`, `from TensorRT 10 on`; where none is named there, it speaks of all.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdq_cli.config.forms import TensorRT
from qdq_cli.targets.tensorrt.trtexec import _SPANS, MINORS, NEWEST, OLDEST, Version, builds, takes
from tests.test_promises import FILES
from tests.workspace import REPOSITORY

COMMAND = re.compile(r"trtexec((?: +--\w+(?:=(?:\{[^}]*\}|[^\s`,;)\]\"'|])+)?)+)")
ONE = r"(8\.4|8\.6|9|10|11)(?:\.x)?(?![\d.%])"
SPAN = re.compile(rf"(?:TensorRT |\| ){ONE}(?: to | and ){ONE}")
BOUND = re.compile(rf"[Uu]p to (?:TensorRT )?{ONE}")
SINGLE = re.compile(rf"(?:TensorRT |\| ){ONE}( on\b)?")


def spoken_of(before: str) -> tuple[Version, Version]:
    """The releases that the words before a command name last; all where they name none."""
    found = [(match.end(), (MINORS[match[1]][0], MINORS[match[2]][1])) for match in SPAN.finditer(before)]
    found += [(match.end(), (OLDEST, MINORS[match[1]][1])) for match in BOUND.finditer(before)]
    for match in SINGLE.finditer(before):
        first, last = MINORS[match[1]]
        found.append((match.start(), (first, NEWEST if match[2] else last)))  # a span that begins here goes on further
    return max(found, default=(0, (OLDEST, NEWEST)))[1]


def pages() -> list[Path]:
    roots = (REPOSITORY, REPOSITORY / "docs", REPOSITORY / "docs" / "decisions", REPOSITORY / "docs" / "api")
    return [page for root in roots for page in root.glob("*.md")]


def texts() -> Iterator[tuple[str, str]]:
    """Where a text stands, and the text: pages by lines, strings of the program (help too) whole."""
    for page in pages():
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{page.name}:{number}", line
    for path in FILES:
        if path.stem == "trtexec":  # its commands are tested with the releases they are advised for
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{value}" for part in node.values)
                yield f"{path.name}:{node.lineno}", "".join(map(str, parts))


def printed() -> list[tuple[str, str, tuple[Version, Version]]]:
    """(place, command, releases it speaks of)."""
    found = []
    for place, text in texts():
        for match in COMMAND.finditer(text):
            sentence = text[: match.start()].rpartition("\n")[2]
            found.append((place, match[0], spoken_of(sentence)))
    return found


def unknown_options(command: str, first: Version, last: Version) -> tuple[str, ...]:
    """The options of a command that some release between two does not take."""
    words = (word.partition("=")[0] for word in command.split() if word.startswith("--"))
    return tuple(word for word in words if not takes(word.removeprefix("--"), first, last))


def test_every_command_that_is_printed_holds_for_the_releases_it_speaks_of():
    found = printed()
    assert len(found) > 5
    wrong = [
        f"{place}: {command}: {unknown}"
        for place, command, span in found
        if (unknown := unknown_options(command, *span))
    ]
    assert wrong == []


@pytest.mark.parametrize("oldest", TensorRT)
@pytest.mark.parametrize("asked", [None, *TensorRT])
@pytest.mark.parametrize("half", [False, True])
def test_the_commands_that_are_advised_hold_and_cover_every_release_that_reads_the_result(oldest, asked, half):
    if (half and oldest not in (TensorRT.V10, TensorRT.V11)) or (asked and asked is not oldest):
        return
    advised = builds(oldest, half=half, asked=asked)
    spans = [spoken_of(build.releases) for build in advised]
    for build, span in zip(advised, spans, strict=True):
        assert unknown_options(build.command, *span) == ()
    assert spans[0][0] == MINORS[oldest.value][0]
    if asked is None:
        assert spans[-1][1] == NEWEST


def test_what_each_release_is_told():
    told = {build.releases: build for build in builds(TensorRT.V8_4, half=False)}
    assert told["TensorRT 8.4 to 10"].command == "trtexec --onnx={model} --int8 --fp16"
    assert told["TensorRT 11"].command == "trtexec --onnx={model}"
    assert "--float-type fp16" in told["TensorRT 11"].note
    half = [(build.releases, build.command, build.note) for build in builds(TensorRT.V10, half=True)]
    assert half == [
        ("TensorRT 10", "trtexec --onnx={model} --stronglyTyped", ""),
        ("TensorRT 11", "trtexec --onnx={model}", ""),
    ]
    (only,) = builds(TensorRT.V8_6, half=False, asked=TensorRT.V8_6)
    assert only.releases == "TensorRT 8.6"


def test_options_of_one_release_are_not_taken_for_those_of_another():
    old = "trtexec --onnx=m.onnx --int8 --fp16 --calib=c.cache"
    assert unknown_options(old, *MINORS["10"]) == ()
    assert unknown_options(old, *MINORS["11"]) == ("--int8", "--fp16", "--calib")
    assert unknown_options("trtexec --stronglyTyped --int8", *MINORS["8.6"]) == ("--stronglyTyped",)
    assert unknown_options("trtexec --int4", *MINORS["10"]) == ("--int4",)  # 10.0 did not have it yet


def test_the_table_is_in_order_and_names_an_option_once_a_time():
    spans = [(since, until) for since, until, _ in _SPANS]
    assert all(OLDEST <= since <= until <= NEWEST for since, until in spans)
    assert len(spans) == len(set(spans))
    names = Counter(name for _, _, options in _SPANS for name in options.split())
    assert {name for name, number in names.items() if number > 1} == {"consistency"}  # gone for a while


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("next          TensorRT 8.4 to 10: ", ((8, 4), (10, 16))),
        ("up to 9 `", ((8, 4), (9, 3))),
        ("on TensorRT 11: `", ((11, 0), (11, 1))),
        ("from TensorRT 10 on, ", ((10, 0), (11, 1))),
        ("| TensorRT 10 and 11 | `", ((10, 0), (11, 1))),
        ("layers of the engine (`", (OLDEST, NEWEST)),
    ],
)
def test_the_releases_a_sentence_speaks_of(before, expected):
    assert spoken_of(before) == expected
