"""docs/python.md is true: every example on it runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.calls.tensors import SAMPLES, Loader
from tests.foreign import make_ort_models
from tests.workspace import REPOSITORY, make_workspace

PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_there_are_five_and_two():
    assert len(EXAMPLES) == 7
    assert len(re.findall(r"^### ", PAGE, flags=re.MULTILINE)) == 5


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    make_workspace(tmp_path)
    shutil.copy(Path(make_ort_models.__file__).parent / "ort_tensorrt.onnx", tmp_path / "foreign.onnx")
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[number], {"loader": Loader(SAMPLES, 5), "samples": SAMPLES})
    assert capsys.readouterr().out or number in (2, 4)  # the two that print nothing
