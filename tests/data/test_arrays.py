from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qdq_cli.data import arrays, stored
from qdq_cli.data.arrays import StoredArray, list_npz, open_in_npz, open_npy
from qdq_cli.process.errors import DataError


@pytest.fixture
def save(tmp_path):
    def save(array: np.ndarray, name: str = "a.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


def open_npz(path: Path) -> dict[str, StoredArray]:
    return {name: open_in_npz(path, member) for name, member in list_npz(path).items()}


def npy_bytes(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


@settings(max_examples=25)
@given(
    hnp.arrays(st.sampled_from([np.float32, ">f8", np.int64, bool]), hnp.array_shapes(min_dims=1, max_dims=4)),
    st.booleans(),
)
def test_items_equal_numpy_indexing(tmp_path_factory, array, by_columns):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.asfortranarray(array) if by_columns else array)
    opened = open_npy(path)
    assert (opened.shape, opened.dtype) == (array.shape, array.dtype)
    assert np.array_equal(opened.whole(), array, equal_nan=array.dtype.kind == "f")
    for index in range(len(array)):
        assert opened.item(index).tobytes() == array[index : index + 1].tobytes()


def test_a_scalar_reads_as_a_scalar(save):
    opened = open_npy(save(np.int64(16000)))
    assert (opened.shape, opened.whole().shape, int(opened.whole())) == ((), (), 16000)


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_members_read_alike_packed_or_not(compressed, tmp_path):
    data = {"x/in:0": np.arange(24, dtype=np.float32).reshape(4, 6), "s": np.arange(4)}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", **data)
    opened = open_npz(tmp_path / "a.npz")
    assert list(opened) == list(data)
    for name, array in data.items():
        assert opened[name].label == f"{tmp_path / 'a.npz'}: array '{name}'"
        assert all(np.array_equal(opened[name].item(k), array[k]) for k in range(4))


@pytest.mark.parametrize("compressed", [False, True])
def test_opening_reads_headers_only_and_items_read_only_themselves(compressed, tmp_path, monkeypatch):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", x=np.zeros((64, 64, 64), np.float32))
    read = []
    original = stored.FilePart.read

    def count(self, start, size_bytes):
        read.append(size_bytes)
        return original(self, start, size_bytes)

    monkeypatch.setattr(stored.FilePart, "read", count)
    monkeypatch.setattr(arrays, "_HEAD_BYTES", 1024)
    opened = open_npz(tmp_path / "a.npz")["x"]
    assert sum(read) <= 2048
    if compressed:
        assert opened.stored._file is None
    else:
        read.clear()
        opened.item(63)
        assert read == [64 * 64 * 4]


def test_a_packed_member_is_unpacked_once_and_let_go(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_IN_MEMORY_BYTES", 1000)
    data = np.arange(5000, dtype=np.float32).reshape(50, 100)
    np.savez_compressed(tmp_path / "a.npz", x=data)
    opened = open_npz(tmp_path / "a.npz")["x"]
    assert np.array_equal(opened.item(49), data[49])
    file = opened.stored._file
    assert np.array_equal(opened.item(0), data[0])
    assert opened.stored._file is file
    assert file._rolled
    del opened
    assert file.closed


@pytest.mark.parametrize("compressed", [False, True])
def test_threads_may_read_the_same_array(compressed, tmp_path):
    data = np.random.default_rng(0).random((40, 50))
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", x=data)
    opened = open_npz(tmp_path / "a.npz")["x"]
    wrong = []

    def work(first: int) -> None:
        wrong.extend(k for k in range(first, 40, 4) if not np.array_equal(opened.item(k), data[k]))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_header_versions(version, tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_bytes(np.arange(3), version))
    assert open_npy(tmp_path / "a.npy").whole().tolist() == [0, 1, 2]


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path):
    content = npy_bytes(np.arange(3)).replace(b"(3,), }", b"(3L,),}")
    (tmp_path / "a.npy").write_bytes(content)
    assert open_npy(tmp_path / "a.npy").shape == (3,)


def test_pickled_objects_are_refused_without_being_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects") as caught:
        open_npy(tmp_path / "a.npy")
    assert str(tmp_path / "a.npy") in caught.value.message
    np.savez(tmp_path / "a.npz", x=np.array([None]))
    with pytest.raises(DataError, match=r"array 'x' holds pickled"):
        open_npz(tmp_path / "a.npz")


def test_elements_that_are_no_numbers_are_refused(save, tmp_path):
    with pytest.raises(DataError, match="elements of type"):
        open_npy(save(np.zeros(2, [("a", "f4")])))
    (tmp_path / "b.npy").write_bytes(npy_bytes(np.zeros(2, "S1")).replace(b"|S1", b"|S0")[:-2])
    with pytest.raises(DataError, match="elements of type"):
        open_npy(tmp_path / "b.npy")


def test_a_truncated_npy_says_what_is_missing(save):
    path = save(np.zeros((2, 3), np.float32))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match=r"holds 20 bytes of data, but its header says 24 \(float32 \[2, 3\]\)"):
        open_npy(path)


