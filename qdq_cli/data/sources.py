"""Finding calibration files: what kind a path holds, and its files in an order that is the same on every machine."""

from __future__ import annotations

import fnmatch
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from qdq_cli.data import arrays, images
from qdq_cli.data.sample import Kind
from qdq_cli.data.testdata import is_input_file
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import count_text, some_of

_ACCEPTED = "images (png jpg bmp webp tiff), .npy or .npz arrays, or ONNX test data (input_0.pb)"
_MOSTLY = 0.9
"""Share of one kind from which the odd files of another kind in a folder are left out, with a note."""

_LISTED = 8
"""Folders that a note lists by name."""


@dataclass(frozen=True)
class Found:
    """The calibration files of one path.

    Attributes:
        root: The path the user gave.
        kind: What all the files are.
        files: Sorted; one picture, one array file or one tensor file each.
        notes: For the user.
        matched: The globs that some file of the folder matches.
    """

    root: Path
    kind: Kind
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    matched: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Globs:
    """Which files of a folder are taken, by globs such as `*.jpg`, `labels` or `left/*`.

    A glob with a slash is held against the path below the folder, where `*` stands for slashes too; one without a slash
    against the name of the file and of every folder above it. Upper and lower case differ.

    Args:
        include: Where there are any, a file has to match one of them.
        exclude: A file that matches one of them is left out.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def matched(self, place: PurePath) -> frozenset[str]:
        """The globs that a file matches, by its path below the folder."""
        return frozenset(glob for glob in (*self.include, *self.exclude) if _matches(place, glob))

    def takes(self, matched: frozenset[str]) -> bool:
        """Whether a file that matches these globs is taken."""
        return matched.isdisjoint(self.exclude) and (not self.include or not matched.isdisjoint(self.include))


ALL_FILES = Globs()


def _matches(place: PurePath, glob: str) -> bool:
    texts = (place.as_posix(),) if "/" in glob else place.parts
    return any(fnmatch.fnmatchcase(text, glob) for text in texts)


def find_files(root: Path, globs: Globs = ALL_FILES) -> Found:
    """Look at a path: a folder is searched with its subfolders; hidden files and folders and __MACOSX are left out.

    Args:
        root: A folder, or a file, which is taken whatever the globs say.
        globs: Which files of a folder are taken.

    Raises:
        DataError: The path is missing or cannot be listed, is no file of a known kind, or holds none, or several kinds.
    """
    if os.path.isdir(root):  # noqa: PTH112 - Path.is_dir() fails on names that are too long
        return _in_folder(root, globs)
    if not os.path.exists(root):  # noqa: PTH110
        raise DataError(f"Calibration data '{root}' does not exist.", f"Give {_ACCEPTED}: a folder or a file.")
    kind = "tensor" if root.suffix.lower() == ".pb" else _kind(root)
    if kind is None:
        raise DataError(f"Calibration data '{root}' is no file of a known kind.", f"Give {_ACCEPTED}.")
    return Found(root, kind, (root,))


def is_sample(path: Path) -> bool:
    """Say whether a file of this name counts as a sample where it lies in a folder of calibration data."""
    return _kind(path) is not None


def natural_key(path: Path) -> tuple[tuple[tuple[bool, int, str], ...], str]:
    """Sort key: folders before what follows them, numbers by value, case and Unicode form ignored; never a tie."""
    text = unicodedata.normalize("NFC", path.as_posix())
    parts = re.split(r"([0-9]+)", text.casefold().replace("/", "\0"))
    return tuple((at % 2 == 1, int(part) if at % 2 else 0, part) for at, part in enumerate(parts)), text


def _in_folder(root: Path, globs: Globs) -> Found:
    there = sorted(_walk(root), key=lambda path: natural_key(path.relative_to(root)))
    matched = {path: globs.matched(path.relative_to(root)) for path in there}
    every = [path for path in there if globs.takes(matched[path])]
    if there and not every:
        raise DataError(
            f"No file of the folder '{root}' is left by --include-data and --exclude-data; it has {len(there):,}.",
            f"The first is {there[0].relative_to(root).as_posix()}; put globs in quotes.",
        )
    by_kind: dict[Kind, list[Path]] = {}
    for path in every:
        if (kind := _kind(path)) is not None:
            by_kind.setdefault(kind, []).append(path)
    if not by_kind:
        raise _nothing_usable(root, every)
    kind, files = max(by_kind.items(), key=lambda item: len(item[1]))
    usable = sum(map(len, by_kind.values()))
    if len(files) < _MOSTLY * usable:
        counts = ", ".join(f"{len(paths)} {name} files" for name, paths in sorted(by_kind.items()))
        raise DataError(
            f"The folder '{root}' holds several kinds of data: {counts}.", "Give a folder that holds one kind."
        )
    others = usable - len(files)
    notes = [f"{root}: {others} files are no {kind} files and are not used."] if others else []
    notes += [] if kind == "tensor" else _about_subfolders(root, files)
    return Found(root, kind, tuple(files), tuple(notes), frozenset().union(*matched.values()))


def _about_subfolders(root: Path, files: list[Path]) -> list[str]:
    """List the folders that the files lie in, where that is not one alone."""
    counts = Counter(path.parent.relative_to(root).as_posix() for path in files)
    if set(counts) == {"."}:
        return []
    parts = [f"{folder} ({count:,})" for folder, count in counts.items()]
    return [f"{root}: {len(files):,} files in {count_text(len(counts), 'folder')}: {some_of(parts, _LISTED)}."]


def _kind(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix in images.EXTENSIONS:
        return "image"
    if suffix in arrays.EXTENSIONS:
        return "array"
    return "tensor" if is_input_file(path.name) else None


def _walk(root: Path) -> Iterator[Path]:
    """All visible files; symbolic links are followed, each folder once."""
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(root, onerror=_cannot_list, followlinks=True):
        if (real := os.path.realpath(folder)) in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if _is_visible(name))
        yield from (Path(folder, name) for name in names if _is_visible(name))


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _cannot_list(error: OSError) -> None:
    raise DataError(f"The folder '{error.filename}' cannot be read: {error.strerror}.", "Check its permissions.")


def _nothing_usable(root: Path, files: list[Path]) -> DataError:
    counts = Counter(path.suffix.lower() or "no extension" for path in files)
    found = ", ".join(
        f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    )
    seen = f"it has {found}" if found else "it is empty"
    return DataError(f"The folder '{root}' has no usable file; {seen}.", f"Give {_ACCEPTED}.")
