"""docs/compare.md is true: its commands print what it shows, its code runs, its table is the program's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.comparing.record import Kind
from qdq_cli.main import run
from tests.foreign import make_ort_models
from tests.test_docs import DOCS, sessions, table

PAGE = (DOCS / "compare.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    onnx.save(make_ort_models.float_model(), tmp_path / "float.onnx")
    shutil.copy(Path(make_ort_models.__file__).parent / "ort_defaults.onnx", tmp_path / "ort.onnx")
    pictures = np.random.default_rng(0).standard_normal((16, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", image=pictures)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_last_digits(text: str) -> str:
    """Figures keep all but their last digit, which may depend on the processor."""
    return re.sub(r"\d\b", "#", text)


def test_commands_print_what_the_page_shows(folder, capsys):
    shown = sessions(PAGE)
    assert len(shown) == 3
    for command, expected, code in shown:
        assert run(shlex.split(command)[1:]) == code, command
        out, err = capsys.readouterr()
        assert without_last_digits(out + err) == without_last_digits(expected), command


def test_its_code_runs(folder, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code, "compare.md", "exec"), {})
    assert "conv3" in capsys.readouterr().out


def test_the_table_of_causes_names_each():
    assert [row[0].strip("`") for row in table(PAGE, "Causes")] == [kind.value for kind in Kind]
