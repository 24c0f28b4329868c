"""Lint of what TensorRT's importer reads: operators, their forms and types, constants in types of quantization."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.model.nodes import every_node, inner_graphs, is_op
from qdq_cli.targets.tensorrt.findings import Finding, finding
from qdq_cli.targets.tensorrt.importer.records import version_text
from qdq_cli.targets.tensorrt.importer.refusals import Place, places, reads_stored_constant
from qdq_cli.targets.tensorrt.lint_types import label

_RECURRENT = ("RNN", "GRU", "LSTM", "Scan")
"""What the importer makes a counted loop of."""


def lint_import(graph: ir.Graph, opset: int, plugins: Collection[str] = ()) -> Iterator[Finding]:
    """Yield what some release refuses to import, in the graph and in the bodies of its nodes.

    Args:
        graph: With constants as initializers; types and shapes as far as they are known.
        opset: Opset of the default domain.
        plugins: Custom operators that the deployment has.
    """
    for found in places(graph, opset, plugins):
        yield from findings_of(found)
    for value in graph.inputs:
        if value.dtype is ir.DataType.DOUBLE:
            yield finding("W_DOUBLE", "", value.name or "", "an input of FP64")
    for node in _recurrent_in_branches(graph):
        yield finding("W_RECURRENT_BRANCH", label(node), "", f"{node.op_type} in a branch of If")
    for node in every_node(graph):
        if (stored := reads_stored_constant(node)) is not None:
            yield _stored(node, stored)
        if any(value.dtype is ir.DataType.DOUBLE for value in node.outputs):
            yield finding("W_DOUBLE", label(node), node.outputs[0].name or "", f"{node.op_type} in FP64")


def _recurrent_in_branches(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the recurrent operators that stand right in a branch of an If, and in no Loop there."""
    for holder in every_node(graph):
        if is_op(holder, "If"):
            yield from (node for branch in inner_graphs(holder) for node in branch if is_op(node, *_RECURRENT))


def findings_of(found: Place) -> Iterator[Finding]:
    """Yield an error for the releases that refuse it, and advice for one whose newer minor releases read it."""
    refusal, place = found.refusal, "" if found.node is None else label(found.node)
    code = "E_UNSUPPORTED_OP" if refusal.is_operator else "E_UNSUPPORTED_FORM"
    if refusal.releases:
        yield replace(finding(code, place, found.tensor, refusal.found, refusal.releases), fix=refusal.way_out)
    if refusal.partly and refusal.since is not None:
        entry = finding("W_MINOR_RELEASE", place, found.tensor, refusal.found, refusal.partly)
        yield replace(entry, fix=f"Use TensorRT {version_text(refusal.since)} or above.")


def _stored(node: ir.Node, constant: ir.Value) -> Finding:
    kind = "" if constant.dtype is None else constant.dtype.name
    article = "an" if kind.startswith("I") else "a"
    entry = finding(
        "E_QDQ_TYPE", label(node), constant.name or "", f"{article} {kind} constant that {node.op_type} reads, not DQ"
    )
    return replace(entry, fix="`qdq fix` stores it in a type that engines hold.")
