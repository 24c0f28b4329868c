from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from calibrators.regular_file import open_regular

pytestmark = pytest.mark.skipif(os.name != "posix", reason="named pipes, sockets and devices are files on POSIX only")


def test_a_file_is_read_and_links_to_links_are_followed(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "chain").symlink_to("link")
    for name in ("file", "link", "chain"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"abc"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # an absolute path can be too long for a socket


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "a named pipe"),
        (bound_socket, "a socket"),
        (Path.mkdir, "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_anything_else_is_refused_at_once(make, words, tmp_path):
    make(tmp_path / "odd")
    (tmp_path / "link").symlink_to("odd")
    (tmp_path / "chain").symlink_to("link")
    for name in ("odd", "link", "chain"):
        with pytest.raises(OSError, match="only regular files are read") as caught:
            open_regular(tmp_path / name)
        assert caught.value.strerror == f"it is {words}, and only regular files are read"


def test_what_is_missing_or_a_link_to_itself_is_an_error_of_the_system(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for name in ("missing", "loop"):
        with pytest.raises(OSError, match=name):
            open_regular(tmp_path / name)


def test_what_takes_the_place_of_a_file_between_the_two_looks_is_refused_and_closed(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"abc")
    pipe(tmp_path / "pipe")
    real = os.open
    opened = []

    def swapped(path: object, flags: int) -> int:
        opened.append(real(tmp_path / "pipe", flags))
        return opened[-1]

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(OSError, match="named pipe"):
        open_regular(tmp_path / "file")
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(opened[0])
