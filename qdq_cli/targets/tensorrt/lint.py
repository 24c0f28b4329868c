"""Check a Q/DQ model against the rules, without TensorRT: every code of section 1.11 (rules table in `findings`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.model.bodies import places_of_bodies
from qdq_cli.model.codes import code_range
from qdq_cli.model.nodes import input_at, is_op
from qdq_cli.model.opset import MIN_OPSET, opset_of
from qdq_cli.model.scales import indirect_slots, is_dequantize, is_pair_half, is_quantize
from qdq_cli.placement.operators import is_weighted, operator_of
from qdq_cli.process.progress import each
from qdq_cli.screen.amounts import share_text, size_text
from qdq_cli.targets.tensorrt.assembly import unshuffled
from qdq_cli.targets.tensorrt.cost_record import Cost
from qdq_cli.targets.tensorrt.findings import Finding, finding
from qdq_cli.targets.tensorrt.lint_importer import lint_import
from qdq_cli.targets.tensorrt.lint_operators import (
    Origins,
    lint_pair,
    lint_stored,
    lint_tensor,
    lint_weighted,
)
from qdq_cli.targets.tensorrt.lint_scales import default_axis, lint_node
from qdq_cli.targets.tensorrt.precision import PRECISIONS
from qdq_cli.targets.tensorrt.releases import NEWEST_OPSET
from qdq_cli.targets.tensorrt.simulation import Simulation, Standalone

MIN_REST_PERCENT = 10.0
"""Least share of the activation bytes in FP32 that is spoken of, what the network takes and returns left out."""


def lint(model: ir.Model, plugins: Collection[str] = ()) -> tuple[Finding, ...]:
    """Check a model; nothing is changed, and of the weights only shapes and types are looked at.

    Args:
        model: A model with its constants as initializers; with element types and shapes more can be checked.
        plugins: Custom operators that the deployment has, by name or as `domain::name`.

    Returns:
        Findings in graph order; see `Finding.profiles` for the versions each one holds in.
    """
    return tuple(_findings(model, plugins))


def lint_simulation(simulation: Simulation) -> tuple[Finding, ...]:
    """Return W_STANDALONE_Q and W_STANDALONE_DQ for kernels inside the network; boundaries are unavoidable (P16)."""
    return tuple(_of_standalone(found) for found in simulation.removable)


def lint_rest(cost: Cost) -> Iterator[Finding]:
    """Yield W_FLOAT_REST for a quantized model whose FP32 tensors are a share of the traffic worth a line."""
    if not any(entry.weighted_ops for entry in cost.by_type if PRECISIONS[entry.type].is_quantized):
        return
    whole = sum(entry.traffic_bytes for entry in cost.by_type)
    share = 100 * cost.rest_bytes / whole if whole else 0.0
    if share >= MIN_REST_PERCENT:
        found = f"{share_text(share)} of the {size_text(whole)} that kernels read and write are FP32 between them"
        yield finding("W_FLOAT_REST", "", "", found)


def _of_standalone(found: Standalone) -> Finding:
    code = "W_STANDALONE_Q" if found.op_type == "QuantizeLinear" else "W_STANDALONE_DQ"
    entry = finding(code, found.nodes[0], found.tensor, f"{found.reason.value}: {found.because.rstrip('.')}")
    return replace(entry, fix=found.remedy)


def _findings(model: ir.Model, plugins: Collection[str]) -> Iterator[Finding]:
    graph = model.graph
    yield from _opset(model)
    yield from lint_import(graph, opset_of(model), plugins)
    opset = model.opset_imports.get("", MIN_OPSET)
    for part in (graph, *(place.body for place in places_of_bodies(graph))):
        yield from _of_graph(part, opset)


def _of_graph(graph: ir.Graph, opset: int) -> Iterator[Finding]:
    """Yield what is wrong with Q, DQ and weighted operators of the main graph, or of a body."""
    for value in graph.inputs:
        yield from lint_tensor(value)
    nodes = tuple(graph)
    biases = _bias_dequantizes(nodes)
    origins: Origins = {}
    sound: set[ir.Node] = set()
    for node in each(nodes):
        if is_pair_half(node) and node.outputs:
            if node not in biases and not _mirrors(node, sound):
                found = tuple(lint_stored(node, lint_node(node, opset)))
                yield from found
                sound.update(() if found else (node,))
            if is_quantize(node):
                yield from lint_pair(node, origins)
        elif is_weighted(node) and not is_op(node, "Einsum"):
            yield from lint_weighted(node, default_axis(opset))
        for value in node.outputs:
            if len(value.uses()) > 1:
                yield from lint_tensor(value)


def _opset(model: ir.Model) -> Iterator[Finding]:
    opset = model.opset_imports.get("", 0)
    profiles = tuple(version for version, newest in NEWEST_OPSET.items() if opset > newest)
    if profiles:
        yield finding("W_OPSET", "", "", f"opset {opset}", profiles)


def _mirrors(node: ir.Node, sound: set[ir.Node]) -> bool:
    """Say whether a node is the DQ of a Q that nothing is wrong with, and says the same: no need to look twice.

    A DQ that names the type it returns, or reads what was clipped, is looked at by itself.
    """
    codes = input_at(node, 0)
    quantize = None if codes is None else codes.producer()
    if quantize is None or quantize not in sound or not is_dequantize(node):
        return False
    if node.inputs[1:] != quantize.inputs[1:] or code_range(node) is not None or indirect_slots(node):
        return False
    said, other = node.attributes.data, quantize.attributes.data
    return said.keys() == other.keys() and all(said[name].value == other[name].value for name in said)


def _bias_dequantizes(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """Return the DQs (and Qs before them) of quantized biases; E_BIAS_QUANTIZED says all there is to say about them."""
    found: set[ir.Node] = set()
    for node in nodes:
        slot = operator_of(node).bias
        value = node.inputs[slot] if slot is not None and slot < len(node.inputs) else None
        if value is None or value.const_value is not None:
            continue
        value = unshuffled(value)
        producer = None if value is None else value.producer()
        while producer is not None and (is_quantize(producer) or is_dequantize(producer)):
            found.add(producer)
            before = producer.inputs[0] if producer.inputs else None
            producer = None if before is None else before.producer()
    return found
