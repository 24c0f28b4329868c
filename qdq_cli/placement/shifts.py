"""The shifts of a plan in one graph: begun before its Q and DQ are written, and ended when they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.qparams import qparams_of
from calibrators.ranges import Range
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import constant_at
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.rounded import round_weight
from qdq_cli.placement.scale_type import scale_dtype
from qdq_cli.placement.shifting import end_clips, region_of, shift, shift_of


class Shifts:
    """Finds what has to be shifted; nothing is changed yet.

    Args:
        graph: The graph, as the plan knows it.
        plan: What is quantized of it.
        ranges: Of each scale group.
        values: Name -> value of the graph.
        names: The names of the graph.

    Raises:
        ValueError: The plan shifts a tensor that cannot be.
    """

    def __init__(
        self, graph: ir.Graph, plan: Plan, ranges: Sequence[Range], values: Mapping[str, ir.Value], names: Names
    ) -> None:
        self._graph, self._plan, self._names = graph, plan, names
        self._found = []
        done: set[ir.Value] = set()
        for target in plan.targets:
            value = values[target.tensor]
            if not plan.is_shifted(target.group) or value in done:
                continue
            qparams = qparams_of(ranges[target.group], plan.scheme_of(target.group), scale_dtype(value))
            region = region_of(value)
            if region is None:
                raise ValueError(f"tensor '{target.tensor}' cannot be shifted")
            done.update(region.values)
            if qparams.zero_point:
                self._found.append((region, shift_of(qparams), qparams))
        self.tensors = {name: amount for region, amount, _ in self._found for name, amount in region.amounts(amount)}
        """Tensors, by their names before, that are larger than there -> by how much, in their units."""

    def begin(self, weight_ranges: Mapping[str, NDArray[np.float32]]) -> dict[str, ir.Value]:
        """Change biases, before weights are rounded.

        Args:
            weight_ranges: Weight -> amax a scale, where it is not quantized over its whole range.

        Returns:
            Name -> what stands for a tensor now that has an Add behind it.
        """
        stored = {target.use.node: target for target in self._plan.weights if target.use.slot == 1}

        def weight_of(node: ir.Node) -> NDArray[np.generic]:
            target, weight = stored.get(node.name or ""), np.asarray(constant_at(node, 1))
            return weight if target is None else round_weight(weight, target.scheme, weight_ranges.get(target.tensor))

        behind: dict[str, ir.Value] = {}
        for region, amount, _ in self._found:
            behind |= shift(self._graph, region, amount, weight_of, self._names)
        return behind

    def end(self) -> None:
        """Shift what clips, or drop it, and give shifted tensors other names."""
        for region, amount, qparams in self._found:
            end_clips(self._graph, region, amount, qparams, self._names)
