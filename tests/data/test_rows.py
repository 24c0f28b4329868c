"""Tables of samples: Parquet files, and the folders that Hugging Face `datasets` writes."""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from qdq_cli.config.preprocess import UNIT
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import DataError
from tests.workspace import Workspace, qdq, small_convnet, write_images

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PICTURE = (InputSpec("images", np.dtype(np.float32), ("N", 3, 16, 16)),)
MIXED = (
    *PICTURE,
    InputSpec("boxes", np.dtype(np.float32), ("N", 2, 4)),
    InputSpec("rate", np.dtype(np.float32), ()),
)
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", 40)
    return tmp_path


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / "images").iterdir(), key=lambda path: int(path.stem))


def table_of(folder: Path, column: str = "image", *, declared: bool = True, **others: object) -> pa.Table:
    cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files_of(folder)]
    columns = {column: pa.array(cells, IMAGE), "label": pa.array(range(len(cells))), **others}
    table = pa.table(columns)
    features = {"info": {"features": {column: {"_type": "Image"}}}}
    return table.replace_schema_metadata({"huggingface": json.dumps(features)}) if declared else table


def save_to_disk(table: pa.Table, folder: Path, name: str = "data-00000-of-00001.arrow", rows: int = 7) -> None:
    """As `Dataset.save_to_disk` does it: a stream, and files that are no samples beside it."""
    folder.mkdir(parents=True)
    with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text("{}")


def opened(*paths: Path, specs: Sequence[InputSpec] = PICTURE) -> SampleSet:
    return open_samples(paths, specs, UNIT)


def require_equal(samples: SampleSet, folder: Path) -> None:
    plain = opened(folder / "images")
    assert len(samples) == len(plain) == 40
    for k in (0, 17, 39):
        assert np.array_equal(samples.load(k).arrays["images"], plain.load(k).arrays["images"])
        assert samples.identity(k) == plain.identity(k)


@pytest.mark.parametrize("rows", [3, 1000])
def test_parquet(folder: Path, rows: int):
    pq.write_table(table_of(folder), folder / "a.parquet", row_group_size=rows)
    samples = opened(folder / "a.parquet")
    samples.expect([0, 39])
    require_equal(samples, folder)
    assert samples.name(39) == f"{folder / 'a.parquet'}[39]"
    assert samples.notes == (f"{folder / 'a.parquet'}: column label is for no input and is not used.",)


def test_a_folder_of_a_repository(folder: Path):
    table = table_of(folder)
    (folder / "repo" / "data").mkdir(parents=True)
    (folder / "repo" / "README.md").write_text("# a card")
    for number, start in enumerate(range(0, 40, 10)):
        pq.write_table(table.slice(start, 10), folder / "repo" / "data" / f"train-{number:05}-of-00004.parquet")
    require_equal(opened(folder / "repo"), folder)
    require_equal(opened(folder / "repo" / "data" / "train-*.parquet"), folder)


@pytest.mark.parametrize("as_file", [False, True])
def test_saved_to_disk(folder: Path, as_file: bool):
    save_to_disk(table_of(folder), folder / "saved")
    (folder / "saved" / "cache-0123.arrow").write_bytes(b"what map() left")
    if as_file:
        path, table = folder / "saved" / "data-00000-of-00001.arrow", table_of(folder)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=9)
    require_equal(opened(folder / "saved"), folder)


@pytest.mark.parametrize("kind", ["named", "one of two declared", "binary", "alone"])
def test_which_column_holds_the_pictures(folder: Path, kind: str):
    content = [file.read_bytes() for file in files_of(folder)]
    table = {
        "named": lambda: table_of(folder, "images", declared=False, image=pa.array([b"x"] * 40)),
        "one of two declared": lambda: table_of(folder, "photo", thumbnail=pa.array([b"x"] * 40)),
        "binary": lambda: pa.table({"jpg": pa.array(content), "label": pa.array(range(40))}),
        "alone": lambda: pa.table({"jpg": pa.array(content, pa.large_binary())}),
    }[kind]()
    pq.write_table(table, folder / "a.parquet")
    require_equal(opened(folder / "a.parquet"), folder)


