"""Weights in files beside the model: find them, and refuse every location that leads somewhere else.

A model names its data files itself, so a crafted one could name any file of the machine. A location is used only if it
stays inside the model's folder by name, and if the file it really leads to lies in that folder or, for snapshots of a
hub cache (model and data are links into one folder of blobs), in the folder the model itself really lies in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import numpy as np
import onnx_ir as ir

from qdq_cli.model.nodes import every_body, every_node
from qdq_cli.process.errors import ModelError


def bind_external_data(model_path: Path, model: ir.Model) -> tuple[Path, ...]:
    """Point every external tensor of a model at its checked file; returns the files, links followed.

    Initializers stay on disk and are memory-mapped when they are read; tensors in attributes become views of the map.

    Args:
        model_path: Absolute path of the .onnx file.
        model: The model as deserialized; its external tensors know their locations alone.

    Raises:
        ModelError: A file is missing, too short, or not the model's own.
    """
    files: dict[str, Path] = {}
    for value, tensor in _external_initializers(model, with_functions=True):
        value.const_value = _bound(model_path, tensor, files)
    for node, attribute in _external_attributes(model):
        tensors = [
            _in_memory(_bound(model_path, tensor, files)) if isinstance(tensor, ir.ExternalTensor) else tensor
            for tensor in _tensors_of(attribute)
        ]
        node.attributes[attribute.name] = (
            ir.AttrTensor(attribute.name, tensors[0])
            if attribute.type == ir.AttributeType.TENSOR
            else ir.AttrTensors(attribute.name, tensors)
        )
    return tuple(dict.fromkeys(files.values()))


def external_initializers(model: ir.Model) -> list[tuple[ir.Value, ir.ExternalTensor]]:
    """Return the initializers of a model whose data is on disk, those of If/Loop bodies included."""
    return list(_external_initializers(model, with_functions=False))


def take_in_small(model: ir.Model, most_bytes: int) -> None:
    """Let tensors of up to `most_bytes` be no external ones any more; they are views of the mapped file, which stays.

    onnx-ir, when it saves, closes the file of each such tensor, which fails while anything else still looks into it.
    """
    for value, tensor in _external_initializers(model, with_functions=True):
        if tensor.nbytes <= most_bytes:
            value.const_value = _in_memory(tensor)


def _external_initializers(model: ir.Model, *, with_functions: bool) -> Iterator[tuple[ir.Value, ir.ExternalTensor]]:
    graphs = [model.graph, *every_body(model.graph)]
    if with_functions:
        graphs += [body for function in model.functions.values() for body in function.subgraphs()]
    for graph in graphs:
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value, value.const_value


def _external_attributes(model: ir.Model) -> list[tuple[ir.Node, ir.Attr]]:
    """Return the attributes that hold external tensors, with their nodes: Constant nodes may, in functions too."""
    places: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    return [
        (node, attribute)
        for place in places
        for node in every_node(place)
        for attribute in node.attributes.data.values()
        if any(isinstance(tensor, ir.ExternalTensor) for tensor in _tensors_of(attribute))
    ]


def _tensors_of(attribute: ir.Attr) -> Iterator[ir.TensorProtocol]:
    if attribute.is_ref():
        return
    if attribute.type == ir.AttributeType.TENSOR:
        yield attribute.as_tensor()
    elif attribute.type == ir.AttributeType.TENSORS:
        yield from attribute.as_tensors()


def _in_memory(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)


def _bound(model_path: Path, tensor: ir.ExternalTensor, files: dict[str, Path]) -> ir.TensorProtocol:
    """Return the tensor that reads the checked file; `files` remembers location -> file."""
    location = str(tensor.location)
    if location not in files:
        files[location] = _checked_file(model_path, location)
    file = files[location]
    _check_extent(tensor, file)
    if tensor.size == 0:  # nothing can be mapped
        return ir.Tensor(np.empty(tensor.shape.numpy(), tensor.dtype.numpy()), dtype=tensor.dtype, name=tensor.name)
    # onnx-ir checks containment too, each time it opens a file; it follows no links out of the base folder.
    root = next(place for place in _allowed_folders(model_path) if file.is_relative_to(place))
    return ir.ExternalTensor(
        file.relative_to(root).as_posix(),
        tensor.offset,
        tensor.nbytes,
        tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
        base_dir=root,
    )


def _check_extent(tensor: ir.ExternalTensor, file: Path) -> None:
    """Refuse a tensor that does not lie inside its file, or not as large as its shape."""
    offset, length = tensor.offset or 0, tensor.nbytes if tensor.length is None else tensor.length
    if length != tensor.nbytes:
        raise ModelError(
            f"The tensor '{tensor.name}' of shape {list(tensor.shape)} takes {tensor.nbytes:,} bytes, "
            f"but its entry says {length:,} bytes of {file.name}.",
            "Export the model again.",
        )
    size = file.stat().st_size
    if offset + length > size:
        raise ModelError(
            f"The external data file {file} is cut off: the tensor '{tensor.name}' ends at byte {offset + length:,}, "
            f"the file has {size:,}.",
            "Copy the data file again.",
        )


def _checked_file(model_path: Path, location: str) -> Path:
    """Return the real file of a location, refusing anything that is not the model's own.

    Raises:
        ModelError: It is missing, lies outside, or is a hard link.
    """
    folder = model_path.parent
    file = Path(os.path.abspath(folder / location))  # noqa: PTH100 - "..": by name first, links below
    absolute = Path(location).is_absolute() or PureWindowsPath(location).is_absolute()
    if not location or absolute or not file.is_relative_to(folder):
        raise ModelError(
            f"The external data '{location}' of {model_path} points outside the model's folder, which is refused.",
            "Put the data file beside the model and export again.",
        )
    try:
        real = file.resolve()
        found = real.is_file()
    except (OSError, RuntimeError, ValueError):  # a name too long, a circle of links, a NUL character
        found = False
    if not found:
        raise ModelError(
            f"The external data file {file} of {model_path} does not exist.",
            "Copy it beside the model; the weights are in it.",
        )
    if not any(real.is_relative_to(place) for place in _allowed_folders(model_path)):
        raise ModelError(
            f"The external data file {file} is a link that leads outside the model's folder (to {real}), "
            "which is refused.",
            "Copy the data file itself beside the model.",
        )
    links = real.stat().st_nlink
    if links > 1:
        raise ModelError(
            f"The external data file {file} has {links} hard links, which is refused: "
            "it could be any other file under a new name.",
            f"Make it a file of its own: cp '{file.name}' tmp && mv tmp '{file.name}'.",
        )
    return real


def _allowed_folders(model_path: Path) -> tuple[Path, Path]:
    return model_path.parent.resolve(), model_path.resolve().parent
