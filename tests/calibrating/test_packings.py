"""However the same samples are packed, the calibration cache is the same, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.packing import pack
from tests.workspace import Workspace, make_workspace, qdq


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("packings"))


def cache(space: Workspace, *calib: object) -> bytes:
    done = qdq("calibrate", space.model, "--calib", *calib, "--preprocess", "unit", "-q", "-o", space.folder / "a.qcal")
    assert done.code == 0, done.err
    return (space.folder / "a.qcal").read_bytes()


def test_packings(space: Workspace):
    expected = cache(space, space.images)
    files = sorted(space.images.iterdir())
    (space.folder / "list.txt").write_text("".join(f"images/{path.name}\n" for path in files))
    (space.folder / "list.csv").write_text("path,label\n" + "".join(f"images/{path.name},1\n" for path in files))
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        assert cache(space, pack(space.images, space.folder / name)) == expected, name
    for calib in ((space.folder / "list.txt",), (space.folder / "list.csv",), (space.images / "*.png",), files):
        assert cache(space, *calib) == expected, calib


def test_the_same_samples_are_chosen(space: Workspace):
    archive = pack(space.images, Path(space.folder / "b.tar.gz"))
    assert cache(space, archive, "--samples", "4") == cache(space, space.images, "--samples", "4")
    assert cache(space, archive, "--samples", "4", "--seed", "3") == cache(
        space, space.images, "--samples", "4", "--seed", "3"
    )


def test_quantizing_from_an_archive(space: Workspace):
    outputs = []
    for calib in (space.images, pack(space.images, space.folder / "c.tgz")):
        assert qdq("quantize", space.model, "--calib", calib, "-q").code == 0
        outputs.append(space.output.read_bytes())
    assert outputs[0] == outputs[1]