def test_two_arrays_in_one_npy_are_refused(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy_bytes(np.zeros(2)) * 2)
    with pytest.raises(DataError, match="header says") as caught:
        open_npy(tmp_path / "a.npy")
    assert "numpy.savez" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"\x93NUMPY", b"\x93NUMPY\x09\x00\x00\x00", npy_bytes(np.zeros(2))[:20]],
)
def test_what_is_no_npy_is_named(content, tmp_path):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy is no \.npy content: .+\.$") as caught:
        open_npy(tmp_path / "a.npy")
    assert caught.value.message.count("\n") == 0


def test_a_header_with_negative_sizes_is_refused(tmp_path):
    content = npy_bytes(np.zeros((2, 2))).replace(b"(2, 2), }", b"(-2,-2),}")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match="negative sizes"):
        open_npy(tmp_path / "a.npy")


def test_a_missing_file_is_named(tmp_path):
    for read in (open_npy, open_npz):
        with pytest.raises(DataError, match=r"none.* cannot be read: No such file"):
            read(tmp_path / "none")


def test_a_truncated_npz_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros(100))
    content = (tmp_path / "a.npz").read_bytes()
    for size in (len(content) // 2, 4, 0):
        (tmp_path / "a.npz").write_bytes(content[:size])
        with pytest.raises(DataError, match=r"a\.npz cannot be read") as caught:
            open_npz(tmp_path / "a.npz")
        assert "truncated" in caught.value.hint


def test_damage_inside_a_packed_member_is_found_when_it_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.random.default_rng(0).random(100_000))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    opened = open_npz(tmp_path / "a.npz")["x"]
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        opened.item(0)


def test_a_file_that_shrank_after_opening_is_named(save):
    path = save(np.zeros((4, 100)))
    opened = open_npy(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="ends too early"):
        opened.item(3)


def test_an_archive_without_arrays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(DataError, match="holds no arrays"):
        open_npz(tmp_path / "a.npz")


def test_packings_numpy_does_not_write_and_passwords_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", npy_bytes(np.zeros(2)))
    with pytest.raises(DataError, match="packed in a way"):
        open_npz(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", npy_bytes(np.zeros(2)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        open_npz(tmp_path / "a.npz")


def test_a_large_array_in_fortran_order_is_refused(save, monkeypatch):
    monkeypatch.setattr(arrays, "_MOST_REORDERED_BYTES", 100)
    with pytest.raises(DataError, match="Fortran order") as caught:
        open_npy(save(np.zeros((10, 10), order="F")))
    assert "ascontiguousarray" in caught.value.hint


def test_a_full_disk_while_unpacking_says_how_to_do_without(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100))
    opened = open_npz(tmp_path / "a.npz")["x"]

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored.tempfile.SpooledTemporaryFile, "write", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        opened.item(0)
    assert "numpy.savez" in caught.value.hint
