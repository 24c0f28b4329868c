"""The page about a calibration cache says what `cache show` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.screen.sample import Reader
from tests.workspace import Workspace, make_workspace, qdq


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = make_workspace(tmp_path_factory.mktemp("cache"))
    assert qdq("calibrate", made.model, "--calib", made.images, "-o", made.folder / "model.qcal").code == 0
    return made


def test_every_tensor_has_its_ranges_and_values(space: Workspace, tmp_path: Path):
    cache, page = space.folder / "model.qcal", tmp_path / "page.html"
    done = qdq("cache", "show", cache, "--report", page)
    assert done.code == 0, done.err
    assert done.out == qdq("cache", "show", cache).out
    reader = Reader(page.read_text(encoding="utf-8"))
    document = json.loads(qdq("cache", "show", cache, "--json").out)
    for tensor in document["tensors"]:
        assert reader.texts.count(tensor["name"]) == 2, "in the table, and at its histogram"
    assert {"good", "mse", "entropy", "minmax"} <= set(reader.texts)
    assert f"{len(document['tensors'])} tensors of 10 samples" in reader.text


@pytest.mark.parametrize("name", ["model.qcal", "page.txt"])
def test_a_page_that_is_none_is_refused(space: Workspace, name: str):
    done = qdq("cache", "show", space.folder / "model.qcal", "--report", space.folder / name)
    assert done.code == 2
    assert "--report" in done.err
