from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.data.sources import find_files, natural_key
from qdq_cli.process.errors import DataError


@pytest.fixture
def touch(tmp_path):
    def touch(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return touch


def names(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_files(root).files]


def test_images_are_found_recursively_in_natural_order(touch):
    root = touch("img10.png", "img2.PNG", "Img1.jpg", "b/img1.webp", "a b/x.TIFF", "a/z.jpeg", "a/2.bmp", "a/10.tif")
    assert names(root) == [
        "a/2.bmp", "a/10.tif", "a/z.jpeg", "a b/x.TIFF", "b/img1.webp", "Img1.jpg", "img2.PNG", "img10.png",
    ]  # fmt: skip
    assert find_files(root).kind == "image"
    assert find_files(root).note == ""


def test_hidden_files_and_folders_of_archives_are_left_out(touch):
    root = touch(
        "a.png", ".b.png", "._a.png", ".thumbnails/c.png", "__MACOSX/._a.png", "d/__MACOSX/e.png", "readme.txt"
    )
    assert names(root) == ["a.png"]


def test_a_hidden_folder_given_by_name_is_searched(touch):
    root = touch(".cache/a.png") / ".cache"
    assert names(root) == ["a.png"]


@pytest.mark.parametrize(
    ("file", "kind"), [("a.JPG", "image"), ("a.npy", "array"), ("a.NPZ", "array"), ("any.pb", "tensor")]
)
def test_a_single_file_is_known_by_its_extension(file, kind, touch):
    path = touch(file) / file
    assert (find_files(path).kind, find_files(path).files) == (kind, (path,))


def test_links_are_followed_and_each_folder_is_searched_once(touch):
    root = touch("blobs/1f3a", "snapshot/deep/b.png", "outside/c.png")
    snapshot = root / "snapshot"
    (snapshot / "a.png").symlink_to(root / "blobs" / "1f3a")
    (snapshot / "more").symlink_to(root / "outside", target_is_directory=True)
    (snapshot / "deep" / "loop").symlink_to(snapshot, target_is_directory=True)
    assert names(snapshot) == ["a.png", "deep/b.png", "more/c.png"]


def test_a_link_to_nowhere_is_kept_so_that_it_gets_named_later(touch):
    root = touch("a.png")
    (root / "b.png").symlink_to(root / "gone")
    assert names(root) == ["a.png", "b.png"]


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(DataError, match="none' does not exist") as caught:
        find_files(tmp_path / "none")
    assert "images" in caught.value.hint


def test_a_file_of_another_kind_is_named(touch):
    root = touch("notes.txt", "output.pb.gz")
    with pytest.raises(DataError, match=r"notes\.txt' is no file of a known kind"):
        find_files(root / "notes.txt")


def test_a_folder_without_usable_files_says_what_it_has(touch):
    root = touch("a.heic", "b.HEIC", "c.txt", "d", ".hidden.png")
    with pytest.raises(DataError, match=r"no usable file; it has 2 \.heic, 1 \.txt, 1 no extension\."):
        find_files(root)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(DataError, match="it is empty"):
        find_files(tmp_path)


def test_a_stray_file_of_another_kind_is_left_out_with_a_note(touch):
    root = touch("labels.npy", *(f"{k}.png" for k in range(20)))
    found = find_files(root)
    assert (found.kind, len(found.files)) == ("image", 20)
    assert "1 files are no image files" in found.note


def test_two_kinds_in_one_folder_are_refused(touch):
    with pytest.raises(DataError, match="several kinds of data: 2 array files, 3 image files"):
        find_files(touch("a.png", "b.png", "c.png", "a.npy", "b.npz"))


def test_only_input_files_of_test_data_count(touch):
    root = touch("test_data_set_0/input_0.pb", "test_data_set_0/output_0.pb", "model.onnx")
    assert names(root) == ["test_data_set_0/input_0.pb"]


def test_a_folder_that_cannot_be_listed_is_named(touch, monkeypatch):
    root = touch("a/b.png")
    scan = os.scandir

    def refuse(folder):
        if Path(folder).name == "a":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"The folder '.*a' cannot be read: Permission denied"):
        find_files(root)


def test_unicode_forms_sort_alike():
    composed, decomposed = Path("caf\u00e9.png"), Path("cafe\u0301.png")
    assert natural_key(composed) == natural_key(decomposed)


@given(st.lists(st.text("aB1٣0-_ ./é", min_size=1, max_size=12), unique=True, max_size=12), st.randoms())
def test_the_order_does_not_depend_on_how_files_are_listed(texts, shuffler: random.Random):
    paths = list({Path(text).as_posix(): Path(text) for text in texts}.values())
    shuffled = list(paths)
    shuffler.shuffle(shuffled)
    assert sorted(paths, key=natural_key) == sorted(shuffled, key=natural_key)
