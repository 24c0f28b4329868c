"""The one room that opens and writes ONNX model files.

Loading keeps weights on disk (memory-mapped) and refuses what would break later: an empty or foreign file, external
data that is missing, too short or outside the model's folder, sparse initializers and training info (which the graph
library drops). Writing is staged: the model is finished in a temporary folder beside its target, can be checked and run
there, and is moved into place only by `Staged.commit`; nothing is left behind otherwise.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir

from qdq_cli.errors import ModelError, UsageError

INLINE_LIMIT_BYTES = 1_800_000_000
"""Weights above this go into a data file beside the model: protobuf ends at 2 GiB, and the graph needs room too."""

EXTERNAL_THRESHOLD_BYTES = 1024
"""Tensors below this stay inside the model even when the weights go into a data file (scales, shapes)."""


@dataclass(frozen=True)
class ModelFile:
    """A model as it was read.

    Args:
        path: Absolute path of the .onnx file, symbolic links not followed.
        model: The graph; large weights are memory-mapped, not read.
        size_bytes: Size of the .onnx file and of its external data files together.
        external: True where the weights are in data files beside the model.
    """

    path: Path
    model: ir.Model
    size_bytes: int
    external: bool


def load(path: Path) -> ModelFile:
    """Read an ONNX model; weights in external data files stay on disk.

    Args:
        path: The .onnx file; relative paths, spaces and symbolic links (hub snapshots) are fine.

    Raises:
        ModelError: The file is missing, empty, not ONNX, truncated, or its external data cannot be used.
    """
    # An absolute path: with a bare file name onnx-ir would take an empty base folder and skip its path checks.
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() keeps "..", resolve() follows links
    proto = _read_proto(path)
    _refuse_what_would_be_lost(path, proto)
    try:
        model = ir.serde.deserialize_model(proto)
    except (ValueError, TypeError, KeyError, ir.serde.SerdeError) as error:
        raise ModelError(f"{path} is not a well-formed ONNX model: {_first_line(error)}.") from error
    tensors = _external_tensors(model)
    data_files = _bind_external_data(path, tensors)
    size = path.stat().st_size + sum(file.stat().st_size for file in data_files)
    return ModelFile(path=path, model=model, size_bytes=size, external=bool(tensors))


def _read_proto(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise ModelError(f"{path} is a folder, not an ONNX file.", "Name the .onnx file inside it.")
    if not path.exists():
        what = "is a symbolic link to nothing" if path.is_symlink() else "does not exist"
        raise ModelError(f"{path} {what}.", "Check the path of the model.")
    proto = onnx.ModelProto()
    try:
        data = path.read_bytes()
        proto.ParseFromString(data)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    except google.protobuf.message.DecodeError as error:
        raise ModelError(
            f"{path} is not an ONNX model, or is cut off: its {len(data):,} bytes do not parse as one.",
            "Export it again, or fetch the file again (a Git LFS pointer is a short text file).",
        ) from error
    if not data:
        raise ModelError(f"{path} is empty (0 bytes).", "Export or copy the model again.")
    if not proto.ir_version or not proto.graph.output:
        raise ModelError(
            f"{path} is not a usable ONNX model: it has IR version {proto.ir_version} and "
            f"{len(proto.graph.output)} graph outputs.",
            "A model needs an IR version of at least 3 and an output.",
        )
    return proto


def _refuse_what_would_be_lost(path: Path, proto: onnx.ModelProto) -> None:
    """Refuse what the graph library drops on save, and what the inliner cannot follow."""
    if proto.graph.sparse_initializer:
        name = proto.graph.sparse_initializer[0].values.name
        raise ModelError(
            f"{path} holds the sparse initializer '{name}', which cannot be kept.",
            "Store it as a dense initializer.",
        )
    if proto.training_info:
        raise ModelError(f"{path} holds training info, which cannot be kept.", "Export the model for inference.")


def _external_tensors(model: ir.Model) -> list[ir.ExternalTensor]:
    return [
        value.const_value
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    ]


def _bind_external_data(model_path: Path, tensors: list[ir.ExternalTensor]) -> set[Path]:
    """Point every external tensor at its checked file; returns the files."""
    files: dict[str, Path] = {}
    for tensor in tensors:
        location = str(tensor.location)
        if location not in files:
            files[location] = _data_file(model_path, location)
        file = files[location]
        end = (tensor.offset or 0) + (tensor.length if tensor.length is not None else tensor.nbytes)
        size = file.stat().st_size
        if end > size:
            raise ModelError(
                f"External data file {file} is cut off: tensor '{tensor.name}' ends at byte {end:,}, "
                f"the file has {size:,}.",
                "Copy the data file again.",
            )
        # A hub snapshot links both files into one blob folder; onnx-ir wants the name it will open to lie in its base.
        real = file.resolve()
        same_folder = real.parent == file.parent.resolve()
        tensor.base_dir = model_path.parent if same_folder else real.parent
        if not same_folder:
            tensor._location = real.name  # read-only property; a new tensor would lose its users
    return set(files.values())


def _data_file(model_path: Path, location: str) -> Path:
    """Resolve the location of external data, refusing anything outside the folder of the model."""
    folder = model_path.parent
    file = Path(os.path.abspath(folder / location))  # noqa: PTH100 - "..": by name first, links below
    if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
        raise ModelError(
            f"External data '{location}' of {model_path} points outside the model's folder, which is refused.",
            "Put the data file beside the model and export again.",
        )
    if not file.is_file():
        raise ModelError(
            f"External data file {file} of {model_path} does not exist.",
            "Copy it beside the model; the weights are in it.",
        )
    allowed = {folder.resolve(), model_path.resolve().parent}
    if not any(file.resolve().is_relative_to(place) for place in allowed):
        raise ModelError(
            f"External data file {file} is a link that leads outside the model's folder (to {file.resolve()}), "
            "which is refused.",
            "Copy the data file itself beside the model.",
        )
    if file.stat().st_nlink > 1:
        raise ModelError(
            f"External data file {file} has {file.stat().st_nlink} hard links, which is refused: "
            "it could be any other file under a new name.",
            f"Make it a file of its own: cp '{file.name}' tmp && mv tmp '{file.name}'.",
        )
    return file


@dataclass(frozen=True)
class Staged:
    """A finished model in a temporary folder beside its target.

    Args:
        path: The staged .onnx file, for checks and runs.
        target: Where `commit` puts it.
        size_bytes: Size of the staged files together.
    """

    path: Path
    target: Path
    size_bytes: int

    def commit(self) -> None:
        """Move the files into place, the data file first, each by an atomic replace.

        Raises:
            ModelError: The target cannot be written.
        """
        data = sorted(file for file in self.path.parent.iterdir() if file != self.path)
        try:
            for file in [*data, self.path]:
                os.replace(file, self.target.parent / file.name)  # noqa: PTH105 - the atomic call, by its name
        except OSError as error:
            raise ModelError(f"{self.target} cannot be written: {error.strerror}.") from error


def check_target(source: Path, target: Path) -> Path:
    """Return the absolute output path after making sure that it is none of the input's own files.

    Raises:
        UsageError: The output is the input, a folder, or lies in a folder that does not exist.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - keep links
    if target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"The output {target} is the input model itself.", "Name another file with -o.")
    if target.is_dir():
        raise UsageError(f"The output {target} is a folder.", "Name a file, such as model.qdq.onnx, with -o.")
    if not target.parent.is_dir():
        raise UsageError(f"The folder of the output, {target.parent}, does not exist.", "Create it first.")
    return target


