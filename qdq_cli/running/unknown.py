"""Operators that ONNX Runtime does not know (TensorRT plugins, other custom operators), and what lies behind them.

What lies in front of them can be run, so it can be observed and quantized; a graph is cut there for running. What lies
behind cannot be observed. The written model keeps all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import onnx.defs
import onnx_ir as ir

from qdq_cli.model.nodes import (
    ONNX_DOMAIN,
    every_node,
    inner_graphs,
    is_unobservable,
    mark_unobservable,
    name_of,
)
from qdq_cli.model.ordinary_blocks import BLOCK_OPERATORS
from qdq_cli.screen.sentences import some_of

Place = tuple[str, int]
"""Where a graph is cut: the first output of the node that reads the tensor and the input's number; a graph output's own
name and -1."""


@functools.cache
def _kernels() -> frozenset[tuple[str, str]]:
    """Return (domain, operator) of everything ONNX Runtime's CPU provider has a kernel for."""
    from onnxruntime.capi import onnxruntime_pybind11_state as native  # most models have ONNX's own operators alone

    return frozenset((kernel.domain, kernel.op_name) for kernel in native.get_all_opkernel_def())


@functools.cache
def _is_known(domain: str, op_type: str, opset: int) -> bool:
    if op_type in BLOCK_OPERATORS:
        return True  # what is run is their ordinary form
    if domain == ONNX_DOMAIN and onnx.defs.has(op_type, min(opset, onnx.defs.onnx_opset_version()), ""):
        return True
    return (domain, op_type) in _kernels()


def _is_unknown(node: ir.Node, opset: int) -> bool:
    """Say whether ONNX Runtime cannot run a node, or one in its bodies."""
    return any(not _is_known(each.domain, each.op_type, opset) for each in _with_bodies(node))


def _with_bodies(node: ir.Node) -> Iterator[ir.Node]:
    yield node
    yield from (inner for body in inner_graphs(node) for inner in every_node(body))


def mark_behind_unknown(model: ir.Model) -> tuple[ir.Node, ...]:
    """Mark every value that ONNX Runtime cannot compute, those in bodies too; returns the operators it does not know.

    Where it does not know an operator in a body, it cannot run the operator of the main graph that holds the body.

    Args:
        model: Its nodes in topological order, without local functions.
    """
    opset = model.opset_imports.get(ONNX_DOMAIN, 0)
    unknown = []
    for node in model.graph:
        is_unknown = _is_unknown(node, opset)
        if is_unknown:
            unknown.append(node)
        if is_unknown or (unknown and any(map(is_unobservable, _reads(node)))):
            for value in (value for each in _with_bodies(node) for value in each.outputs):
                mark_unobservable(value)
    return tuple(unknown)


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    """Yield what a node reads, and then what its bodies take from outside."""
    yield from (value for value in node.inputs if value is not None)
    for body in inner_graphs(node):
        for inner in every_node(body):
            yield from (value for value in inner.inputs if value is not None and value.graph is node.graph)


def cuts(model: ir.Model) -> dict[Place, str]:
    """Return the computed tensors at which a graph is cut so that ONNX Runtime can run it, by their places.

    Graph outputs that it can compute are among them.

    Args:
        model: After `mark_behind_unknown`.
    """
    found: dict[Place, str] = {}
    for node in model.graph:
        if any(map(is_unobservable, node.outputs)):
            place = next((value.name or "" for value in node.outputs if value.name), "")
            for slot, value in enumerate(_reads(node)):
                if _can_be_run(value):
                    found[place, slot] = name_of(value)
    found |= {(name_of(value), -1): name_of(value) for value in model.graph.outputs if _can_be_run(value)}
    return found


def compared_tensors(model: ir.Model) -> tuple[str, ...]:
    """Return what the outputs of a model are compared by: themselves, or the tensors at which it is cut.

    Args:
        model: After `mark_behind_unknown`.
    """
    if any(is_unobservable(value) for node in model.graph for value in node.outputs):
        return tuple(dict.fromkeys(cuts(model).values()))
    return tuple(name_of(value) for value in model.graph.outputs)


def _can_be_run(value: ir.Value) -> bool:
    return value.producer() is not None and not is_unobservable(value)


def notes_about(nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    """Write the sentence on operators that ONNX Runtime does not know; none where there are none."""
    if not nodes:
        return ()
    newest = onnx.defs.onnx_opset_version()
    foreign = [
        each for node in nodes for each in _with_bodies(node) if not _is_known(each.domain, each.op_type, newest)
    ]
    kinds = list(dict.fromkeys(f"{node.domain}.{node.op_type}".lstrip(".") for node in foreign or nodes))
    names = some_of([f"'{node.name}'" for node in nodes])
    note = (
        f"ONNX Runtime does not know {some_of(kinds)} ({names}): what lies behind is not observed and stays float, and "
        "the result is compared in front of it."
    )
    return (note,)
