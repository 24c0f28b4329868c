"""Finding calibration files: what kind a path holds, and its files in an order that is the same on every machine."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qdq_cli.data import arrays, images
from qdq_cli.data.sample import Kind
from qdq_cli.data.testdata import is_input_file
from qdq_cli.process.errors import DataError

_ACCEPTED = "images (png jpg bmp webp tiff), .npy or .npz arrays, or ONNX test data (input_0.pb)"
_MOSTLY = 0.9
"""Share of one kind from which the odd files of another kind in a folder are left out, with a note."""


@dataclass(frozen=True)
class Found:
    """The calibration files of one path.

    Attributes:
        root: The path the user gave.
        kind: What all the files are.
        files: Sorted; one picture, one array file or one tensor file each.
        note: For the user, or "".
    """

    root: Path
    kind: Kind
    files: tuple[Path, ...]
    note: str = ""


def find_files(root: Path) -> Found:
    """Look at a path: a folder is searched with its subfolders; hidden files and folders and __MACOSX are left out.

    Raises:
        DataError: The path is missing or cannot be listed, is no file of a known kind, or holds none, or several kinds.
    """
    if root.is_dir():
        return _in_folder(root)
    if not root.exists():
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


def _in_folder(root: Path) -> Found:
    every = sorted(_walk(root), key=lambda path: natural_key(path.relative_to(root)))
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
    return Found(
        root, kind, tuple(files), f"{root}: {others} files are no {kind} files and are not used." if others else ""
    )


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