@contextlib.contextmanager
def staged(model: ir.Model, target: Path, *, external: bool) -> Iterator[Staged]:
    """Write a model into a temporary folder beside its target; the folder is gone afterwards, committed or not.

    Args:
        model: The finished model.
        target: Absolute path the model is meant for.
        external: Keep the weights in `<target>.data`; also done when they do not fit into one protobuf.

    Raises:
        ModelError: The disk is full or the folder cannot be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}.") from error
    try:
        path = folder / target.name
        _write(model, path, external=external or _weights_bytes(model) > INLINE_LIMIT_BYTES)
        size = sum(file.stat().st_size for file in folder.iterdir())
        yield Staged(path=path, target=target, size_bytes=size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(model: ir.Model, path: Path, *, external: bool) -> None:
    try:
        if external:
            ir.save(
                model,
                path,
                external_data=f"{path.name}.data",
                size_threshold_bytes=EXTERNAL_THRESHOLD_BYTES,
            )
        else:
            path.write_bytes(serialized(model))
    except OSError as error:
        raise ModelError(
            f"{path.name} cannot be written: {error.strerror or error}.", "Is there room on the disk?"
        ) from error


def _weights_bytes(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


def serialized(model: ir.Model) -> bytes:
    """Return the model as protobuf bytes with every weight inside, the same bytes on every run.

    Raises:
        ModelError: The model does not fit into one protobuf (2 GiB).
    """
    if _weights_bytes(model) > INLINE_LIMIT_BYTES:
        raise ModelError(
            f"The weights take {_weights_bytes(model):,} bytes, more than one ONNX file holds (2 GiB).",
            "Keep them in an external data file.",
        )
    with _weights_in_memory(model):
        data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data


def runnable(model: ir.Model) -> tuple[bytes, Path | None]:
    """Return what an ONNX Runtime session is made from: protobuf bytes, and the folder of external data if any.

    Weights go inside where they fit into one protobuf; above that, those that are still on disk stay there.
    """
    if _weights_bytes(model) <= INLINE_LIMIT_BYTES:
        return serialized(model), None
    folders = {Path(tensor.base_dir) for tensor in _external_tensors(model)}
    if len(folders) > 1:
        raise ModelError(f"External data lies in {len(folders)} folders; one is supported above 2 GiB.")
    data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data, next(iter(folders), None)


@contextlib.contextmanager
def _weights_in_memory(model: ir.Model) -> Iterator[None]:
    """Let external tensors stand as in-memory views (of their memory maps) while the model is serialized."""
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    external = [(value, value.const_value) for value in values if isinstance(value.const_value, ir.ExternalTensor)]
    try:
        for value, tensor in external:
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
        yield
    finally:
        for value, tensor in external:
            value.const_value = tensor


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
