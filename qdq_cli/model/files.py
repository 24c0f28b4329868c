"""The one room that opens and writes ONNX model files.

Loading keeps external weights on disk (memory-mapped) and refuses what would break later: an empty or foreign file, a
malformed model, external data that is missing, too short or outside the model's folder. Writing is staged: the model is
finished in a temporary folder beside its target, can be checked and run there, and is moved into place only by
`Staged.commit`; nothing is left behind otherwise.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir

from calibrators.regular_file import open_regular
from qdq_cli.model.declared import read_declarations
from qdq_cli.model.external_data import bind_external_data, take_in_small
from qdq_cli.model.maps import from_proto, has_maps, put_back
from qdq_cli.model.order import sort_nodes
from qdq_cli.model.placing import data_beside, folder_beside, named_by_content, place
from qdq_cli.model.wellformed import check_wellformed
from qdq_cli.model.wire import as_valid_onnx, encode, root_cause
from qdq_cli.process.errors import ModelError, UsageError
from qdq_cli.process.progress import counted, stepping
from qdq_cli.process.writable import check_writable

INLINE_LIMIT_BYTES = 1_800_000_000
"""Models above this keep their weights in a data file beside them: protobuf ends at 2 GiB, and Q/DQ nodes need room."""

EXTERNAL_THRESHOLD_BYTES = 1024
"""Tensors below this stay inside the model even when the weights go into a data file (scales, shapes)."""

_PROTOBUF_LIMIT_BYTES = 2**31 - 1

_OTHER_FORMATS = {
    b"version https://git-lfs": ("a Git LFS pointer, not the model itself", "Fetch the model with: git lfs pull"),
    b"PK\x03\x04": (
        "a zip archive, perhaps a PyTorch checkpoint, not an ONNX model",
        "Export it to ONNX, or unpack it.",
    ),
    b"\x1f\x8b": ("a gzip archive, not an ONNX model", "Unpack it."),
    b"\x89HDF": ("an HDF5 file, perhaps of Keras, not an ONNX model", "Export it to ONNX."),
    b"<": ("a web page or XML, not an ONNX model", "Fetch the model again."),
}
"""How files start that are often taken for models: what they are, and what to do."""


@dataclass(frozen=True)
class ModelFile:
    """A model as it was read.

    Args:
        path: Absolute path of the .onnx file, symbolic links not followed.
        model: The graph, its nodes in topological order; weights in data files are memory-mapped, not read.
        size_bytes: Size of the .onnx file and of its external data files together.
        data_files: The external data files, symbolic links followed; empty for a model with all weights inside.
        proto: The protobuf the graph was made from; None where its nodes had to be sorted.
    """

    path: Path
    model: ir.Model
    size_bytes: int
    data_files: tuple[Path, ...] = ()
    proto: onnx.ModelProto | None = None

    @property
    def external(self) -> bool:
        """Whether weights are in data files beside the model."""
        return bool(self.data_files)


def load(path: Path) -> ModelFile:
    """Read an ONNX model; weights in external data files stay on disk.

    Args:
        path: The .onnx file; relative paths, spaces and symbolic links (hub snapshots) are fine.

    Raises:
        ModelError: The file is missing, empty, not ONNX, cut off, malformed, or its external data cannot be used.
    """
    # An absolute path: with a bare file name onnx-ir would take an empty base folder and skip its path checks.
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps "..", resolve() follows links
    _require_unicode(path)
    with stepping(3) as step:
        size_bytes, proto = _read_proto(path)
        step()
        model, was_sorted = _graph_of(path, proto)
        step()
        data_files = bind_external_data(path, model)
        step()
    size_bytes += sum(file.stat().st_size for file in data_files)
    return ModelFile(path, model, size_bytes, data_files, proto if was_sorted else None)


def _graph_of(path: Path, proto: onnx.ModelProto) -> tuple[ir.Model, bool]:
    """Make the graph of a protobuf, its nodes in topological order; says whether they were."""
    try:
        check_wellformed(proto)
        read_declarations(proto)
        model = from_proto(proto)
        return model, not sort_nodes(model.graph)
    except ModelError as error:
        raise ModelError(f"{path} is not a usable ONNX model: {error.message}.", error.hint) from error
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is not a usable ONNX model: {root_cause(error)}.") from error


def read_whole(path: Path) -> onnx.ModelProto:
    """Read a model of our own as a protobuf, the weights in its data file included."""
    return onnx.load(path)


def _require_unicode(path: Path) -> None:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        if sys.getfilesystemencoding() != "utf-8":
            raise ModelError(
                f"The name of {path} holds letters that the locale has not.",
                "Run in a locale of UTF-8, as with LC_ALL=C.UTF-8 or PYTHONUTF8=1.",
            ) from error
        raise ModelError(
            f"The name of {path} holds bytes that are no Unicode, which ONNX Runtime cannot open.",
            "Rename the file, or its folder.",
        ) from error


def _read_proto(path: Path) -> tuple[int, onnx.ModelProto]:
    """Return the size of a file and the protobuf in it."""
    data = _read_bytes(path)
    if not data:
        raise ModelError(f"{path} is empty (0 bytes).", "Export or copy the model again.")
    for start, (what, hint) in _OTHER_FORMATS.items():
        if data.startswith(start):
            raise ModelError(f"{path} is {what}.", hint)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except google.protobuf.message.DecodeError as error:
        raise ModelError(
            f"{path} is not an ONNX model, or is cut off: its {len(data):,} bytes do not parse as one.",
            "Export or copy it again.",
        ) from error
    return len(data), proto


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder, not an ONNX file.", "Name the .onnx file inside it.")
        if path.is_symlink() and not path.exists():
            raise ModelError(f"{path} is a symbolic link to nothing.", "Check the path of the model.")
        if path.exists() and not path.is_file():
            raise ModelError(f"{path} is a device or a pipe, not a file.", "Save the model to a file first.")
        if path.stat().st_size > _PROTOBUF_LIMIT_BYTES:
            raise ModelError(
                f"{path} has {path.stat().st_size:,} bytes; one ONNX file holds at most {_PROTOBUF_LIMIT_BYTES:,}.",
                "Export the model with external data.",
            )
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist.", "Check the path of the model.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class Staged:
    """A finished model in a temporary folder beside its target.

    Args:
        path: The staged .onnx file, for checks and runs.
        target: Where `commit` puts it.
        size_bytes: Size of the staged files together.
        data: The file beside it that holds its weights; None where they are inside.
    """

    path: Path
    target: Path
    size_bytes: int
    data: Path | None = None

    def commit(self) -> None:
        """Move the files into place, the model last, so that it is whole at every moment (`placing.place`).

        A symbolic link under the name of the target is replaced itself, not what it leads to.

        Raises:
            ModelError: The target cannot be written; what was there before is there again.
        """
        try:
            place(self.path, self.data, self.target)
        except OSError as error:
            raise ModelError(f"{self.target} cannot be written: {error.strerror}.") from error


def check_target(source: Path, target: Path, reads: Iterable[Path] = ()) -> Path:
    """Return the absolute output path after making sure that it is not the input, and can be a file.

    Args:
        source: The input model.
        target: The output.
        reads: What else the run reads: files, and folders of samples.

    Raises:
        UsageError: The output is one of these, or cannot be written (`check_writable`).
    """
    _require_unicode(target)
    target = check_writable(target)
    if _is_same_file(target, source):
        raise UsageError(f"The output {target} is the input model itself.", "Name another file with -o.")
    check_not_read(target, reads)
    return target


def check_not_read(target: Path, reads: Iterable[Path], option: str = "-o") -> None:
    """Make sure that a file about to be written is none that the run reads, by whatever name.

    Args:
        target: The file.
        reads: Files, and folders of samples.
        option: What names the file on the command line.

    Raises:
        UsageError: It is one of them, or a sample in one of the folders.
    """
    for path in reads:
        is_folder = target.exists() and path.is_dir()
        within = is_folder and _is_sample(target) and target.resolve().is_relative_to(path.resolve())
        if within or _is_same_file(target, path):
            hint = f"Name another file with {option}." if option.startswith("-") else f"Name another {option}."
            raise UsageError(f"{target} is read by this run, and would be overwritten.", hint)


def _is_sample(path: Path) -> bool:
    """Say whether a file of this name counts as a sample in a folder of calibration data."""
    from qdq_cli.data.sources import is_sample  # it brings every reader of data along, and most models meet none

    return is_sample(path)


def _is_same_file(one: Path, other: Path) -> bool:
    """Say whether two paths lead to one file, whether it is there already or will only be written."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.abspath(one) == os.path.abspath(other)  # noqa: PTH100 - resolve() would follow a link to be replaced