def test_columns_for_several_inputs(folder: Path):
    boxes = np.arange(320, dtype=np.float32).reshape(40, 2, 4)
    table = table_of(folder, boxes=pa.array(boxes.tolist()), rate=pa.array(np.arange(40) / 2))
    pq.write_table(table, folder / "a.parquet")
    samples = opened(folder / "a.parquet", specs=MIXED)
    samples.expect([3, 30])
    fed = samples.load(30).arrays
    assert list(fed) == ["images", "boxes", "rate"]
    assert np.array_equal(fed["boxes"], boxes[30:31])
    assert fed["rate"] == 15
    require = opened(folder / "images").load(30).arrays["images"]
    assert np.array_equal(fed["images"], require)
    assert samples.shapes(30) == tuple(array.shape for array in fed.values())
    assert len(opened(folder / "a.parquet", specs=MIXED[1:])) == 40


def test_the_cache_is_that_of_the_files(folder: Path):
    space = Workspace(folder)
    onnx.save(small_convnet().proto("scores"), space.model)
    pq.write_table(table_of(folder), folder / "a.parquet")
    save_to_disk(table_of(folder), folder / "saved")
    caches = []
    for path in (folder / "images", folder / "a.parquet", folder / "saved"):
        cache = folder / f"{path.name}.qcal"
        done = qdq("calibrate", space.model, "--calib", path, "--preprocess", "unit", "-o", cache)
        assert done.code == 0, done.err
        caches.append(cache.read_bytes())
    assert caches[0] == caches[1] == caches[2]


def png(color: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (color, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ({"bytes": None, "path": "/etc/hostname"}, "it names a file instead of holding it"),
        ({"bytes": None, "path": None}, "it is empty"),
        (None, "it is empty"),
        ({"bytes": b"no picture", "path": "a.png"}, "no known picture format"),
    ],
)
def test_a_row_without_a_picture_is_one_unreadable_sample(folder: Path, cell: object, reason: str):
    pq.write_table(pa.table({"image": pa.array([{"bytes": png(9), "path": ""}, cell], IMAGE)}), folder / "a.parquet")
    samples = opened(folder / "a.parquet")
    assert samples.load(0).arrays["images"].max() == pytest.approx(9 / 255)
    with pytest.raises(UnreadableSampleError, match=reason):
        samples.load(1)


NUMBERS = pa.array(list(range(4)))
WRONG = {
    "no pictures": (
        pa.table({"label": NUMBERS, "caption": pa.array(["a"] * 4)}),
        "has no column of pictures",
        "Rename",
    ),
    "two": (pa.table({"a": pa.array([b"x"] * 4), "b": pa.array([b"x"] * 4)}), "several columns of pictures", "Rename"),
    "no rows": (pa.table({"image": pa.array([], IMAGE)}), "holds no row", ""),
    "text": (pa.table({"images": pa.array(["a"] * 4)}), "holds no array of float32 for input 'images'", "a number"),
    "lengths": (pa.table({"images": pa.array([[1.0], [1.0, 2.0]])}), "has the shape", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_a_sentence(folder: Path, case: str):
    table, message, hint = WRONG[case]
    pq.write_table(table, folder / "a.parquet")
    with pytest.raises(DataError, match=message) as caught:
        opened(folder / "a.parquet")
    assert hint in caught.value.hint


def test_files_of_different_tables(folder: Path):
    pq.write_table(table_of(folder), folder / "a.parquet")
    pq.write_table(pa.table({"photo": NUMBERS}), folder / "b.parquet")
    (folder / "all").mkdir()
    for name in "ab":
        (folder / f"{name}.parquet").rename(folder / "all" / f"{name}.parquet")
    with pytest.raises(DataError, match=r"b.parquet has another column 'image' than .*a.parquet, or none"):
        opened(folder / "all")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 100, b"PAR1nonsensePAR1", b"ARROW1\0\0" * 9])
def test_damaged_files(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        opened(folder / name)


def test_a_file_that_ends_too_early(folder: Path):
    save_to_disk(table_of(folder), folder / "saved")
    file = folder / "saved" / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(DataError, match="cannot be read"):
        opened(folder / "saved").load(39)


def test_without_pyarrow(folder: Path, monkeypatch: pytest.MonkeyPatch):
    pq.write_table(table_of(folder), folder / "a.parquet")
    load = builtins.__import__

    def refuse(name: str, *arguments: object, **named: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return load(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match="need pyarrow") as caught:
        opened(folder / "a.parquet")
    assert "pip install 'pyarrow>" in caught.value.hint
