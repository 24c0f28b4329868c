"""Lists, tables and patterns of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdq_cli.commands.options import with_each_sample
from qdq_cli.config.preprocess import UNIT
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import DataError
from tests.data.packing import pack
from tests.workspace import write_images

PICTURE = (InputSpec("images", np.dtype(np.float32), ("N", 3, 16, 16)),)
MIXED = (
    *PICTURE,
    InputSpec("boxes", np.dtype(np.float32), ("N", 4)),
    InputSpec("size", np.dtype(np.int64), (1, 2)),
    InputSpec("rate", np.dtype(np.float32), ()),
)


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "data" / "my images", 12)
    for k in range(12):
        np.save(tmp_path / "data" / f"boxes{k}.npy", np.arange(4, dtype=np.float32) + k)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(space: Path, text: str, name: str = "list.txt", encoding: str = "utf-8") -> Path:
    path = space / "data" / name
    path.write_text(text, encoding=encoding)
    return path


def opened(*paths: Path, specs=PICTURE) -> SampleSet:
    return open_samples(paths, specs, UNIT)


def names(samples: SampleSet) -> list[str]:
    return [Path(samples.name(k)).name for k in range(len(samples))]


@pytest.mark.parametrize(
    "text",
    [
        "my images/3.png\nmy images/1.png\n",
        "# a comment\n\n  my images/3.png  \r\nmy images/1.png",
        "my images\\3.png\nmy images\\1.png",
        "data/my images/3.png\ndata/my images/1.png",
        "'my images/3.png'\n\"my images/1.png\"",
        "my images/3.png\t7\nmy images/1.png\t9",
        "my images/3.png 7\nmy images/1.png 9",
    ],
    ids=["plain", "comments", "windows", "from here", "quoted", "label", "label behind a space"],
)
def test_lists(space: Path, text: str):
    samples = opened(listed(space, text))
    assert names(samples) == ["3.png", "1.png"]
    assert samples.load(1).arrays["images"].shape == (1, 3, 16, 16)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_other_editors(space: Path, encoding: str):
    assert names(opened(listed(space, "my images/3.png\n", encoding=encoding))) == ["3.png"]


@pytest.mark.parametrize(
    "text",
    [
        "label,path\n5,my images/3.png\n6,my images/1.png\n",
        "images;other\nmy images/3.png;1\nmy images/1.png;2\n",
        '"my images/3.png",5\n"my images/1.png",6\n',
        "number,whatever\n5,my images/3.png\n6,my images/1.png\n",
    ],
    ids=["named path", "named like the input", "no names", "found by its files"],
)
def test_tables(space: Path, text: str):
    samples = opened(listed(space, text, "list.csv"))
    assert names(samples) == ["3.png", "1.png"]
    assert "is for no input and is not used" in samples.notes[0]


def test_bytes_that_are_no_unicode(space: Path):
    odd = b"data/my images/\xff\xe4.png"
    Path(__import__("os").fsdecode(odd)).write_bytes((space / "data/my images/1.png").read_bytes())
    (space / "data" / "list.txt").write_bytes(odd.removeprefix(b"data/"))
    assert opened(space / "data" / "list.txt").load(0).arrays


def test_absolute_paths_and_arrays(space: Path):
    text = "\n".join(str(space / "data" / f"boxes{k}.npy") for k in (5, 2))
    samples = open_samples([listed(space, text)], MIXED[1:2])
    assert [samples.load(k).arrays["boxes"][0, 0] for k in range(2)] == [5, 2]


def test_an_archive_with_arrays_of_each_input(space: Path):
    """One .npz a line holds all inputs."""
    np.savez(space / "data" / "a.npz", boxes=np.ones((3, 4), np.float32), size=np.ones((3, 2), np.int64))
    samples = open_samples([listed(space, "a.npz\n")], MIXED[1:3])
    assert len(samples) == 3


MIXED_ROWS = [f"my images/{k}.png\tboxes{k}.npy\t[640, {k}]\t0.5" for k in range(12)]


def test_pictures_arrays_and_numbers(space: Path):
    samples = opened(listed(space, "\n".join(MIXED_ROWS)), specs=MIXED)
    assert len(samples) == 12
    assert samples.shapes(4) == ((1, 3, 16, 16), (1, 4), (1, 2), ())
    sample = samples.load(4)
    plain = opened(space / "data" / "my images").load(4)
    assert np.array_equal(sample.arrays["images"], plain.arrays["images"])
    assert sample.arrays["boxes"].tolist() == [[4, 5, 6, 7]]
    assert sample.arrays["size"].tolist() == [[640, 4]]
    assert (sample.arrays["rate"].dtype, float(sample.arrays["rate"])) == (np.float32, 0.5)
    assert list(sample.arrays) == ["images", "boxes", "size", "rate"]
    assert len({samples.identity(k) for k in range(12)}) == 12
    assert sample.look is not None


def test_columns_by_name(space: Path):
    rows = ["rate,size,images,boxes", *(f'1,"[{k}, 2]",my images/{k}.png,boxes{k}.npy' for k in range(3))]
    sample = opened(listed(space, "\n".join(rows), "a.csv"), specs=MIXED).load(2)
    assert sample.arrays["size"].tolist() == [[2, 2]]


def test_one_number_fills_an_input(space: Path):
    specs = (*PICTURE, InputSpec("mask", np.dtype(np.float32), ("N", 1, 2, 2)))
    sample = opened(listed(space, "my images/1.png\t1.5\n"), specs=specs).load(0)
    assert sample.arrays["mask"].tolist() == [[[[1.5, 1.5], [1.5, 1.5]]]]


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("", "a.txt", "names no sample"),
        ("# nothing", "a.txt", "names no sample"),
        ("path\n", "a.csv", "names of columns and nothing below|does not exist"),
        ("gone/1.png\n", "a.txt", "a.txt, line 1: 'gone/1.png' does not exist, neither below the folder of the list"),
        ("my images/1.png\nboxes1.npy", "a.txt", "line 2: 'boxes1.npy' is no image file, unlike the others"),
        ("https://example.com/a.png", "a.txt", "line 1: 'https://example.com/a.png' does not exist"),
        ("a\0b", "a.txt", "holds zero bytes"),
        ("one word", "a.txt", "line 1: 'one word' is neither a picture or an array, nor a number"),
        ("path,label\nmy images/1.png,3\n,4\n", "a.csv", "line 3: there is nothing in column 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(space: Path, text: str, name: str, found: str):
    with pytest.raises(DataError, match=found):
        opened(listed(space, text, name))


def test_columns_that_do_not_fit(space: Path):
    with pytest.raises(DataError, match="has 1 columns, but the model has 4 inputs: 'images', 'boxes', 'size', 'rate'"):
        opened(listed(space, "my images/1.png"), specs=MIXED)
    with pytest.raises(DataError, match="has no column 'boxes'"):
        opened(listed(space, "images,size\nmy images/1.png,3\n", "a.csv"), specs=MIXED)
    with pytest.raises(DataError, match=r"'half' is neither .* of the type int64 for input 'size'"):
        opened(listed(space, "my images/1.png\tboxes1.npy\thalf\t1"), specs=MIXED)
    with pytest.raises(DataError, match=r"'0.5' is neither"):
        opened(listed(space, "my images/1.png\tboxes1.npy\t0.5\t1"), specs=MIXED)
    np.save(space / "data" / "many.npy", np.zeros((3, 4), np.float32))
    with pytest.raises(DataError, match=r"many.npy: 3 samples, but a line"):
        opened(listed(space, "my images/1.png\tmany.npy"), specs=MIXED[:2])


def test_a_file_that_is_gone_is_an_unreadable_sample(space: Path):
    samples = opened(listed(space, "my images/1.png\nmy images/gone.png\n"))
    with pytest.raises(UnreadableSampleError, match=r"gone.png cannot be decoded as an image: no such file"):
        samples.load(1)


def test_patterns(space: Path):
    folder = space / "data" / "my images"
    every = [f"{k}.png" for k in range(12)]
    assert names(opened(folder / "*.png")) == names(opened(space / "data" / "**" / "*.png")) == every
    assert names(opened(folder / "1?.png")) == ["10.png", "11.png"]
    assert names(opened(folder / "{8..11}.png")) == ["8.png", "9.png", "10.png", "11.png"]
    assert names(opened(folder / "[12].png", folder / "7.png")) == ["1.png", "2.png", "7.png"]
    assert names(opened(space / "data" / "my*")) == every
    for k in range(3):
        write_images(space / "s", 2, seed=k)
        pack(space / "s", space / f"shard-{k:03}.tar")
    assert len(opened(space / "shard-{000..002}.tar")) == len(opened(space / "shard-*.tar")) == 6


def test_patterns_that_match_nothing(space: Path):
    with pytest.raises(DataError, match=r"'.*nothing-.*' matches no file"):
        opened(space / "nothing-*.png")
    with pytest.raises(DataError, match=r"shard-1.tar' of '.*shard-\{1..3\}.tar' does not exist"):
        opened(space / "shard-{1..3}.tar")
    with pytest.raises(DataError, match="stands for more than 100,000 names"):
        opened(space / "{0..99999999}.tar")


def test_a_name_with_a_bracket_is_a_name(space: Path):
    write_images(space / "odd [1]", 2)
    assert names(opened(space / "odd [1]")) == ["0.png", "1.png"]


def test_files_that_a_shell_listed_are_one_source(space: Path):
    folder = space / "data" / "my images"
    samples = opened(*(folder / f"{k}.png" for k in range(5)))
    assert len(samples._parts) == 1


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        ("m.onnx --calib a.png b.png c.JPG -q", "m.onnx --calib a.png --calib b.png --calib c.JPG -q"),
        ("--calib a.png b.npz m.onnx x.png", "--calib a.png --calib b.npz m.onnx x.png"),
        (
            "a.onnx b.onnx --data a.tar b.tar.gz --calib l.txt",
            "a.onnx b.onnx --data a.tar --data b.tar.gz --calib l.txt",
        ),
        ("--calib a.png -- b.png", "--calib a.png -- b.png"),
        ("--report a.png b.png", "--report a.png b.png"),
        ("--calib", "--calib"),
    ],
)
def test_words_of_a_shell(words: str, parsed: str):
    assert with_each_sample(words.split()) == parsed.split()
