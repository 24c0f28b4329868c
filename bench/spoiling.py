"""Q/DQ models with one range spoiled on purpose: far too narrow or too wide, or mildly so with most others in float."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from qdq_cli.quantizing.report import Report

_CHOSEN = ("known", "given")

_KEPT = 0.25
"""Share of the other ranges that stay where a model is spoiled mildly."""


@dataclass(frozen=True)
class Spoiling:
    """One range to spoil.

    Args:
        number: Which of the model's places; those of even numbers may choose limits, those of odd ones judge them.
        tensors: The tensors of the scale group.
        factor: What its scale is multiplied with.
        floats: Tensors whose Q and DQ are taken out.
    """

    number: int
    tensors: tuple[str, ...]
    factor: float
    floats: tuple[str, ...] = ()


def spoilings(report: Report, seed: int, count: int) -> Iterator[Spoiling]:
    """Yield what to spoil; the kinds take turns, so that both halves of the numbers hold all four.

    Strongly: to between 0.7 and a fiftieth of what calibration chose, or to twice to 128 times that. Mildly: to between
    0.93 and 0.57, or to 1.1 to 2.8 times, three of four other ranges in float: a network that loses a little by itself
    could not show else what a small loss looks like.

    Args:
        report: What a plain run found.
        seed: Equal seeds spoil equal places.
        count: How many; a group comes twice only where there are fewer groups.
    """
    rng = np.random.default_rng(seed)
    groups = [
        group.tensors
        for group, amax, how in zip(report.groups, report.amax, report.chosen, strict=True)
        if group.observed and amax > 0 and how not in _CHOSEN
    ]
    order = rng.permutation(len(groups))
    for number in range(count if groups else 0):
        chosen = int(order[number % len(groups)])
        narrow, mild = (number // 2) % 2 == 0, (number // 4 + number // 2) % 2 == 1
        ends = ((0.1, 0.8) if narrow else (0.2, 1.5)) if mild else ((0.5, 5.5) if narrow else (1.0, 7.0))
        power = rng.uniform(*ends) * (-1 if narrow else 1)
        others = [place for place in range(len(groups)) if place != chosen and rng.random() >= _KEPT]
        floats = [tensor for place in others for tensor in groups[place]] if mild else []
        yield Spoiling(number, groups[chosen], float(2.0**power), tuple(floats))


def write_spoiled(plain: Path, spoiling: Spoiling, target: Path) -> None:
    """Write a Q/DQ model with one range spoiled.

    Args:
        plain: The Q/DQ model as it should be.
        spoiling: What to spoil.
        target: The file to write.
    """
    model = onnx.load(plain)
    _scale(model, spoiling.tensors, spoiling.factor)
    for graph in _graphs(model.graph):
        _leave_float(graph, frozenset(spoiling.floats))
        del graph.value_info[:]  # it would go on to call codes what is a float now
    onnx.save(model, target)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _scale(model: onnx.ModelProto, tensors: Sequence[str], factor: float) -> None:
    """Multiply the scales of some tensors; a constant that several read is changed once."""
    graphs = list(_graphs(model.graph))
    quantizes = [node for graph in graphs for node in graph.node if node.op_type == "QuantizeLinear"]
    scales = {node.input[1] for node in quantizes if node.input[0] in tensors}
    for graph in graphs:
        for constant in graph.initializer:
            if constant.name in scales:
                value = numpy_helper.to_array(constant)
                constant.CopyFrom(numpy_helper.from_array((value * factor).astype(value.dtype), constant.name))


def _leave_float(graph: onnx.GraphProto, tensors: Collection[str]) -> None:
    """Hand some tensors on in place of their codes."""
    codes = set()
    for node in graph.node:
        quantizes = node.op_type == "QuantizeLinear" and node.input[0] in tensors
        if quantizes or (node.op_type == "DequantizeLinear" and node.input[0] in codes):
            codes.update(node.output if quantizes else ())
            node.op_type = "Identity"
            del node.input[1:]
            del node.attribute[:]
