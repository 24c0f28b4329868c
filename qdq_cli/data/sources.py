"""Finding calibration files: what kind a path holds, and its files in an order that is the same on every machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from qdq_cli.data.archives import is_archive, open_archive
from qdq_cli.data.listed import is_list
from qdq_cli.data.sifting import ACCEPTED, ALL_FILES, Found, Globs, is_visible, kind_of, sift
from qdq_cli.data.wanted import is_pattern, matches_of
from qdq_cli.process.errors import DataError


def find_files(root: Path, globs: Globs = ALL_FILES) -> Found:
    """Look at a path: a folder is searched with its subfolders, an archive as if it were unpacked.

    Hidden files and folders and __MACOSX are left out.

    Args:
        root: A folder, an archive, or a file, which is taken whatever the globs say.
        globs: Which files of a folder or an archive are taken.

    Raises:
        DataError: The path is missing or cannot be listed, is no file of a known kind, or holds none, or several kinds.
    """
    if os.path.isdir(root):  # noqa: PTH112 - Path.is_dir() fails on names that are too long
        sifted = sift(root, [(path.relative_to(root), path) for path in _walk(root)], globs)
        return Found(root, sifted.kind, sifted.items, sifted.notes, sifted.matched)
    if not os.path.exists(root):  # noqa: PTH110
        raise DataError(f"Calibration data '{root}' does not exist.", f"Give {ACCEPTED}.")
    if is_archive(root):
        return _in_archive(root, globs)
    if is_list(root):
        return Found(root, "list", (root,))
    kind = "tensor" if root.suffix.lower() == ".pb" else kind_of(root)
    if kind is None:
        raise DataError(f"Calibration data '{root}' is no file of a known kind.", f"Give {ACCEPTED}.")
    return Found(root, kind, (root,))


def find_all(paths: Sequence[Path], globs: Globs = ALL_FILES) -> list[Found]:
    """Look at several paths, patterns among them; files one after another that a shell may have listed are one source.

    Raises:
        DataError: As in `find_files`, or a pattern matches nothing.
    """
    found: list[Found] = []
    for path in paths:
        for each in _found(path, globs):
            before = found[-1] if found else None
            if before is not None and _are_alike(before, each):
                found[-1] = replace(before, root=each.root.parent, files=(*before.files, *each.files))
            else:
                found.append(each)
    return found


def _are_alike(one: Found, other: Found) -> bool:
    """Whether both are single files of one kind, which need not be told apart."""
    lone = all(each.files and each.kind in ("image", "array") and not each.matched for each in (one, other))
    return lone and one.kind == other.kind and other.files == (other.root,) and one.root in (
        one.files[0],
        one.files[-1].parent,
    )  # fmt: skip


def _found(path: Path, globs: Globs) -> list[Found]:
    if not is_pattern(path):
        return [find_files(path, globs)]
    matches = matches_of(path)
    if any(each.is_dir() or is_archive(each) for each in matches):
        return [find_files(each, globs) for each in matches if each.is_dir() or is_archive(each) or is_sample(each)]
    if all(map(is_list, matches)):
        return [find_files(each, globs) for each in matches]
    base = Path(os.path.commonpath([each.parent for each in matches]))
    sifted = sift(path, [(each.relative_to(base), each) for each in matches], globs, "pattern")
    return [Found(path, sifted.kind, sifted.items, sifted.notes, sifted.matched)]


def _in_archive(root: Path, globs: Globs) -> Found:
    """Look into an archive; nothing of it is unpacked yet."""
    sifted = sift(root, [(member.place, member) for member in open_archive(root)], globs, "archive")
    if sifted.kind in ("tensor", "rows"):
        what = "ONNX test data" if sifted.kind == "tensor" else "tables"
        raise DataError(f"The archive '{root}' holds {what}.", "Unpack it, and give the folder.")
    return Found(root, sifted.kind, (), sifted.notes, sifted.matched, sifted.items)


def is_sample(path: Path) -> bool:
    """Say whether a file of this name counts as a sample where it lies in a folder of calibration data."""
    return kind_of(path) is not None


def _walk(root: Path) -> Iterator[Path]:
    """All visible files; symbolic links are followed, each folder once."""
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(root, onerror=_cannot_list, followlinks=True):
        if (real := os.path.realpath(folder)) in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if is_visible(name))
        yield from (Path(folder, name) for name in names if is_visible(name))


def _cannot_list(error: OSError) -> None:
    raise DataError(f"The folder '{error.filename}' cannot be read: {error.strerror}.", "Check its permissions.")
