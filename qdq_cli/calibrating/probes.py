"""Draw the portrait of a model: run it on made-up samples, note what its tensors hold, and mark its weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.portrait import InputShape, Portrait, Reading, Span, WeightMark, mark_weight, uniform
from qdq_cli.calibrating.calibration_data import input_specs
from qdq_cli.data.inputs import InputSpec, batch_axis
from qdq_cli.model.fingerprint import RECIPE
from qdq_cli.model.nodes import FLOAT_TYPES, constant_at, every_node, inner_graphs, input_at, is_constant, is_op
from qdq_cli.placement.topology import float_tensors
from qdq_cli.process.errors import ModelError
from qdq_cli.process.interrupts import insist
from qdq_cli.running.outputs import part_for
from qdq_cli.running.session import SessionOptions, as_model_error, make_session

_INTERVALS = ((0.0, 1.0), (-2.0, 2.0), (-60.0, 60.0))
"""One made-up sample each: pixels, normalized values, and values that reach what operators cut off."""

_LARGEST_INTEGER = 2  # integers are 0 and 1: valid as a mask, as a token and as an index
_MOST_BYTES = 256 << 20  # of tensors taken out at a time, as far as their sizes are known
_MOVING = ("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Expand")
"""Operators behind which a tensor holds the values it held before, in another order."""

Feed = dict[str, NDArray[np.generic]]


def draw_portrait(model: ir.Model, inputs: Sequence[InputShape]) -> Portrait:
    """Run a prepared model on made-up samples, one at a time, and describe what it computes.

    Args:
        model: Left as it is. Where ONNX Runtime cannot run it, its tensors have no spans.
        inputs: What to feed, in the order of the model's inputs.
    """
    specs = input_specs(model)
    names = float_tensors(model.graph)
    spans: list[Mapping[str, Span]] = [{} for _ in _INTERVALS]
    for part in _parts(model.graph, names):
        for number, found in enumerate(_run(model, part, [_feed(specs, inputs, place) for place in _INTERVALS])):
            spans[number] = {**spans[number], **found}
    sources = _sources(model.graph)
    readings = tuple(
        Reading(name, *sources[name], tuple(found.get(name) for found in spans)) for name in names if name in sources
    )
    marks = sorted(weight_marks(model.graph).values(), key=lambda mark: (mark.exact, mark.size, mark.is_bias))
    return Portrait(tuple(inputs), readings, tuple(dict.fromkeys(marks)))


def input_shapes(model: ir.Model, shapes: Sequence[tuple[int, ...]]) -> tuple[InputShape, ...]:
    """Say what to feed a model that takes samples of these shapes, one shape an input.

    Raises:
        DataError: An input is no tensor.
    """
    specs = input_specs(model)
    stacked = batch_axis(specs).stacked
    return tuple(
        InputShape(spec.name, spec.dtype.name, _one_sample(shape, stacked=stacked), stacked)
        for spec, shape in zip(specs, shapes, strict=True)
    )


def _one_sample(shape: tuple[int, ...], *, stacked: bool) -> tuple[int, ...]:
    sizes = [max(1, size) for size in shape]
    return (1, *sizes[1:]) if stacked else tuple(sizes)


def weight_marks(graph: ir.Graph) -> dict[ir.Value, WeightMark]:
    """Return the mark of every float weight that a node reads, those in bodies included."""
    found: dict[ir.Value, WeightMark] = {}
    for node in every_node(graph):
        for slot, value in enumerate(node.inputs):
            if value is None or value in found or not is_constant(value) or value.dtype not in FLOAT_TYPES:
                continue
            folded = is_op(node, "Conv", "ConvTranspose") and len(node.inputs) > 2 and slot > 0
            tensor = value.const_value
            rounded = folded or RECIPE in value.meta
            if tensor is not None and (mark := mark_weight(_without_copies(tensor.numpy()), rounded=rounded)):
                found[value] = mark
    return found


def _without_copies(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return one slice of a weight that holds the same slice again and again along axis 0.

    An exporter with a fixed batch writes a class token once for every sample, one with an open batch a single time.
    """
    if array.ndim < 2 or len(array) < 2 or not np.array_equal(array[0], array[1]):
        return array
    return array[:1] if bool((array == array[0]).all()) else array


def weights_read(node: ir.Node, marks: Mapping[ir.Value, WeightMark]) -> Iterator[ir.Value]:
    """Yield the weights a node reads, those of its bodies included."""
    inside = itertools.chain.from_iterable(every_node(body) for body in inner_graphs(node))
    for reader in (node, *inside):
        yield from (value for value in reader.inputs if value is not None and value in marks)


