"""Functions on the command line that give samples."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.workspace import Workspace, make_workspace, qdq

FEEDS = """
import numpy as np

VALUES = np.load("values.npy")
NUMBER = 3

def feeds():
    for values in VALUES:
        yield {"images": values[None]}

def whole():
    return VALUES

def broken():
    yield {"images": VALUES[:1]}
    raise KeyError("my own")
"""


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    space = make_workspace(tmp_path)
    np.save(tmp_path / "values.npy", np.load(space.arrays)["images"])
    (tmp_path / "my_feeds.py").write_text(FEEDS)
    (tmp_path / "other.py").write_text("import nothing_of_the_kind\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_feeds", raising=False)
    return space


def test_functions_give_the_samples_of_the_array(space: Workspace):
    results = []
    for calib in ("values.npy", "my_feeds:feeds", "my_feeds.py:whole", "./my_feeds.py:feeds"):
        assert qdq("quantize", "model.onnx", "--calib", calib, "-q").code == 0
        results.append(onnx.load(space.output))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_feeds:nothing", "The module of 'my_feeds:nothing' has no function nothing"),
        ("my_feeds:NUMBER", "has something else than a function called NUMBER"),
        ("no_module:feeds", "The module of 'no_module:feeds' cannot be imported: ModuleNotFoundError"),
        ("other.py:feeds", r"cannot be imported: ModuleNotFoundError: No module named 'nothing_of_the_kind' (other.py"),
        ("gone.py:feeds", "cannot be imported: FileNotFoundError"),
        ("my_feeds:broken", "my_feeds:broken failed: KeyError: 'my own' (my_feeds.py, line 16)"),
    ],
)
def test_what_is_wrong_is_a_sentence(space: Workspace, name: str, said: str):
    done = qdq("quantize", "model.onnx", "--calib", name)
    assert done.code == 4
    assert said in " ".join(done.err.split())
