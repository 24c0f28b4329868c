"""Sifting: of the files of a folder or an archive those that are samples of one kind, in an order equal everywhere."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Generic, Literal, TypeVar

from qdq_cli.config.data import ROW_ENDINGS
from qdq_cli.data import arrays, images
from qdq_cli.data.blobs import Blob
from qdq_cli.data.sample import Kind
from qdq_cli.data.testdata import is_input_file
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import count_text, some_of

Item = TypeVar("Item")

FileKind = Kind | Literal["rows"]
"""What a file holds: samples of a kind, or a table of them."""

_CACHED = "cache-"
"""How files begin that `datasets` left beside a data set: results of functions that ran over it."""

ACCEPTED = (
    "images (png jpg bmp webp tiff), .npy or .npz arrays, .parquet tables, or ONNX test data (input_0.pb), in a "
    "folder, a zip or tar archive, or a list of their paths (.txt, .csv)"
)
_MOSTLY = 0.9
"""Share of one kind from which the odd files of another kind in a folder are left out, with a note."""

_LISTED = 8
"""Folders that a note lists by name."""


@dataclass(frozen=True)
class Found:
    """The calibration files of one path.

    Attributes:
        root: The path the user gave.
        kind: What all the files are; "list" for a list that is still to be read.
        files: Sorted; one picture, one array file or one tensor file each. None for an archive.
        notes: For the user.
        matched: The globs that some file of the folder matches.
        members: The same of an archive.
    """

    root: Path
    kind: FileKind | Literal["list"]
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()
    matched: frozenset[str] = frozenset()
    members: tuple[Blob, ...] = ()


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


@dataclass(frozen=True)
class Sifted(Generic[Item]):
    """What is left of the files of a folder or an archive.

    Args:
        kind: What they all are.
        items: They, sorted.
        notes: Sentences the user should read.
        matched: The globs that some file matches.
    """

    kind: FileKind
    items: tuple[Item, ...]
    notes: tuple[str, ...]
    matched: frozenset[str]


def sift(root: object, there: Sequence[tuple[PurePath, Item]], globs: Globs, what: str = "folder") -> Sifted[Item]:
    """Sort files, and take those of the one kind that nearly all samples are of.

    Args:
        root: The folder or archive, as sentences name it.
        there: Path below it and what stands for the file, for every visible file.
        globs: Which are taken.
        what: What the root is.

    Raises:
        DataError: Nothing is left, or several kinds are.
    """
    there = sorted(there, key=lambda entry: natural_key(entry[0]))
    matched = [globs.matched(place) for place, _ in there]
    every = [entry for entry, globbed in zip(there, matched, strict=True) if globs.takes(globbed)]
    if there and not every:
        raise DataError(
            f"No file of the {what} '{root}' is left by --include-data and --exclude-data; it has {len(there):,}.",
            f"The first is {there[0][0].as_posix()}; put globs in quotes.",
        )
    by_kind: dict[FileKind, list[tuple[PurePath, Item]]] = {}
    for place, item in every:
        if (kind := kind_of(place)) is not None:
            by_kind.setdefault(kind, []).append((place, item))
    if not by_kind:
        raise _nothing_usable(root, [place for place, _ in every], what)
    kind, files = max(by_kind.items(), key=lambda entry: len(entry[1]))
    usable = sum(map(len, by_kind.values()))
    if len(files) < _MOSTLY * usable:
        counts = ", ".join(f"{len(paths)} {name} files" for name, paths in sorted(by_kind.items()))
        raise DataError(
            f"The {what} '{root}' holds several kinds of data: {counts}.", f"Give {_a(what)} that holds one kind."
        )
    others = usable - len(files)
    notes = [f"{root}: {others} files are no {kind} files and are not used."] if others else []
    notes += [] if kind == "tensor" else _about_subfolders(root, [place for place, _ in files])
    return Sifted(kind, tuple(item for _, item in files), tuple(notes), frozenset().union(*matched))


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def natural_key(path: PurePath) -> tuple[tuple[tuple[bool, int, str], ...], str]:
    """Sort key: folders before what follows them, numbers by value, case and Unicode form ignored; never a tie."""
    text = unicodedata.normalize("NFC", path.as_posix())
    parts = re.split(r"([0-9]+)", text.casefold().replace("/", "\0"))
    return tuple((at % 2 == 1, int(part) if at % 2 else 0, part) for at, part in enumerate(parts)), text


def _about_subfolders(root: object, files: Sequence[PurePath]) -> list[str]:
    """List the folders that the files lie in, where that is not one alone."""
    counts = Counter(path.parent.as_posix() for path in files)
    if set(counts) == {"."}:
        return []
    parts = [f"{folder} ({count:,})" for folder, count in counts.items()]
    return [f"{root}: {len(files):,} files in {count_text(len(counts), 'folder')}: {some_of(parts, _LISTED)}."]


def kind_of(path: PurePath) -> FileKind | None:
    """What a file of this name holds; None where that is no sample."""
    suffix = path.suffix.lower()
    if suffix in ROW_ENDINGS:
        return None if path.name.startswith(_CACHED) else "rows"
    if suffix in images.EXTENSIONS:
        return "image"
    if suffix in arrays.EXTENSIONS:
        return "array"
    return "tensor" if is_input_file(path.name) else None


def is_visible(name: str) -> bool:
    """Whether a file or folder of this name is looked at: no hidden one, and none of the Mac's archiver."""
    return not name.startswith(".") and name != "__MACOSX"


def _nothing_usable(root: object, files: Sequence[PurePath], what: str) -> DataError:
    counts = Counter(path.suffix.lower() or "no extension" for path in files)
    found = ", ".join(
        f"{count} {suffix}" for suffix, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:5]
    )
    seen = f"it has {found}" if found else "it is empty"
    return DataError(f"The {what} '{root}' has no usable file; {seen}.", f"Give {ACCEPTED}.")
