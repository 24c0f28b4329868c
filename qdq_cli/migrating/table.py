"""The calibration table of an old build, and the float model it was made for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from calibrators import Extremes, Range
from calibrators.cache_file import MAGIC
from calibrators.tensorrt_cache import is_tensorrt_cache
from qdq_cli.data.ranges import parse, read_bytes, unmatched
from qdq_cli.migrating.names import Names, sort_out
from qdq_cli.model.nodes import every_body, every_node
from qdq_cli.process.errors import DataError
from qdq_cli.screen.sentences import some_of


@dataclass(frozen=True)
class Table:
    """A calibration table as it was read.

    Args:
        file: Path of it.
        header: Its first line, for TensorRT's own; "" for others.
        ranges: Tensor name -> range, in the order of the file.
    """

    file: Path
    header: str
    ranges: Mapping[str, Range]

    def extremes(self, tensors: Collection[str]) -> dict[str, Extremes]:
        """Return how large these tensors get by the table; what was cut off above a range is not in it."""
        return {name: Extremes(kept.minimum, kept.maximum) for name, kept in self.ranges.items() if name in tensors}


def read_table(path: Path) -> Table:
    """Read a calibration table of TensorRT, or ranges of another tool.

    Raises:
        DataError: It cannot be read, is a calibration cache of qdq, of no known format, or broken.
    """
    data = read_bytes(path)
    if data.startswith(MAGIC):
        raise DataError(
            f"{path} is a calibration cache of qdq, not the calibration table of an old build.",
            "It serves as it is: qdq quantize MODEL --cache FILE --trt 11.",
        )
    text = data.decode("utf-8", "surrogateescape")
    ranges = parse(data, path)
    header = text.lstrip("\ufeff").split("\n", 1)[0].strip() if is_tensorrt_cache(text) else ""
    return Table(path, header, ranges)


def names_in(table: Table, model: ir.Model) -> Names:
    """Sort out whose names a table holds.

    Args:
        table: The table.
        model: The float model as it was read.

    Raises:
        DataError: None of the names, but for those of inputs and outputs, is a tensor of the model.
    """
    tensors = {name for name in _tensors(model) if name}
    names = sort_out(table.ranges, tensors, {name for name in _constants(model) if name})
    ends = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    inner = sorted(tensors - ends)
    if inner and not set(names.matched) - ends:
        sentence, hint = unmatched([*names.unknown, *names.importers], inner) or _OTHER_MODEL
        if names.matched:
            sentence = (
                f"Of the names in {table.file} the model has {some_of(names.matched)} alone, its inputs and outputs."
            )
        raise DataError(sentence, hint)
    return names


_OTHER_MODEL = ("", "Was it made for this model? Names change with every exporter; TensorRT keeps those of ONNX.")


def _tensors(model: ir.Model) -> Iterator[str | None]:
    for graph in (model.graph, *every_body(model.graph)):
        yield from (value.name for value in graph.inputs)
    yield from (value.name for node in every_node(model.graph) for value in node.outputs)


def _constants(model: ir.Model) -> Iterator[str | None]:
    for graph in (model.graph, *every_body(model.graph)):
        yield from graph.initializers
    yield from (node.name for node in every_node(model.graph))
