"""A finished model moved to its place: whole at every moment, even if the process is killed between two steps.

A model with its weights in a file of their own is two files, and no system call replaces two files at once. So the data
file is named by its content, `MODEL.<digest>.data`, and never gets another content: it is put beside the old one, then
the model is replaced, and what the old model read is removed last. Whoever opens the model in between finds the old one
with its old weights or the new one with its new ones. A journal in the folder the process works in says what a killed
process may have left beside the model; the next run for the same target clears it up.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import google.protobuf.message
import onnx

from calibrators.leftovers import remove_abandoned, working_folder

_DIGITS = 16
_JOURNAL = "journal"
_SUFFIX = ".tmp"


@contextlib.contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Make a folder beside a target to finish its files in; what a dead process left of the same target is removed.

    Raises:
        OSError: It cannot be made.
    """
    prefix = f".qdq-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"
    remove_abandoned(target.parent, prefix, _SUFFIX, lambda folder: _clear_up(folder, target))
    with working_folder(target.parent, prefix, _SUFFIX) as folder:
        yield folder


def named_by_content(model: Path, data: Path) -> Path:
    """Rename the data file that a model was written with after its content, in the model too; returns its new path."""
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
    named = model.with_name(f"{model.name}.{digest}.data")
    data.rename(named)
    proto = onnx.load_model(model, load_external_data=False)
    for tensor in _tensors(proto.graph):
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = named.name
    model.write_bytes(proto.SerializeToString(deterministic=True))
    return named


def place(model: Path, data: Path | None, target: Path) -> None:
    """Move a model, and its data file where it has one, to its target; then remove the weights of the model before it.

    Only what this program named, and the model before it read, is removed.

    Args:
        model: The finished file, in a folder of `folder_beside`.
        data: The data file beside it, as `named_by_content` named it.
        target: The model's place; a symbolic link there is replaced itself, not what it leads to.

    Raises:
        OSError: The target cannot be written; what was there before is there still.
    """
    former = _data_of(target)
    placed = None if data is None else target.with_name(data.name)
    is_new = placed is not None and not os.path.lexists(placed)
    _write_journal(model.parent, [*former, *([placed.name] if placed is not None and is_new else [])])
    try:
        if data is not None and placed is not None:
            os.replace(data, placed)  # noqa: PTH105 - the atomic call, by its name
        os.replace(model, target)  # noqa: PTH105
    finally:  # an interrupt counts as a failure
        if model.exists() and placed is not None and is_new:
            placed.unlink(missing_ok=True)
    for name in former:
        if placed is None or name != placed.name:
            with contextlib.suppress(OSError):
                target.with_name(name).unlink()


def is_data_of(file: Path, target: Path) -> bool:
    """Say whether a file has the name of a data file that this program writes for a target."""
    return re.fullmatch(rf"{re.escape(target.name)}\.[0-9a-f]{{{_DIGITS}}}\.data", file.name) is not None


def data_beside(target: Path) -> list[Path]:
    """The data files beside a target that this program has written for it, now or before."""
    return [file for file in target.parent.iterdir() if is_data_of(file, target)]


def _data_of(target: Path) -> list[str]:
    """Names of those that the model at the target reads."""
    found = {file.name for file in data_beside(target)}
    if not found or not target.is_file():
        return []
    try:
        proto = onnx.load_model(target, load_external_data=False)
    except (OSError, google.protobuf.message.DecodeError):
        return []
    entries = (entry for tensor in _tensors(proto.graph) for entry in tensor.external_data)
    return sorted(found & {entry.value for entry in entries if entry.key == "location"})


def _write_journal(folder: Path, names: list[str]) -> None:
    if names:
        (folder / _JOURNAL).write_bytes(b"\n".join(map(os.fsencode, names)))


def _clear_up(folder: Path, target: Path) -> None:
    """Remove what a killed process put beside the target, or had still to remove, unless the model there reads it."""
    journal = folder / _JOURNAL
    if not journal.is_file():
        return
    read = _data_of(target)
    for name in map(os.fsdecode, journal.read_bytes().split(b"\n")):
        if name not in read and is_data_of(Path(name), target):
            target.with_name(name).unlink(missing_ok=True)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The initializers of a graph and of the bodies in it, and tensors in attributes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for body in (attribute.g, *attribute.graphs):
                yield from _tensors(body)
