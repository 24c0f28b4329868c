"""What the rules of a float plan read, and what they give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.casting.bounds import Bounds
from qdq_cli.casting.formats import FloatFormat, limit
from qdq_cli.casting.intervals import Interval


@dataclass(frozen=True)
class Finding:
    """One operator that has to stay FP32.

    Args:
        node: The operator.
        code: Why, as `reasons.REASONS` lists it.
        detail: What was found, to follow the sentence of the code; "" where that says all.
    """

    node: ir.Node
    code: str
    detail: str = ""


@dataclass(frozen=True)
class Scene:
    """A model, and what is known of its tensors.

    Args:
        graph: The main graph.
        form: The 16-bit type.
        opset: The opset that the result will have.
        bounds: How far each tensor reaches, so far as that is known.
        seen: The tensors that were observed.
        clamped: Constants that are clamped to the type, so that their size does not matter.
        masks: Tensors that hold large negative numbers for a Softmax to ignore.
        single_scales: Whether scales stay FP32, in a Q and a DQ that take them beside 16-bit data.
        keep_io: Whether graph inputs and outputs stay FP32.
        proven: Whether FP32 stays what is not known to hold in the type: in a body, which may never have run.
    """

    graph: ir.Graph
    form: FloatFormat
    opset: int
    bounds: Bounds
    seen: frozenset[ir.Value]
    clamped: frozenset[ir.Value] = frozenset()
    masks: frozenset[ir.Value] = frozenset()
    single_scales: bool = False
    keep_io: bool = True
    proven: bool = False

    def reach(self, value: ir.Value | None) -> Interval | None:
        """Return how far a tensor reaches; None where nothing bounds it."""
        return None if value is None else self.bounds.get(value)

    def may_overflow(self, value: ir.Value) -> bool:
        """Say whether nothing keeps a tensor below the limit of the type."""
        found = self.bounds.get(value)
        return found is None or found.amax > limit(self.form)


def touching(value: ir.Value, graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the operators of a graph that make or read a value."""
    maker = value.producer()
    if maker is not None:
        yield maker
    yield from (use.node for use in value.uses() if use.node.graph is graph)
