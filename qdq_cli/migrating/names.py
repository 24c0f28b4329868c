"""Whose names a calibration table of TensorRT holds: tensors of the model, its importer's own, or another model's."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_MADE = re.compile(r"\(Unnamed Layer\* \d+\) \[.*\].*|ONNXTRT_.*")
"""Layers that the importer made and nobody named: constants, shuffles, casts; and those it named itself."""

_RESULT = "_output"
"""What TensorRT puts behind a layer's name for a tensor that has none of its own."""


@dataclass(frozen=True)
class Names:
    """The names of a calibration table, sorted out.

    Args:
        matched: Tensors of the model.
        importers: Of layers that TensorRT's importer made of constants and shapes; ONNX has no such tensor.
        unknown: Neither of them.
    """

    matched: tuple[str, ...]
    importers: tuple[str, ...]
    unknown: tuple[str, ...]


def sort_out(names: Iterable[str], tensors: Collection[str], constants: Collection[str]) -> Names:
    """Sort the names of a calibration table, in their order.

    Args:
        names: They.
        tensors: Names of the model's tensors, in the bodies of If, Loop and Scan too.
        constants: Names of its constants and nodes.
    """
    matched, importers, unknown = [], [], []
    for name in names:
        if name in tensors:
            matched.append(name)
        elif _MADE.fullmatch(name) or name in constants or name.removesuffix(_RESULT) in constants:
            importers.append(name)
        else:
            unknown.append(name)
    return Names(tuple(matched), tuple(importers), tuple(unknown))