def _sources(graph: ir.Graph) -> dict[str, tuple[str, str]]:
    """Name -> (operator, name of the tensor) that computed a tensor's values, however they were moved since."""
    found = {value.name or "": ("", value.name or "") for value in graph.inputs}
    for node in graph:
        kept = _kept(node)
        known = found.get(kept.name or "") if kept is not None else None
        for value in node.outputs:
            found[value.name or ""] = known or (node.op_type, value.name or "")
    return found


_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}
"""What an operand does nothing with; exporters write a LayerNormalization without scale and bias that way."""


def _kept(node: ir.Node) -> ir.Value | None:
    """Return the operand whose values a node hands on, all of them and no others; None where it computes."""
    if is_op(node, *_MOVING):
        return input_at(node, 0)
    if is_op(node, *_NEUTRAL):
        for slot in (1, 0) if node.op_type in ("Add", "Mul") else (1,):
            constant = constant_at(node, slot)
            if constant is not None and constant.size and bool((constant == _NEUTRAL[node.op_type]).all()):
                return input_at(node, 1 - slot)
    return None


def _parts(graph: ir.Graph, names: Sequence[str]) -> Iterator[list[str]]:
    """Cut the tensors into portions that fit into memory together."""
    values = {value.name: value for value in (*graph.inputs, *(out for node in graph for out in node.outputs))}
    fed = {value.name for value in graph.inputs}
    part: list[str] = []
    room = _MOST_BYTES
    for name in (name for name in names if name not in fed):
        shape = values[name].shape
        size = 4 * math.prod(dim if isinstance(dim, int) else 1 for dim in shape) if shape is not None else 0
        if part and size > room:
            yield part
            part, room = [], _MOST_BYTES
        part.append(name)
        room -= size
    if part:
        yield part


def _run(model: ir.Model, names: Sequence[str], feeds: Sequence[Feed]) -> Iterator[dict[str, Span]]:
    """Run the part of a model that makes these tensors; yields name -> span for each sample, {} if it does not run."""
    try:
        part = part_for(model, names)
        session = make_session(part.source, SessionOptions(threads=1, optimize=False))
    except ModelError:
        yield from ({} for _ in feeds)
        return
    taken = [value.name for value in part.model.graph.output]
    fed = {value.name for value in session.get_inputs()}
    for feed in feeds:
        insist()
        found: dict[str, Span] = {}
        try:
            with as_model_error("run the model on a made-up sample"):
                arrays = session.run(None, {name: array for name, array in feed.items() if name in fed})
        except ModelError:
            yield {}
            continue
        for name, array in (*feed.items(), *zip(taken, arrays, strict=True)):
            if array.dtype.kind in "fV" and (span := _span(array)) is not None:
                found[name] = span
        yield found


def _span(array: NDArray[np.generic]) -> Span | None:
    """Describe the values of a tensor; None where it is empty or not finite."""
    values = array.astype(np.float64, copy=False)
    if not values.size or not np.isfinite(values).all():
        return None
    found = (values.min(), values.max(), values.mean(), np.sqrt(np.square(values).mean()))
    return tuple(float(np.float32(number)) for number in found)  # type: ignore[return-value]


def _feed(specs: Sequence[InputSpec], inputs: Sequence[InputShape], interval: tuple[float, float]) -> Feed:
    """Make one sample up, repeated as often as the model's batch is fixed to."""
    batch = batch_axis(specs)
    feed: Feed = {}
    for number, (spec, given) in enumerate(zip(specs, inputs, strict=True)):
        seed = number * len(_INTERVALS) + _INTERVALS.index(interval)
        values = uniform(math.prod(given.shape), seed).reshape(given.shape)
        array = _of_type(spec.dtype, values, interval)
        feed[spec.name] = np.concatenate([array] * batch.size) if batch.stacked and batch.size else array
    return feed


def _of_type(
    dtype: np.dtype[np.generic], values: NDArray[np.float64], interval: tuple[float, float]
) -> NDArray[np.generic]:
    low, high = interval
    if dtype.kind in ("f", "V"):
        return (low + (high - low) * values).astype(dtype)
    if dtype == np.uint8:
        return (255 * values).astype(dtype)
    if dtype.kind == "O":
        return np.where(values < 0.5, "a", "b").astype(object)
    return (_LARGEST_INTEGER * values).astype(dtype)
