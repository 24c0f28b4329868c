"""The constants of a model that is being converted: each stored once, twice where operators of both types read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.casting.formats import FloatFormat
from qdq_cli.casting.masks import clamp
from qdq_cli.casting.scales import held_scale, recoded
from qdq_cli.model.insertion import add_initializer
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, is_constant
from qdq_cli.model.scales import is_quantize

Use = tuple[ir.Node, int]
"""A node and the input slot in which it reads a value."""


class Constants:
    """The constants of a graph.

    Args:
        graph: The graph.
        form: The 16-bit type.
        names: Its names.
        clamped: Constants that are clamped to the type.
    """

    def __init__(self, graph: ir.Graph, form: FloatFormat, names: Names, clamped: frozenset[str]) -> None:
        self.graph, self.form, self.names, self.clamped = graph, form, names, clamped
        self._low: dict[ir.Value, ir.Value] = {}

    def give(self, value: ir.Value, uses: Sequence[Use]) -> None:
        """Let some uses of a constant read it in the 16-bit type, in place where nobody else reads it."""
        if not uses:
            return
        if len(uses) == len(value.uses()) and not value.is_graph_output():
            self._store(value, value)
            return
        low = self._copy(value)
        for node, slot in uses:
            node.replace_input_with(slot, low)

    def _copy(self, value: ir.Value) -> ir.Value:
        if value not in self._low:
            tensor = value.const_value
            assert tensor is not None
            name = self.names.value(f"{value.name}_{self.form.suffix}")
            shape = None if value.shape is None else value.shape.copy()
            made = ir.Value(name=name, type=ir.TensorType(self.form.dtype), shape=shape)
            self._store(value, made)
            self.graph.register_initializer(made)
            self._low[value] = made
        return self._low[value]

    def _store(self, source: ir.Value, target: ir.Value) -> None:
        tensor = source.const_value
        assert tensor is not None
        array = tensor.numpy()
        if source.name in self.clamped:
            array = clamp(source, array, self.form)
        target.type = ir.TensorType(self.form.dtype)
        target.const_value = ir.Tensor(self.form.rounded(array), dtype=self.form.dtype, name=target.name)

    def low_scale(self, value: ir.Value) -> ir.Value:
        """Return a scale in the 16-bit type, of the number that the FP32 one has by now."""
        return self._copy(value)

    def hold(self, scale: ir.Value, nodes: Sequence[ir.Node]) -> None:
        """Give a scale numbers that the type holds, for some Q and DQ that read it; weights keep their codes."""
        tensor = scale.const_value
        assert tensor is not None
        before = tensor.numpy()
        after = held_scale(before, self.form)
        for node in nodes:
            self._recode(node, after)
        if np.array_equal(before, after):
            return
        uses = [use for use in scale.uses() if use.node in nodes and use.idx == 1]
        if len(uses) == len(scale.uses()) and not scale.is_graph_output():
            scale.const_value = ir.Tensor(after, name=scale.name)
            return
        held = add_initializer(self.graph, self.names.value(f"{scale.name}_held"), after)
        for use in uses:
            use.node.replace_input_with(1, held)

    def _recode(self, node: ir.Node, scale: NDArray[Any]) -> None:
        """Store a constant that a Q reads as what its codes stand for under another scale."""
        data = input_at(node, 0)
        if not is_quantize(node) or data is None or not is_constant(data) or data.const_value is None:
            return
        array = recoded(node, data.const_value.numpy(), scale)
        if array is None:
            return
        if len(data.uses()) == 1 and not data.is_graph_output():
            data.const_value = ir.Tensor(array, name=data.name)
        else:
            name = self.names.value(f"{data.name}_{node.name}")
            node.replace_input_with(0, add_initializer(self.graph, name, array))

    def tidy(self) -> None:
        """Take out constants that nothing reads any more; their 16-bit copies get their names."""
        for value, low in self._low.items():
            if value.uses() or value.is_graph_output():
                continue
            name = value.name or ""
            del self.graph.initializers[name]
            del self.graph.initializers[low.name or ""]
            low.name = name
            self.graph.register_initializer(low)
