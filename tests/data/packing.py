"""Folders of samples packed into archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path


def pack(folder: Path, archive: Path, *, level: int = zipfile.ZIP_DEFLATED) -> Path:
    """Pack every file below a folder, in an order that is not the natural one; the ending says how."""
    files = sorted((path for path in folder.rglob("*") if path.is_file()), reverse=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", level) as packed:
            for file in files:
                packed.write(file, file.relative_to(folder))
        return archive
    how = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(archive.suffix, "w")
    with tarfile.open(archive, how) as packed:
        for file in files:
            packed.add(file, f"./{file.relative_to(folder).as_posix()}")
    return archive


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes, **fields: object) -> None:
    """Add a member with fields that no honest archive has."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for field, value in fields.items():
        setattr(entry, field, value)
    archive.addfile(entry, io.BytesIO(content))