def check_data_target(source: ModelFile, target: Path) -> None:
    """Make sure that the output is no data file of the input, and that none goes with the model it replaces.

    Raises:
        UsageError: It is one, or one goes.
    """
    for file in source.data_files:
        if _is_same_file(target, file) or any(_is_same_file(file, former) for former in data_beside(target)):
            raise UsageError(
                f"The output would overwrite {file}, which holds weights of the input model.",
                "Name another file with -o.",
            )


@contextlib.contextmanager
def staged(model: ir.Model, target: Path, *, external: bool) -> Iterator[Staged]:
    """Write a model into a temporary folder beside its target; the folder is gone afterwards, committed or not.

    What a killed process left of the same target is removed first.

    Args:
        model: The finished model.
        target: Absolute path the model is meant for.
        external: Keep the weights in `<target>.<digest of them>.data`; also done when they do not fit into one
            protobuf.

    Raises:
        ModelError: The disk is full or the folder cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(folder_beside(target))
        except OSError as error:
            raise ModelError(f"{target} cannot be written: {error.strerror}.", "Name another file with -o.") from error
        path = folder / target.name
        data = _write(model, path, external=external)
        size = sum(file.stat().st_size for file in folder.iterdir())
        yield Staged(path=path, target=target, size_bytes=size, data=data)


@contextlib.contextmanager
def staged_copy(source: ModelFile, target: Path) -> Iterator[Staged]:
    """Write a model as it was read, byte for byte where its weights are inside, into a folder as `staged` does.

    Raises:
        ModelError: As for `staged`.
    """
    with staged(source.model, target, external=source.external) as copy:
        if not source.external:
            shutil.copyfile(source.path, copy.path)
        size = sum(file.stat().st_size for file in copy.path.parent.iterdir())
        yield replace(copy, size_bytes=size, data=copy.data if source.external else None)


def _write(model: ir.Model, path: Path, *, external: bool) -> Path | None:
    """Write a model; returns the path of its data file, if it has one."""
    try:
        encoded = None if external else encode(model)
        if encoded is None or encoded.size_bytes > INLINE_LIMIT_BYTES:
            return _write_external(model, path)
        with path.open("wb") as file:
            file.writelines(encoded.pieces())
    except OSError as error:
        raise ModelError(
            f"{path.name} cannot be written: {error.strerror or error}.", "Is there room on the disk?"
        ) from error
    return None


def _write_external(model: ir.Model, path: Path) -> Path | None:
    take_in_small(model, EXTERNAL_THRESHOLD_BYTES)
    data = path.with_name("weights")
    large = sum(value.const_value is not None for value in model.graph.initializers.values())
    with as_valid_onnx(), counted(large) as advance:
        ir.save(
            model, path, external_data=data.name, size_threshold_bytes=EXTERNAL_THRESHOLD_BYTES,
            callback=lambda tensor, at: advance(at.index + 1, at.total),
        )  # fmt: skip
    if has_maps(model):
        path.write_bytes(put_back(model, onnx.load(path, load_external_data=False)).SerializeToString())
    if data.stat().st_size:
        return named_by_content(path, data)
    data.unlink()
    return None
