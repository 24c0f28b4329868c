"""The compiler's descriptions of layers as records: one line of text a layer, read leniently."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from qdq_cli.building.record import Kernel, KernelTensor

TYPE_BITS = {
    "FP32": 32, "FP16": 16, "BF16": 16, "FP8": 8, "FP4": 4, "INT64": 64, "INT32": 32, "INT8": 8, "UINT8": 8,
    "INT4": 4, "BOOL": 8,
}  # fmt: skip
"""Element type -> bits of an element."""

_NAMES = {
    "Float": "FP32", "Half": "FP16", "BFloat16": "BF16", "FP4E2M1": "FP4", "Int64": "INT64", "Int32": "INT32",
    "Int8": "INT8", "UInt8": "UINT8", "Int4": "INT4", "Bool": "BOOL",
}  # fmt: skip
"""The compiler's names of types -> ours."""

_HEAD = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), ")
_TENSOR = re.compile(r"Name: (.*?), Dimensions: \[([-\d,]*)\], .*?Datatype: (\w+)")
_NODES = "Metadata: "
_NODE = "[ONNX Layer: "
_PARTS = ("Inputs: [", "Constants: [", "Outputs: [", "TacticName: ")


def kernels_of(lines: Iterable[str]) -> tuple[Kernel, ...]:
    """Read the descriptions of layers; a line that is none is passed over, and what moves nothing.

    Where an engine runs on several streams, such layers let one wait for another.
    """
    found = (_kernel(line) for line in lines)
    return tuple(kernel for kernel in found if kernel is not None and (kernel.reads or kernel.writes))


def _kernel(line: str) -> Kernel | None:
    head = _HEAD.match(line)
    if head is None:
        return None
    reads, weights, writes = (tuple(_tensors(text)) for text in _split(line[head.end() :]))
    return Kernel(head["name"], head["kind"], reads, weights, writes, _nodes(line))


def _split(text: str) -> tuple[str, str, str]:
    """Cut a description into what the kernel reads, its constants, and what it writes; a part may be missing."""
    places = [text.find(part) for part in _PARTS]
    ends = [
        next((end for end in places[number + 1 :] if end > start), len(text)) if start >= 0 else 0
        for number, start in enumerate(places)
    ]
    parts = [text[start:end] if start >= 0 else "" for start, end in zip(places, ends, strict=True)]
    return parts[0], parts[1], parts[2]


def _tensors(text: str) -> Iterator[KernelTensor]:
    for name, sizes, word in _TENSOR.findall(text):
        dims = tuple(int(size) for size in sizes.split(",") if size not in ("", "-"))
        yield tensor_of(name, word, dims)


def tensor_of(name: str, word: str, dims: tuple[int, ...]) -> KernelTensor:
    """Make the record of a tensor from the compiler's name of its type."""
    kind = _NAMES.get(word, word.upper())
    bits = TYPE_BITS.get(kind)
    known = bits is not None and all(dim >= 0 for dim in dims)
    return KernelTensor(name, kind, dims, -(-math.prod(dims) * bits // 8) if known and bits else None)


def _nodes(line: str) -> tuple[str, ...]:
    _, _, text = line.rpartition(f", {_NODES}")
    _, *others = text.split(_NODE)
    names = [name[: name.rfind("]")] if "]" in name else name for name in others]
    return tuple(dict.fromkeys(names))
