"""Shards of WebDataset for models of several inputs: members that belong together by their names."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from qdq_cli.config.preprocess import UNIT
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.process.errors import DataError
from tests.workspace import write_images

SPECS = (
    InputSpec("images", np.dtype(np.float32), ("N", 3, 16, 16)),
    InputSpec("mask", np.dtype(np.float32), ("N", 4)),
    InputSpec("rate", np.dtype(np.float32), ("N", 1)),
    InputSpec("cls", np.dtype(np.int64), ("N", 1)),
)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", 12)
    return tmp_path


def sample(folder: Path, k: int) -> dict[str, bytes]:
    return {
        "png": (folder / "images" / f"{k}.png").read_bytes(),
        "mask.npy": npy(np.full(4, k, np.float32)),
        "json": json.dumps({"rate": k / 2, "text": "a caption"}).encode(),
        "cls": str(k).encode(),
        "txt": b"a caption",
    }


def pack(path: Path, samples: Mapping[str, Mapping[str, bytes]]) -> Path:
    members = {f"{key}.{field}": content for key, fields in samples.items() for field, content in fields.items()}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    return path


def opened(*paths: Path, specs: tuple[InputSpec, ...] = SPECS) -> SampleSet:
    return open_samples(paths, specs, UNIT)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_members_of_one_name_are_a_sample(folder: Path, name: str):
    samples = opened(pack(folder / name, {f"d/{k:04}": sample(folder, k) for k in range(12)}))
    assert len(samples) == 12
    samples.expect([0, 7])
    fed = samples.load(7).arrays
    assert list(fed) == ["images", "mask", "rate", "cls"]
    assert np.array_equal(fed["images"], opened(folder / "images", specs=SPECS[:1]).load(7).arrays["images"])
    assert (fed["mask"].tolist(), fed["rate"].tolist(), fed["cls"].tolist()) == ([[7] * 4], [[3.5]], [[7]])
    assert samples.shapes(7) == tuple(array.shape for array in fed.values())
    assert len({samples.identity(k) for k in range(12)}) == 12


def test_several_shards(folder: Path):
    for number in range(3):
        pack(
            folder / f"shard-{number:03}.tar", {f"{k:04}": sample(folder, k) for k in range(4 * number, 4 * number + 4)}
        )
    samples = opened(folder / "shard-{000..002}.tar")
    assert [samples.load(k).arrays["cls"].item() for k in range(12)] == list(range(12))


def test_fields_by_name_and_those_that_are_left(folder: Path):
    fields = {k: {"images.png": sample(folder, k)["png"], "npy": npy(np.ones(4, np.float32))} for k in range(3)}
    samples = opened(pack(folder / "a.tar", {str(k): v for k, v in fields.items()}), specs=SPECS[:2])
    assert samples.load(1).arrays["mask"].tolist() == [[1] * 4]
    assert not samples.notes
    extra = {str(k): {**v, "depth.npy": npy(np.ones(3))} for k, v in fields.items()}
    named = {k: {("mask.npy" if f == "npy" else f): c for f, c in v.items()} for k, v in extra.items()}
    assert opened(pack(folder / "b.tar", named), specs=SPECS[:2]).notes == (
        f"{folder / 'b.tar'}: depth.npy of each sample is for no input and is not used.",
    )


def test_archives_of_npz_are_as_before(folder: Path):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for k in range(3):
            file = io.BytesIO()
            np.savez(file, images=np.ones((1, 3, 16, 16), np.float32) * k, mask=np.ones((1, 4), np.float32))
            archive.writestr(f"{k}.npz", file.getvalue())
    assert len(opened(folder / "a.zip", specs=SPECS[:2])) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask.npy": None}, "first sample has nothing for input 'mask'"),
        ({"json": b"{"}, r"0000.json holds no number and no JSON"),
        ({"json": b'{"rate": "fast"}'}, "'rate' of the sample '0000' is no value of input 'rate'"),
        ({"json": b"{}"}, "nothing for input 'rate'"),
        ({"cls": b"1.5"}, "0000.cls is no value of input 'cls'"),
        ({"mask.npy": npy(np.ones(5, np.float32))}, "has the shape"),
        ({"mask.npy": b"none"}, "0000.mask.npy"),
    ],
)
def test_what_does_not_fit_is_a_sentence(folder: Path, change: dict[str, bytes | None], message: str):
    fields = {k: v for k, v in {**sample(folder, 0), **change}.items() if v is not None}
    with pytest.raises(DataError, match=message):
        opened(pack(folder / "a.tar", {"0000": fields}))


def test_a_later_sample_that_lacks_a_member(folder: Path):
    short = {field: content for field, content in sample(folder, 1).items() if field != "mask.npy"}
    with pytest.raises(DataError, match=r"the sample '1' has no member '\.mask\.npy', unlike the first one"):
        opened(pack(folder / "a.tar", {"0": sample(folder, 0), "1": short}))


def test_a_damaged_archive(folder: Path):
    path = pack(folder / "a.tar.gz", {f"{k}": sample(folder, k) for k in range(12)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="cannot be read"):
        opened(path)
