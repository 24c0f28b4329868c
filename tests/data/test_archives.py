"""Archives of samples: the same samples however they are packed, and nothing that a hostile one asks for."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from qdq_cli.config.preprocess import UNIT
from qdq_cli.data.archives import open_archive
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.data.sources import find_files
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import DataError
from tests.data.packing import add_bytes, pack
from tests.workspace import write_images

PICTURE = (InputSpec("images", np.dtype(np.float32), ("N", 3, 16, 16)),)
VECTOR = (InputSpec("x", np.dtype(np.float32), ("N", 4)), InputSpec("y", np.dtype(np.float32), ("N", 2)))
WAYS = ("a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_images(folder / "left", 11)
    write_images(folder / "right", 3, seed=9)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a sample")
    return folder


def content(samples: SampleSet) -> list[tuple[str, bytes]]:
    every = range(len(samples))
    return [(samples.identity(k), samples.load(k).arrays[samples.specs[0].name].tobytes()) for k in every]


def opened(path: Path, specs=PICTURE) -> SampleSet:
    return open_samples([path], specs, UNIT if specs is PICTURE else None)


@pytest.mark.parametrize("way", WAYS)
def test_pictures_are_those_of_the_folder(way: str, folder: Path, tmp_path: Path):
    """In the same order, with the same identities, and with the same notes."""
    samples = opened(pack(folder, tmp_path / way))
    plain = opened(folder)
    samples.expect(range(len(samples)))
    assert content(samples) == content(plain)
    assert samples.name(10) == f"{tmp_path / way}/left/10.png"
    assert samples.notes == (f"{tmp_path / way}: 14 files in 2 folders: left (11), right (3).",)


def test_a_zip_archive_that_stores(folder: Path, tmp_path: Path):
    assert content(opened(pack(folder, tmp_path / "a.zip", level=zipfile.ZIP_STORED))) == content(opened(folder))


@pytest.mark.parametrize("way", WAYS)
def test_arrays(way: str, tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    folder = tmp_path / "arrays"
    folder.mkdir()
    for k in range(3):
        np.savez(folder / f"{k}.npz", x=values[3 * k : 3 * k + 3, :4], y=values[3 * k : 3 * k + 3, 4:])
    samples = opened(pack(folder, tmp_path / way), VECTOR)
    assert content(samples) == content(opened(folder, VECTOR))
    assert samples.name(4) == f"{tmp_path / way}/1.npz[1]"


@pytest.mark.parametrize("way", WAYS)
def test_arrays_without_names(way: str, tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "a.npy", values)
    assert content(opened(pack(tmp_path / "arrays", tmp_path / way), VECTOR[:1])) == content(
        opened(tmp_path / "arrays", VECTOR[:1])
    )


def test_what_leads_out_of_the_archive_is_left_alone(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        add_bytes(archive, "good.png", b"1")
        add_bytes(archive, "../../escape.png", b"2")
        add_bytes(archive, "/etc/absolute.png", b"3")
        add_bytes(archive, "a/../b.png", b"4")
        add_bytes(archive, "link.png", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add_bytes(archive, "hard.png", b"", type=tarfile.LNKTYPE, linkname="good.png")
        add_bytes(archive, "device.png", b"", type=tarfile.CHRTYPE)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("good.png", "../escape.png", "/absolute.png", "..\\windows.png"):
            archive.writestr(name, b"1")
    for name in ("a.tar", "a.zip"):
        assert [str(member.place) for member in open_archive(tmp_path / name)] == ["good.png"]


def test_names_of_windows(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("left\\2.png", b"1")
        archive.writestr("left\\10.png", b"1")
    assert [str(blob.place) for blob in find_files(tmp_path / "a.zip").members] == ["left/2.png", "left/10.png"]


def test_a_packed_header_does_not_fill_the_memory(tmp_path: Path):
    """A header of pax that says it has 200 MB, packed to 200 kB."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 200_000_000
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(200):
            file.write(bytes(1_000_000))
    tracemalloc.start()
    with pytest.raises(DataError, match="has a header of 200,000,000 bytes"):
        open_archive(tmp_path / "a.tar.gz")
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_an_archive_that_grows_beyond_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qdq_cli.data.archives._ALLOWED_BYTES", 1 << 20)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for k in range(4):
            add_bytes(archive, f"{k}.png", bytes(1_000_000))
    with pytest.raises(DataError, match="reaches to more than 200 times its size"):
        open_archive(tmp_path / "a.tar.gz")


def test_a_picture_too_large_to_unpack_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qdq_cli.data.blobs.LARGEST_PICTURE_BYTES", 100)
    write_images(tmp_path / "images", 1)
    samples = opened(pack(tmp_path / "images", tmp_path / "a.zip"))
    with pytest.raises(UnreadableSampleError, match="one picture may take 100"):
        samples.load(0)


def test_a_damaged_member_is_unreadable_and_the_others_are_not(tmp_path: Path):
    write_images(tmp_path / "images", 2)
    archive = pack(tmp_path / "images", tmp_path / "a.zip", level=zipfile.ZIP_DEFLATED)
    first = zipfile.ZipFile(archive).infolist()[0]
    data = bytearray(archive.read_bytes())
    data[first.header_offset + 60 : first.header_offset + 90] = bytes(30)
    archive.write_bytes(data)
    samples = opened(archive)
    assert samples.load(0).arrays
    with pytest.raises(UnreadableSampleError, match=r"a.zip/1.png cannot be decoded.*it cannot be unpacked"):
        samples.load(1)


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"no archive at all" * 100], ids=["empty", "cut", "other"])
def test_what_is_no_archive(name: str, data: bytes, tmp_path: Path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        find_files(tmp_path / name)


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_archive(way: str, folder: Path, tmp_path: Path):
    whole = pack(folder, tmp_path / way)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match=way):
        samples = opened(whole)
        samples.expect(range(len(samples)))
        content(samples)


def test_nothing_usable_and_mixed(tmp_path: Path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.md").write_text("x")
    with pytest.raises(DataError, match=r"The archive '.*a.zip' has no usable file; it has 1 .md"):
        find_files(pack(tmp_path / "f", tmp_path / "a.zip"))
    np.save(tmp_path / "f" / "a.npy", np.zeros(3))
    write_images(tmp_path / "f", 2)
    with pytest.raises(DataError, match=r"The archive '.*a.tar' holds several kinds of data.* an archive that"):
        find_files(pack(tmp_path / "f", tmp_path / "a.tar"))


def test_what_is_not_chosen_is_not_unpacked(folder: Path, tmp_path: Path):
    samples = opened(pack(folder, tmp_path / "a.tar.gz"))
    samples.expect([3, 7])
    (tmp_path / "a.tar.gz").unlink()
    assert samples.load(3).arrays
    assert samples.load(7).arrays
    with pytest.raises((UnreadableSampleError, OSError)):
        samples.load(5)


def test_shards_of_webdataset(folder: Path, tmp_path: Path):
    """What stands beside the pictures of a shard, such as labels, is left alone."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard:06}.tar", "w") as archive:
            for k in range(3):
                number = f"{3 * shard + k:08}"
                add_bytes(archive, f"{number}.cls", b"7")
                add_bytes(archive, f"{number}.json", b"{}")
                add_bytes(archive, f"{number}.png", (folder / "left" / f"{3 * shard + k}.png").read_bytes())
    samples = opened(tmp_path / "shard-{000000..000001}.tar")
    plain = opened(folder / "left")
    assert content(samples) == content(plain)[:6]
