"""Rows and names on the screen: labels keep their column, names what tells them apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdq_cli.screen.lines import elided, labelled, quoted, row, shortened, wrapped

NAME = "/backbone/stage1/block0/conv1/Conv"


def test_what_follows_the_first_line_stands_below_it():
    lines = row("model", "word " * 30)
    assert lines[0].startswith("model         word")
    assert len(lines) > 1 and all(line.startswith(" " * 14 + "word") for line in lines[1:])
    assert max(map(len, lines)) <= 80


def test_a_label_keeps_a_space_behind_it():
    assert labelled("only in second", ["conv1"]) == ["only in second conv1"]
    assert labelled("model", ["one", "two"]) == ["model         one", "              two"]
    assert labelled("next", []) == []
    assert row("note", "") == ["note          "]


def test_long_names_stay_whole():
    assert wrapped("x" * 100) == ["  " + "x" * 100]


@pytest.mark.parametrize("cut", [elided, shortened])
def test_names_are_cut_to_the_width(cut):
    assert cut(NAME, len(NAME)) == NAME
    assert len(cut(NAME, 20)) == 20 and "..." in cut(NAME, 20)
    assert cut(NAME, 20).endswith("Conv")


def test_paths_are_written_as_a_shell_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert quoted(str(tmp_path / "model.onnx")) == "model.onnx"
    assert quoted("my model.onnx") == "'my model.onnx'"
