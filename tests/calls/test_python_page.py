"""docs/python.md is true: every example on it runs as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.building.fake import use_fake_compiler
from tests.calls.tensors import SAMPLES, Loader
from tests.foreign import make_ort_models
from tests.workspace import REPOSITORY, Workspace, make_workspace, qdq

PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_there_are_nine_and_two():
    assert len(EXAMPLES) == 11
    assert len(re.findall(r"^### ", PAGE, flags=re.MULTILINE)) == 9


def write_tensorrt_cache(space: Workspace) -> None:
    """Make the calibration.cache that the example about migration reads."""
    table, cache = space.folder / "table.qcal", space.folder / "calibration.cache"
    assert qdq("calibrate", space.model, "--calib", space.images, "-o", table).code == 0
    assert qdq("cache", "export", table, "--format", "tensorrt", "-o", cache).code == 0
    table.unlink()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    write_tensorrt_cache(make_workspace(tmp_path))
    use_fake_compiler(monkeypatch)
    shutil.copy(Path(make_ort_models.__file__).parent / "ort_tensorrt.onnx", tmp_path / "foreign.onnx")
    monkeypatch.chdir(tmp_path)
    exec(EXAMPLES[number], {"loader": Loader(SAMPLES, 5), "samples": SAMPLES})
    assert capsys.readouterr().out or number in (2, 4)  # the two that print nothing
