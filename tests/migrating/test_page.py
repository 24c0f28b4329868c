"""docs/migrate.md is true: what it shows is printed, and its table of options is the one of the releases."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from qdq_cli.main import run
from qdq_cli.targets.tensorrt.trtexec import _SPANS, MINORS, NEWEST, takes
from tests.test_docs import _matches, sessions
from tests.workspace import REPOSITORY, SAMPLES, qdq

PAGE = (REPOSITORY / "docs" / "migrate.md").read_text(encoding="utf-8")


def make_table(model: Path, table: Path) -> None:
    """A table as TensorRT wrote it: every tensor of the network, and two of layers that the importer made."""
    cache = table.with_suffix(".qcal")
    images = SAMPLES / "images" / "digits"
    assert qdq("calibrate", model, "--calib", images, "--all-tensors", "-o", cache, "-q").code == 0
    assert qdq("cache", "export", cache, "--format", "tensorrt", "-o", table, "-q").code == 0
    made = "(Unnamed Layer* 64) [Shuffle]_output: 3b810204\n(Unnamed Layer* 3) [Constant]_output: 3b810204\n"
    table.write_text(table.read_text(encoding="utf-8") + made, encoding="utf-8")


def test_the_session_prints_what_is_shown(tmp_path: Path, monkeypatch, capsys):
    shutil.copy(SAMPLES / "digits_vit.onnx", tmp_path)
    make_table(tmp_path / "digits_vit.onnx", tmp_path / "calibration.cache")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    ((command, expected, code),) = sessions(PAGE)
    assert run(shlex.split(command)[1:]) == code
    out, _ = capsys.readouterr()
    assert _matches(expected, out), out


def rows() -> list[tuple[list[str], str, list[str]]]:
    """The table of options: those that are gone, the release that had them last, those that serve instead."""
    _, _, rest = PAGE.partition("| gone | last seen | instead |\n| --- | --- | --- |\n")
    lines = [line.strip("| ").split(" | ") for line in rest.partition("\n\n")[0].splitlines()]
    return [(re.findall(r"`--(\w+)", gone), last, re.findall(r"`--(\w+)", instead)) for gone, last, instead in lines]


def test_every_option_that_is_gone_is_in_the_table_with_the_release_that_had_it_last():
    last_seen: dict[str, tuple[int, int]] = {}
    for _, until, names in _SPANS:
        last_seen |= {name: max(until, last_seen.get(name, until)) for name in names.split()}
    gone = {name: until for name, until in last_seen.items() if until < MINORS["11"][0]}
    assert {name: MINORS[last][1] for names, last, _ in rows() for name in names} == gone


def test_what_serves_instead_is_taken_by_11():
    instead = [name for _, _, names in rows() for name in names]
    assert len(instead) > 8
    assert [name for name in instead if not takes(name, MINORS["11"][0], NEWEST)] == ["exclude"]  # one of qdq
