"""What a page wants to know of a model that simulating it takes apart: operators, shapes, ends, and stored ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from calibrators import QTYPES
from qdq_cli.model.nodes import input_at
from qdq_cli.model.scales import is_dequantize, is_pair_half, is_quantize, kept_range, stored_type, tensor_scale
from qdq_cli.screen.anchors import channels_of
from qdq_cli.screen.page import BoxRow
from qdq_cli.screen.page_text import number
from qdq_cli.screen.sentences import count_text


@dataclass(frozen=True)
class Origin:
    """A model before it is simulated.

    Args:
        operators: Node -> its operator.
        inputs: Graph inputs that are no constants.
        outputs: Graph output -> the tensor it is, in float, before Q, DQ and Identity.
        shapes: Tensor -> its shape, such as `1x64x56x56`.
        ranges: Tensor -> the range that its Q keeps.
    """

    operators: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    shapes: Mapping[str, str]
    ranges: Mapping[str, str]


def origin_of(model: ir.Model) -> Origin:
    """Read what a page needs; no weight is read.

    Args:
        model: A model with inferred shapes; not changed.
    """
    graph = model.graph
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    return Origin(
        operators={node.name or "": node.op_type for node in graph},
        inputs=tuple(value.name or "" for value in graph.inputs if (value.name or "") not in graph.initializers),
        outputs={value.name or "": _before(value).name or "" for value in graph.outputs},
        shapes={value.name or "": _shape(value.shape) for value in values if value.shape is not None},
        ranges=dict(_ranges(graph)),
    )


def _before(value: ir.Value) -> ir.Value:
    """Return the float tensor that a value is, whatever Q, DQ and Identity stand between."""
    while (node := value.producer()) is not None and (is_pair_half(node) or node.op_type == "Identity"):
        source = input_at(node, 0)
        if source is None:
            break
        value = source
    return value


def _shape(shape: ir.Shape) -> str:
    return "x".join(str(dim) if isinstance(dim, int) else (dim.value or "?") for dim in shape) or "scalar"


def _ranges(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    for node in graph:
        source, scale = input_at(node, 0), tensor_scale(node) if is_quantize(node) else None
        kept = None if scale is None else kept_range(scale)
        if source is not None and scale is not None and kept is not None:
            ends = f"{number(float(kept.minimum))} to {number(float(kept.maximum))}"
            yield source.name or "", f"{ends}, {scale.qtype.name}, scale {number(scale.scale)}"


def stored_channels(model: ir.Model) -> tuple[BoxRow, ...]:
    """Measure how far the scales of stored weights lie apart: amax of each channel, as its scale keeps it.

    Args:
        model: A Q/DQ model; of its weights nothing is read but the scales.
    """
    return tuple(row for node in model.graph if is_dequantize(node) for row in _channels(node))


def _channels(node: ir.Node) -> Iterator[BoxRow]:
    scale, source = input_at(node, 1), input_at(node, 0)
    if source is None or _before(source).const_value is None or scale is None or scale.const_value is None:
        return
    qtype = QTYPES.get(stored_type(node).name.lower())
    if qtype is None:  # INT32 is for biases
        return
    amax = np.abs(scale.const_value.numpy().astype(np.float64)).ravel() * qtype.steps
    if not amax.size or not np.isfinite(amax).all():
        return
    least, first, median, third, most = np.quantile(amax, (0, 0.25, 0.5, 0.75, 1)).tolist()
    note = "one scale" if amax.size == 1 else count_text(amax.size, "scale")
    for reader in dict.fromkeys(use.node.name or "" for use in node.outputs[0].uses()):
        yield BoxRow(reader, (least, first, median, third, most), (), note, channels_of(reader))
