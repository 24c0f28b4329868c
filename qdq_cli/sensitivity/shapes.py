"""The shapes of all tensors as a run has them, where inference cannot tell: dynamic sizes, computed Reshapes."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.data.batches import Batch
from qdq_cli.model.bodies import places_of_bodies
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import is_unobservable
from qdq_cli.placement.topology import float_tensors
from qdq_cli.running.inside import shapes_of_rounds
from qdq_cli.running.outputs import part_for
from qdq_cli.running.runner import Runner


def shapes_in(model: ir.Model, batch: Batch) -> dict[str, tuple[int, ...]]:
    """Run a model once and return tensor -> shape, for its inputs and for every float tensor, in bodies too.

    Only the shapes leave the run, so it takes no more memory than any other. Of a tensor in a body it is that of the
    middle one of its rounds, which stands for all where something grows; a body that does not run says nothing.

    Raises:
        ModelError: The model cannot be run.
    """
    clone = model.clone()
    graph = clone.graph
    hidden = {value.name for node in model.graph for value in node.outputs if is_unobservable(value)}
    wanted = set(float_tensors(graph)) - hidden
    values = [value for node in graph for value in node.outputs if value.name in wanted]
    names = Names(graph)
    asked: dict[str, str] = {}
    graph.outputs.clear()
    for value in values:
        tensor = value.name or ""
        node = ir.Node("", "Shape", [value], name=names.node(f"{tensor}_asked"))
        node.outputs[0].name = names.value(f"{tensor}_shape")
        node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
        asked[node.outputs[0].name] = tensor
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    inside = [name for place in places_of_bodies(graph) for name in float_tensors(place.body)]
    part = part_for(clone, list(asked), shaped=inside)
    found = Runner(part.source).run(batch)
    shapes = {name: array.shape for name, array in batch.arrays.items()}
    shapes |= {tensor: tuple(found[name].tolist()) for name, tensor in asked.items()}
    held = {tensor: list(shapes_of_rounds(found[name])) for tensor, name in part.shapes.items()}
    return {**shapes, **{tensor: each[len(each) // 2] for tensor, each in held.items() if each}}
