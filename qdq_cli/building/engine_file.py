"""Read what trtexec writes about an engine on the user's own device: its layers, and the time each of them takes.

The layers come from `--exportLayerInfo` with `--profilingVerbosity=detailed`, the times from `--exportProfile`.

Source: TensorRT documentation, "Engine inspector"; the spellings of its releases as NVIDIA's Engine Explorer reads them
(TensorRT repository, tools/experimental/trt-engine-explorer): `Bindings` became `I/O Tensors`, layers name ONNX nodes
in `Metadata` from 8.6 on and in their own name alone before, and a profile that is not the first is named in brackets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qdq_cli.building.layers import tensor_of
from qdq_cli.building.record import Kernel, KernelTensor
from qdq_cli.process.errors import DataError

_TYPE = re.compile(
    r"\b(BFloat16|BF16|FP32|FP16|FP8|FP4E2M1|FP4|Float|Half|Int64|Int32|Int8|Int4|UInt8|Bool)\b", re.IGNORECASE
)
"""Types as they stand somewhere in the description of a format."""

_TYPE_KEYS = ("Datatype", "DataType", "Format/Datatype")
"""Under which of these a release describes the type of a tensor."""

_SPELLED = {
    "bfloat16": "BF16", "fp4e2m1": "FP4", "float": "FP32", "half": "FP16",
}  # fmt: skip

_IN_METADATA = re.compile(r"\[ONNX Layer: (.*?)\](?=$|[\x1e\x1f]|\[ONNX Layer: )")
_JOINED = re.compile(r" \+ | \|\| |[\x1e\x1f]|, ")
_WRAPPED = re.compile(r"^(?:PWN\(|\{?ForeignNode\[)+|[\])}]+$")
_CLONE = re.compile(r"_clone_\d+$")
_OTHER_PROFILE = re.compile(r"\[profile +\d+\]")

DETAILED = "Build or load the engine with trtexec --exportLayerInfo=FILE --profilingVerbosity=detailed."


def read_layers(path: Path) -> tuple[Kernel, ...]:
    """Return the layers of an engine, those of its first optimization profile.

    Raises:
        DataError: The file cannot be read, or does not say which tensors layers read.
    """
    document = _document(path)
    layers = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(layers, list) or not layers:
        raise DataError(f"{path} holds no list of layers of an engine.", DETAILED)
    if not all(isinstance(layer, dict) and "Inputs" in layer for layer in layers):
        raise DataError(f"{path} names the layers of an engine and does not describe them.", DETAILED)
    return tuple(_kernel(layer) for layer in layers if not _OTHER_PROFILE.search(str(layer.get("Name", ""))))


def read_times(path: Path) -> dict[str, float]:
    """Return layer -> its mean time in milliseconds.

    Raises:
        DataError: The file cannot be read, or holds no times of layers.
    """
    document = _document(path)
    entries = document if isinstance(document, list) else []
    times: dict[str, float] = {}
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("averageMs"), int | float):
            name = str(entry.get("name", ""))
            times[name] = times.get(name, 0.0) + float(entry["averageMs"])
    if not times:
        raise DataError(f"{path} holds no times of layers.", "Write it with trtexec --exportProfile=FILE.")
    return times


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON: {error}.", "Write it with trtexec again.") from error


def _kernel(layer: Mapping[str, Any]) -> Kernel:
    name, kind = str(layer.get("Name", "")), str(layer.get("LayerType", ""))
    constants = [(key, layer[key]) for key in ("Weights", "Bias") if isinstance(layer.get(key), dict)]
    weights = tuple(
        _tensor(key, str(held.get("Type", "")), [held.get("Count", 0)]) for key, held in constants if held.get("Count")
    )
    listed = tuple(_tensors(layer.get("Constants")))
    return Kernel(
        name, kind, tuple(_tensors(layer.get("Inputs"))), weights + listed, tuple(_tensors(layer.get("Outputs"))),
        _nodes(name, str(layer.get("Metadata", ""))),
    )  # fmt: skip


def _tensors(entries: object) -> Iterator[KernelTensor]:
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            word = str(next((entry[key] for key in _TYPE_KEYS if entry.get(key)), ""))
            yield _tensor(str(entry.get("Name", "")), word, entry.get("Dimensions"))


def _tensor(name: str, word: str, dims: object) -> KernelTensor:
    found = _TYPE.search(word)
    kind = "" if found is None else _SPELLED.get(found[1].lower(), found[1].upper())
    sizes = tuple(dim for dim in dims if isinstance(dim, int)) if isinstance(dims, Sequence) else ()
    return tensor_of(name, kind, sizes)


def _nodes(name: str, metadata: str) -> tuple[str, ...]:
    """Return the ONNX nodes of a layer; before 8.6 its own name is all there is, made of theirs."""
    named = _IN_METADATA.findall(metadata)
    if not named:
        named = [_CLONE.sub("", _WRAPPED.sub("", part.strip()).strip()) for part in _JOINED.split(name)]
    return tuple(dict.fromkeys(filter(None, named)))
