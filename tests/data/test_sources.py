from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.data.sifting import Globs, natural_key
from qdq_cli.data.sources import find_files
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
    assert find_files(root).notes == (f"{root}: 8 files in 4 folders: a (3), a b (1), b (1), . (3).",)


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
    root = touch("notes.md", "output.pb.gz")
    with pytest.raises(DataError, match=r"notes\.md' is no file of a known kind"):
        find_files(root / "notes.md")


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
    assert "1 files are no image files" in found.notes[0]


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


@pytest.fixture
def labelled(tmp_path):
    """Pictures and label maps in folders of their own."""
    for name in ("a.png", "images/left/1.png", "images/left/2.jpg", "images/right/1.png", "labels/left/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        ([], ["labels"], ["a.png", "images/left/1.png", "images/left/2.jpg", "images/right/1.png"]),
        ([], ["labels/*"], ["a.png", "images/left/1.png", "images/left/2.jpg", "images/right/1.png"]),
        (["*.jpg"], [], ["images/left/2.jpg"]),
        (["images/*"], ["*/left/*"], ["images/right/1.png"]),
        (["left"], ["labels", "*.jpg"], ["images/left/1.png"]),
        (["*.jpg", "a.*"], [], ["a.png", "images/left/2.jpg"]),
        (["im?ges"], ["[rl]?*ft"], ["images/right/1.png"]),
    ],
)
def test_globs_choose_files_of_a_folder(include, exclude, taken, labelled):
    found = find_files(labelled, Globs(tuple(include), tuple(exclude)))
    assert sorted(path.relative_to(labelled).as_posix() for path in found.files) == taken
    assert found.matched == {*include, *exclude}


def test_a_file_that_is_named_itself_is_taken(labelled):
    assert find_files(labelled / "a.png", Globs(("*.jpg",), ("a.*",))).files == (labelled / "a.png",)


def test_globs_that_leave_nothing_are_an_error_with_an_example(labelled):
    with pytest.raises(DataError, match=r"No file of the folder .* is left by --include-data") as caught:
        find_files(labelled, Globs(("*.bmp",)))
    assert "a.png" in caught.value.hint


def test_subfolders_are_listed_and_a_folder_alone_is_not(labelled):
    (note,) = find_files(labelled).notes
    assert note == f"{labelled}: 5 files in 4 folders: . (1), images/left (2), images/right (1), labels/left (1)."
    assert find_files(labelled / "images" / "right").notes == ()
    for number in range(20):
        (labelled / f"{number}").mkdir()
        (labelled / f"{number}" / "a.png").write_bytes(b"")
    assert find_files(labelled).notes[0].endswith(" and 16 more.")


def test_a_name_that_is_too_long_is_a_path_that_does_not_exist():
    with pytest.raises(DataError, match="does not exist"):
        find_files(Path("x" * 300 + ".png"))
