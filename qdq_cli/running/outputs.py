"""Take tensors out of a model: graph outputs where the tensors are, and nothing that only other outputs need.

ONNX Runtime's fastest layout on the CPU keeps the channels of convolutions in blocks. Every tensor that leaves the
graph is put back in plain order, at the price of one more pass over memory; a histogram does not care about order. So
the graph is optimized once, written to a temporary folder, and the blocked tensors themselves are made its outputs: on
a MobileNetV2 taking out 54 tensors then costs a tenth of the inference instead of six tenths.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import google.protobuf.message
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray

from qdq_cli.model.maps import put_back
from qdq_cli.model.nodes import every_body
from qdq_cli.model.ordinary import ordinary
from qdq_cli.process.errors import ModelError
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.running.blocks import Blocks, block_width
from qdq_cli.running.execution import current
from qdq_cli.running.extremes import hand_out_extremes, read_blocks
from qdq_cli.running.inside import hand_out_of_bodies
from qdq_cli.running.session import SessionOptions, Source, make_session

_LARGE_BYTES = 1024  # weights from this size on are handed to ONNX Runtime in place


@dataclass(frozen=True)
class TakeOut:
    """A session that hands out tensors of a model.

    Args:
        session: Its outputs are the computed tensors; values exact, elements of blocked tensors in another order. None
            where only inputs were asked for.
        tensors: Name of the tensor behind each output of the session, in the session's order, which is topological.
        inputs: Those asked for that are fed, not computed.
        extremes: Name of the tensor behind each pair of further outputs: its smallest and its largest value.
        blocked: Number of an output that is in blocks -> how its channels lie.
        shapes: Tensor in a body -> which of `tensors` holds its rank and sizes in every round.
        why: Why this way was taken, the blocks or plain order, to follow "since".
    """

    session: ort.InferenceSession | None
    tensors: tuple[str, ...]
    inputs: tuple[str, ...]
    extremes: tuple[str, ...] = ()
    blocked: Mapping[int, Blocks] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)
    why: str = ""


@contextlib.contextmanager
def taking_out(
    model: ir.Model,
    tensors: Sequence[str],
    threads: int,
    extremes: Sequence[str] = (),
    *,
    shaped: Collection[str] = (),
) -> Iterator[TakeOut]:
    """Make a session whose outputs are `tensors`; until the end of the block it may use files and the model's weights.

    Args:
        model: The float model; left as it is, and to be left alone within the block.
        tensors: Names of graph inputs, and of values that nodes compute, of the main graph or in a body.
        threads: Threads of one run.
        extremes: Names of tensors, of the main graph or in a body, whose smallest and largest value are wanted and no
            more: they stay inside.
        shaped: Names of tensors whose shapes are wanted too, where they stand in a body.

    Raises:
        ModelError: A tensor is not there, or ONNX Runtime cannot load the model.
    """
    fed = {value.name for value in model.graph.inputs}
    inputs = tuple(name for name in tensors if name in fed)
    part = part_for(model, [name for name in tensors if name not in fed], extremes, shaped=shaped)
    proto, source = part.model, part.source
    names = tuple(part.tensors.get(value.name, value.name) for value in proto.graph.output)
    with contextlib.ExitStack() as stack:
        session: ort.InferenceSession | None = None
        blocked: dict[int, Blocks] = {}
        why = _why_plain(proto) if names else "only inputs are observed"
        if not why:
            session, blocked, why = _blocked_session(source, threads, stack)
        if names and session is None:
            session = make_session(source, SessionOptions(threads=threads, optimize=True, observes=True))
        tensors = names[: len(names) - 2 * len(extremes)]
        yield TakeOut(session, tensors, inputs, tuple(extremes), blocked, part.shapes, why)


def _why_plain(model: onnx.ModelProto) -> str:
    """Say why the detour through blocks is not tried, to follow "since"; "" where it is."""
    if not current().on_cpu:
        return "only the CPU's provider has blocks"
    return (
        ""
        if _is_convolutional(model)
        else "most weighted operators of the network are no convolutions over height and width"
    )


class Part(NamedTuple):
    """What some tensors of a model need.

    Args:
        model: Without its large weights.
        source: What a session is made from.
        tensors: Output -> the tensor in a body whose values it holds, of rank 1; other outputs have their own names.
        shapes: Tensor in a body -> the output that holds its rank and sizes in every round, where they were asked for.
    """

    model: onnx.ModelProto
    source: Source
    tensors: Mapping[str, str]
    shapes: Mapping[str, str] = MappingProxyType({})


def part_for(
    model: ir.Model, tensors: Sequence[str], extremes: Sequence[str] = (), *, shaped: Collection[str] = ()
) -> Part:
    """Cut out what some computed tensors need.

    Args:
        model: Left as it is.
        tensors: Names of the tensors; those in the bodies of If, Loop and Scan too.
        extremes: Names of tensors, graph inputs among them, of which two outputs more each say the smallest and the
            largest value; those in bodies too.
        shaped: Names of tensors whose shapes are outputs too, where they stand in a body.

    Raises:
        ModelError: No node computes one of the tensors.
    """
    proto, weights = without_weights(model)
    types = _types_in_bodies(model.graph)
    inside, ends, shapes = hand_out_of_bodies(proto, tensors, types, extremes, shaped)
    tensors = [*(inside.get(name, name) for name in tensors), *shapes.values()]
    extremes = [ends.get(name, name) for name in extremes]
    fed = {value.name for value in proto.graph.input}
    set_outputs(proto, [*tensors, *(name for name in extremes if name not in fed)])
    hand_out_extremes(proto.graph, extremes, tensors)
    needed = {tensor.name for tensor in proto.graph.initializer}
    kept = {name: array for name, array in weights.items() if name in needed}
    names = {value: name for name, value in inside.items()}
    return Part(proto, Source(proto.SerializeToString(), kept), names, shapes)


def _types_in_bodies(graph: ir.Graph) -> dict[str, int]:
    """Return the element type of every tensor that a body defines; float where it is unknown."""
    bodies = every_body(graph)
    values = (value for body in bodies for value in (*body.inputs, *(out for node in body for out in node.outputs)))
    return {value.name: int(value.dtype or ir.DataType.FLOAT) for value in values if value.name}


def without_weights(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
    """Split a model into its graph and its large weights, which are not copied; the model is left as it is.

    It is one that runs, and that gives the same on every processor (see `ordinary`).

    Returns:
        (graph, arrays): the graph declares these weights as external data in a file that does not exist, and holds
        all others, those that lay in files too.
    """
    model = ordinary(model)
    fed = {value.name for value in model.graph.inputs}
    weights: dict[str, NDArray[Any]] = {}
    replaced: list[tuple[ir.Value, ir.TensorProtocol]] = []
    try:
        for graph in model.graphs():
            for name, value in graph.initializers.items():
                tensor = value.const_value
                if tensor is None or (tensor.nbytes < _LARGE_BYTES and not isinstance(tensor, ir.ExternalTensor)):
                    continue
                array = tensor.numpy()
                replaced.append((value, tensor))
                if graph is model.graph and name not in fed and array.dtype.kind in "fiub":
                    weights[name] = array
                    value.const_value = _elsewhere(tensor, array.shape, name)
                else:  # NumPy has no bfloat16 or int4, and ONNX Runtime replaces initializers of the main graph only
                    value.const_value = ir.Tensor(array, dtype=tensor.dtype, name=name)
        return put_back(model, ir.to_proto(model)), weights
    finally:
        for value, tensor in replaced:
            value.const_value = tensor


def _elsewhere(tensor: ir.TensorProtocol, shape: tuple[int, ...], name: str) -> ir.ExternalTensor:
    """A declaration of the tensor without its values."""
    return ir.ExternalTensor("weights", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(shape), name=name)


def set_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> None:
    """Make `tensors` the outputs of a model, in topological order, and drop the nodes that nothing needs then.

    Args:
        model: Changed in place. Graph inputs stay even if nothing reads them any more.
        tensors: Names of values that nodes of the main graph compute.

    Raises:
        ModelError: No node computes one of them.
    """
    wanted = set(tensors)
    computed = [name for node in model.graph.node for name in node.output if name in wanted]
    if missing := wanted - set(computed):
        raise ModelError(f"No node of the model computes the tensor '{min(missing)}', which should be observed.")
    needed, nodes = set(computed), []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_read_by(node))
    nodes.reverse()
    graph = model.graph
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    _keep_only(graph.initializer, needed)
    _keep_only(graph.value_info, needed)
    del graph.output[:]
    # ONNX Runtime infers the type of an output that declares none.
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in computed)


def _keep_only(entries: Any, names: set[str]) -> None:
    """Delete the others one by one: weights are large, and few are not needed."""
    for position in reversed(range(len(entries))):
        if entries[position].name not in names:
            del entries[position]


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    """Names a node reads, those its If/Loop bodies take from outside included (names local to a body do no harm)."""
    yield from node.input
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            yield from (value.name for value in body.output)
            for inner in body.node:
                yield from _read_by(inner)


def _is_convolutional(model: onnx.ModelProto) -> bool:
    """Whether most weighted operators are convolutions over height and width, which bring the blocked layout with them.

    A transformer with one such operator at its entrance would be written to disk for nothing.
    """
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    convs = sum(node.op_type == "Conv" and ranks.get(node.input[1]) == 4 for node in model.graph.node)
    others: int = sum(node.op_type in ("Gemm", "MatMul") for node in model.graph.node)
    return bool(convs > others)


def _blocked_session(
    source: Source, threads: int, stack: contextlib.ExitStack
) -> tuple[ort.InferenceSession | None, dict[int, Blocks], str]:
    """A session with blocked outputs, its weights in a temporary folder until `stack` unwinds; None where it cannot be.

    The files go as soon as the session has them open, so that even a killed process leaves none; Windows does not
    remove what is mapped, there they go at the end. Not a failure: no room for temporary files, a release that does not
    read back what it wrote. The plain way still works then; and if the model is at fault, it says so.

    Returns:
        The session, how channels of its outputs lie, and why it is this one, to follow "since".
    """
    with contextlib.suppress(ModelError, OSError, google.protobuf.message.DecodeError):
        folder = stack.enter_context(scratch_folder())
        kept = folder / "optimized.onnx"
        make_session(source, SessionOptions(threads=threads, optimize=True, keep=kept))
        model = onnx.load_model(kept, load_external_data=False)
        reorders = [node for node in model.graph.node if node.op_type == "ReorderOutput"]
        width = block_width() if reorders else 0
        inside = read_blocks(model.graph, _without_padding(reorders, width))
        blocked = _hand_out_blocks(model.graph, reorders, width)
        if not (inside or blocked):
            return None, {}, "ONNX Runtime keeps none of them in blocks"
        kept.write_bytes(model.SerializeToString())
        session = make_session(Source(kept), SessionOptions(threads=threads, optimize=False, observes=True))
        shutil.rmtree(folder, ignore_errors=True)
        shapes = [value.shape for value in session.get_outputs()]
        if all(shapes[number][1] == blocks.padded for number, blocks in blocked.items()):
            return session, blocked, "most weighted operators of the network are convolutions over height and width"
    return None, {}, "ONNX Runtime could not write its optimized graph or read it back"


def _without_padding(reorders: Iterable[onnx.NodeProto], width: int) -> dict[str, onnx.NodeProto]:
    """Return tensor -> what put it back in plain order, where the blocked tensor holds its values and no others."""
    return {node.output[0]: node for node in reorders if width and _channels(node) % width == 0}


def _hand_out_blocks(graph: onnx.GraphProto, reorders: Sequence[onnx.NodeProto], width: int) -> dict[int, Blocks]:
    """Replace outputs by blocked tensors of the same values; returns how the channels of each of these lie.

    A tensor whose channels do not fill whole blocks stays as it is where it is put back in order for others anyway.
    """
    outputs = [value.name for value in graph.output]
    read = {name for node in graph.node for name in _read_by(node)}
    makers = {node.output[0]: node for node in reorders}
    taken: dict[str, Blocks] = {}
    found: dict[int, Blocks] = {}
    for number, name in enumerate(outputs):
        node = makers.get(name)
        if node is None or node.input[0] in taken or node.input[0] in outputs or not width:
            continue
        blocks = Blocks(_channels(node), width)
        if blocks.is_padded and name in read:
            continue
        taken[node.input[0]] = found[number] = blocks
        graph.output[number].CopyFrom(onnx.ValueInfoProto(name=node.input[0]))
    _drop_unread(graph, reorders)
    return found


def _drop_unread(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Take nodes of one result out whose result nothing reads or hands out."""
    needed = {name for node in graph.node for name in _read_by(node)} | {value.name for value in graph.output}
    unread = {node.output[0] for node in nodes} - needed
    for position in reversed(range(len(graph.node))):  # `remove` would compare whole nodes, for each of them all others
        if graph.node[position].output[0] in unread:
            del graph.node[position]


def _channels(node: onnx.NodeProto) -> int:
    """Channels a ReorderOutput gives back; 1, which fills no block, where the attribute is missing."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "channels"), 1)
