"""What TensorRT for RTX refuses although the importer of TensorRT 11 reads it, each seen with release 1.7.

Sources: the quick start of TensorRT for RTX 1.x (no plugins ship with it); docs/conformance.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import onnx_ir as ir

from qdq_cli.model.nodes import ONNX_DOMAIN, every_node, ints_attribute
from qdq_cli.placement.target import Refused
from qdq_cli.targets.tensorrt.importer.conditions import all_of, is_on, rank_above, text_is
from qdq_cli.targets.tensorrt.importer.plugins import is_named
from qdq_cli.targets.tensorrt.importer.records import Limit, Refusal
from qdq_cli.targets.tensorrt.importer.refusals import Place, gathered, places_of_releases

SINCE = (11, 0)
"""The release of TensorRT whose importer it has."""

_PLUGIN = "On a server a plugin of TensorRT computes it; take it out of the network, or give the deployment a plugin."
_APART = "Take it out of the network: on a server TensorRT has a layer for it."


def _always(node: ir.Node) -> bool:
    return True


def _is_wide(node: ir.Node, name: str) -> bool:
    return any(size > 1 for size in ints_attribute(node, name) or ())


def _strided_and_dilated(node: ir.Node) -> bool:
    return _is_wide(node, "strides") and _is_wide(node, "dilations")


LIMITS: Mapping[str, tuple[Limit, ...]] = {
    **dict.fromkeys(("NonZero", "DeformConv", "RoiAlign"), (Limit("", _always, _PLUGIN),)),
    "NonMaxSuppression": (Limit("", _always, _APART),),
    "Attention": (
        Limit(
            "of four dimensions in FP32",
            all_of(is_on(ir.DataType.FLOAT), rank_above(3)),
            "Its kernels are of 16 bits: --float-type fp16, or export it as MatMul, Softmax and MatMul.",
        ),
    ),
    "ConvTranspose": (
        Limit("with strides and dilations", _strided_and_dilated, "Export it without the one or the other."),
    ),
    "ScatterElements": (
        Limit("with a reduction", text_is("reduction", "add", "mul", "min", "max"), "Export it without."),
    ),
}
"""Operator -> its forms that are refused; a form without words is the operator itself."""


def refused(model: ir.Model, plugins: Collection[str]) -> tuple[Refused, ...]:
    """Say what of a model is refused, as `placement.target.RefusalsOf` has it.

    Raises:
        UsageError: Nothing in the model goes by the name of a plugin.
    """
    return gathered([*places_of_releases(model, plugins), *places(model.graph, plugins)])


def places(graph: ir.Graph, plugins: Collection[str] = ()) -> Iterator[Place]:
    """Yield everything in a model that TensorRT for RTX refuses and TensorRT 11 does not.

    Args:
        graph: With types and shapes, as far as they are known.
        plugins: Custom operators that the deployment has.
    """
    for node in every_node(graph):
        if node.domain != ONNX_DOMAIN or is_named(node, plugins):
            continue
        for limit in LIMITS.get(node.op_type, ()):
            if limit.holds(node):
                found = f"{node.op_type} {limit.form}".rstrip()
                name = (node.outputs[0].name or "") if node.outputs else ""
                yield Place(node, name, Refusal(not limit.form, found, limit.way_out, first=SINCE))
