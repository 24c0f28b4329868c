"""Move Q backward and DQ forward over commuting operators, in place: rules R1-R5 of section 4.3, to the fixed point.

One engine for the writer (the real model, form `int8-regions`), the planner (a draft clone) and the TensorRT simulator
(a clone). Only per-tensor Q/DQ with constant scales move, scales are compared by value, and only the main graph is
touched: what If, Loop and Scan bodies read counts as a use like any other. The result is a valid graph with types,
shapes, names and topological order in place.

Names: the codes of tensor `t` are called `<t>_QuantizeLinear_Output`, and a DQ that moved behind the operator that
makes `t` writes a float tensor that is still called `t`.

R2 (one DQ for each consumer) is implied: a DQ moves forward for each of its uses alone, and stays for the others.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from qdq_cli.model.emit import pair_half
from qdq_cli.model.names import Names
from qdq_cli.model.nodes import input_at, name_of, only_consumer
from qdq_cli.model.scales import TensorScale, holds_constant, is_dequantize, is_quantize, tensor_scale
from qdq_cli.placement.commuting import data_outputs, drop_fill_value, keeps_codes, slots_of
from qdq_cli.placement.operators import OpClass, commutes, operator_of


@dataclass(frozen=True)
class Propagation:
    """What propagation did; `nodes_on_codes` says where it ended.

    Args:
        merges: Qs that went because an equal Q reads the same tensor (R1).
        cancels: Qs that went because they undo a DQ of the same scale (R3).
        moves: Times a node's Q moved before it or its DQ behind it (R4, R5).
        origins: For every Q and DQ of the result that stands for other nodes than itself, their names.
    """

    merges: int
    cancels: int
    moves: int
    origins: Mapping[str, tuple[str, ...]]


def propagate(
    model: ir.Model, *, may_move: Callable[[ir.Node], bool] = commutes, only_moves: bool = False
) -> Propagation:
    """Propagate Q and DQ in a model, changing it in place.

    Args:
        model: Topologically sorted, constants as initializers, all names unique (as `prepare` leaves it).
        may_move: Which class C nodes Q and DQ may cross.
        only_moves: Without R1 and R3: equal Qs stay apart unless they read one zero point, and a Q that undoes a DQ
            stays, unless one of them moved there.

    Returns:
        The record of the moves. Propagating the result again changes nothing.

    Source: rules R1-R5, section 4.3; the operators' conditions are those of section 2.3.
    """
    engine = _Engine(model.graph, may_move, only_moves=only_moves)
    engine.move_quantize_backward()
    engine.move_dequantize_forward()
    return engine.record()


def merge_quantizes(model: ir.Model) -> Mapping[str, tuple[str, ...]]:
    """Merge equal Qs on each tensor in place (R1 alone); returns kept Q -> the Qs it stands for now."""
    engine = _Engine(model.graph, commutes)
    engine.merge_everywhere()
    return {name: origin for name, origin in engine.record().origins.items() if len(origin) > 1}


def nodes_on_codes(graph: ir.Graph) -> list[ir.Node]:
    """Return the class C nodes of a sorted graph whose data inputs are quantized tensors, in graph order."""
    codes = {value for value in graph.inputs if value.dtype == ir.DataType.INT8}
    found = []
    for node in graph:
        if is_quantize(node):
            codes.update(node.outputs)
        elif input_at(node, 0) in codes and operator_of(node).op_class is OpClass.COMMUTING:
            codes.update(data_outputs(node))
            found.append(node)
    return found


@dataclass(frozen=True)
class _Parameters:
    """What a new Q or DQ is made with: the operands and attributes of the one it stands for."""

    scale: TensorScale
    operands: tuple[ir.Value | None, ...]
    attributes: tuple[ir.Attr, ...]

    @staticmethod
    def of(node: ir.Node, scale: TensorScale) -> _Parameters:
        # A per-tensor scale makes `axis` meaningless (A4), and over a node that changes the rank it would be invalid.
        kept = tuple(attribute for name, attribute in node.attributes.items() if name != "axis")
        return _Parameters(scale, tuple(node.inputs[1:]), kept)


class _Engine:
    """The graph under change: the names that are taken, where each Q/DQ came from, and what was counted.

    Q moves first and DQ second; each phase is a worklist, and neither enables the other: a DQ that moves forward only
    takes uses away from tensors that a DQ makes. No move of a phase prevents another one, so the order does not matter.
    """

    def __init__(self, graph: ir.Graph, may_move: Callable[[ir.Node], bool], *, only_moves: bool = False) -> None:
        self._graph = graph
        self._may_move = may_move
        self._only_moves = only_moves
        # Where nothing can be crossed there will be no new node, and reading all names of a large graph takes a while.
        self._names = Names(graph if any(map(self._movable, graph)) else ir.Graph((), (), nodes=()))
        self._origins: dict[ir.Node, frozenset[str]] = {}
        self._loose: dict[ir.Value, None] = {}
        self._scales: dict[ir.Node, TensorScale | None] = {}
        self._made: set[ir.Node] = set()
        self._merges = self._cancels = self._moves = 0

    def record(self) -> Propagation:
        """Drop the scales that nothing reads any more and return the record of what was done."""
        for value in self._loose:
            if value.is_initializer() and not _is_read(value) and not value.is_graph_input():
                del self._graph.initializers[name_of(value)]
        origins = {node.name or "": tuple(sorted(names)) for node, names in self._origins.items()}
        return Propagation(
            merges=self._merges,
            cancels=self._cancels,
            moves=self._moves,
            origins={name: names for name, names in origins.items() if names != (name,)},
        )

    # Q backward: R1 and R4.

    def move_quantize_backward(self) -> None:
        """Merge equal Qs on a tensor, and move a Q that is alone behind a commuting operator before it."""
        starts = [node.inputs[0] for node in self._graph if is_quantize(node) and self._scale(node)]
        work = deque(value for value in dict.fromkeys(starts) if value is not None)
        while work:
            tensor = work.popleft()
            self._merge_on(tensor)
            producer = tensor.producer()
            if producer is not None and (parameters := self._alone_behind(producer)) is not None:
                work.extend(self._move_before(producer, parameters))

    def merge_everywhere(self) -> None:
        """Merge equal Qs on every tensor that has some."""
        starts = [node.inputs[0] for node in self._graph if is_quantize(node)]
        for tensor in dict.fromkeys(starts):
            if tensor is not None:
                self._merge_on(tensor)

    def _merge_on(self, tensor: ir.Value) -> None:
        """R1: keep one Q of each scale on a tensor, the one whose name comes first."""
        quantizes = self._quantizes_of(tensor)
        if len(quantizes) < 2:
            return
        by_scale: dict[Hashable, list[ir.Node]] = defaultdict(list)
        for node in quantizes:
            if (scale := self._scale(node)) is not None:
                by_scale[self._kind(scale, node.inputs[2:])].append(node)
        for nodes in by_scale.values():
            kept, *others = sorted(nodes, key=lambda node: (not node.outputs[0].is_graph_output(), _name_order(node)))
            for node in others:
                if node.outputs[0].is_graph_output():
                    continue
                node.outputs[0].replace_all_uses_with(kept.outputs[0])
                self._origins[kept] = self._origin(kept) | self._origin(node)
                self._remove(node)
                self._merges += 1
                self._place_behind(tensor, kept)

    def _alone_behind(self, node: ir.Node) -> _Parameters | None:
        """Return what the Qs say that are the only consumers of a node's outputs, if they can move before it.

        All used outputs of a Split must be quantized alike: the real operator has one input. (The simulator takes a
        Split as one Slice for each output, as TensorRT imports it, and gets the finer answer; S2.)
        """
        if not self._movable(node):
            return None
        found = []
        for value in data_outputs(node):
            if not value.uses() and not value.is_graph_output():
                continue
            use = only_consumer(value)
            if use is None or not is_quantize(use[0]) or use[1] != 0 or use[0].graph is not self._graph:
                return None
            found.append(self._parameters(use[0]))
        first = found[0] if found else None
        if first is None or any(other is None or other.scale != first.scale for other in found):
            return None
        return first if keeps_codes(node, first.scale) else None

    def _move_before(self, node: ir.Node, parameters: _Parameters) -> Iterable[ir.Value]:
        """R4: take the Q behind each output away and put one before each data input; returns the data inputs."""
        origin: frozenset[str] = frozenset()
        for value in data_outputs(node):
            value.type = ir.TensorType(parameters.scale.qtype)
            use = only_consumer(value)
            if use is not None:
                origin |= self._origin(use[0])
                self._take_over(use[0].outputs[0], value)
                self._remove(use[0])
        entered = dict.fromkeys(tensor for slot in slots_of(node) if (tensor := input_at(node, slot)) is not None)
        for tensor in entered:
            quantize = self._quantize_on(tensor, parameters)
            self._origins[quantize] = self._origins.get(quantize, frozenset()) | origin
            self._place_behind(tensor, quantize)
            _rewire(node, tensor, quantize.outputs[0])
        drop_fill_value(node)
        self._moves += 1
        return entered

    def _quantize_on(self, tensor: ir.Value, parameters: _Parameters) -> ir.Node:
        """Return the equal Q that already reads a tensor, or a new one."""
        kind = self._kind(parameters.scale, parameters.operands[1:])
        equal = [
            node
            for node in self._quantizes_of(tensor)
            if (scale := self._scale(node)) is not None and self._kind(scale, node.inputs[2:]) == kind
        ]
        if equal:
            self._merges += 1
            kept = min(equal, key=_name_order)
            self._origins[kept] = self._origin(kept)
            return kept
        name = f"{name_of(tensor)}_QuantizeLinear"
        codes = ir.Value(
            name=self._names.value(f"{name}_Output"),
            type=ir.TensorType(parameters.scale.qtype),
            shape=_copied_shape(tensor),
        )
        return self._new_node("QuantizeLinear", name, (tensor, codes), parameters)

    # DQ forward: R3 and R5.

    def move_dequantize_forward(self) -> None:
        """Cancel DQ and Q of equal scale, and move each DQ behind the commuting operators that read it."""
        work = deque(node for node in self._graph if is_dequantize(node) and self._scale(node))
        while work:
            dequantize = work.popleft()
            for user, slot in [(use.node, use.idx) for use in dequantize.outputs[0].uses()]:
                if user.graph is not self._graph:
                    continue
                if slot == 0 and is_quantize(user):
                    if not self._only_moves or not self._made.isdisjoint((dequantize, user)):
                        self._cancel(dequantize, user)
                elif (feeding := self._all_dequantized(user)) is not None:
                    work.extend(self._move_behind(user, feeding))
            if not dequantize.outputs[0].uses() and not dequantize.outputs[0].is_graph_output():
                self._remove(dequantize)

    def _cancel(self, dequantize: ir.Node, quantize: ir.Node) -> None:
        """R3: a Q that undoes a DQ of the same scale is wired through."""
        source, codes = dequantize.inputs[0], quantize.outputs[0]
        if source is None or self._scale(dequantize) is None or self._scale(dequantize) != self._scale(quantize):
            return
        if codes.is_graph_output() and (source.producer() is None or source.is_graph_output()):
            return  # a graph output needs a node of its own
        if codes.is_graph_output():
            self._take_over(codes, source)
        else:
            codes.replace_all_uses_with(source)
        self._remove(quantize)
        self._cancels += 1

    def _all_dequantized(self, node: ir.Node) -> _Parameters | None:
        """Return what the DQs say that feed all data inputs of a node, if they can move behind it together."""
        if not self._movable(node):
            return None
        sources = [value.producer() if (value := input_at(node, slot)) is not None else None for slot in slots_of(node)]
        found = [
            self._parameters(source) if source is not None and is_dequantize(source) else None for source in sources
        ]
        first = found[0]
        if first is None or any(other is None or other.scale != first.scale for other in found):
            return None
        if all(holds_constant(input_at(node, slot)) for slot in slots_of(node)):
            return None  # a quantized weight folds where it is (S3)
        return first if keeps_codes(node, first.scale) else None

    def _move_behind(self, node: ir.Node, parameters: _Parameters) -> list[ir.Node]:
        """R5: let a node read codes, and put a DQ behind each of its used outputs; returns those DQs."""
        origin: frozenset[str] = frozenset()
        for tensor in dict.fromkeys(node.inputs[slot] for slot in slots_of(node)):
            source = None if tensor is None else tensor.producer()
            if tensor is not None and source is not None and (codes := source.inputs[0]) is not None:
                origin |= self._origin(source)
                _rewire(node, tensor, codes)
        drop_fill_value(node)
        added = [self._dequantize_behind(node, value, parameters) for value in data_outputs(node) if _is_read(value)]
        for value in data_outputs(node):
            value.type = ir.TensorType(parameters.scale.qtype)
        for dequantize in added:
            self._origins[dequantize] = origin
        self._moves += 1
        return added

    def _dequantize_behind(self, node: ir.Node, codes: ir.Value, parameters: _Parameters) -> ir.Node:
        """Put a DQ behind one output of a node; the float tensor keeps the output's name, also as a graph output."""
        name = name_of(codes)
        result = ir.Value(name=f"{name}_DequantizeLinear", type=codes.type, shape=_copied_shape(codes))
        codes.replace_all_uses_with(result, replace_graph_outputs=True)
        codes.name = self._names.value(f"{name}_QuantizeLinear_Output")
        result.name = name
        dequantize = self._new_node("DequantizeLinear", f"{name}_DequantizeLinear", (codes, result), parameters)
        self._graph.insert_after(node, dequantize)
        return dequantize

    # What both directions need.

    def _movable(self, node: ir.Node) -> bool:
        commuting = node.graph is self._graph and operator_of(node).op_class is OpClass.COMMUTING
        return commuting and self._may_move(node)

    def _quantizes_of(self, tensor: ir.Value) -> list[ir.Node]:
        uses = [use.node for use in tensor.uses() if use.idx == 0 and use.node.graph is self._graph]
        return [node for node in uses if is_quantize(node)]

    def _scale(self, node: ir.Node) -> TensorScale | None:
        """Return the scale of a Q or DQ, looked up once: nodes are made and removed here, but keep their scales."""
        if node not in self._scales:
            self._scales[node] = tensor_scale(node)
        return self._scales[node]

    def _kind(self, scale: TensorScale, offsets: Iterable[ir.Value | None]) -> Hashable:
        """Return what Qs have in common that may be merged: what is behind the scale is their zero point, if any."""
        return (scale, *offsets) if self._only_moves else scale

    def _parameters(self, node: ir.Node) -> _Parameters | None:
        scale = self._scale(node)
        return None if scale is None else _Parameters.of(node, scale)

    def _origin(self, node: ir.Node) -> frozenset[str]:
        return self._origins.get(node) or frozenset({node.name or ""})

    def _new_node(self, op_type: str, name: str, ends: tuple[ir.Value, ir.Value], parameters: _Parameters) -> ir.Node:
        source, result = ends
        inputs = [source, *parameters.operands]
        node = pair_half(op_type, inputs, parameters.attributes, result, self._names.node(name))
        self._scales[node] = parameters.scale
        self._made.add(node)
        return node

    def _place_behind(self, tensor: ir.Value, node: ir.Node) -> None:
        """Put a node right behind the producer of the tensor it reads, or first, so that it precedes every use."""
        producer = tensor.producer()
        if producer is not None:
            self._graph.insert_after(producer, node)
        else:
            self._graph.insert_before(self._graph[0], node)

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        """Let `new` stand wherever `old` was read, under its name."""
        name, old.name = old.name, None
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        new.name = name

    def _remove(self, node: ir.Node) -> None:
        """Remove a Q or DQ that nothing reads; its scale and zero point go at the end, if nothing took them over."""
        self._loose.update(dict.fromkeys(value for value in node.inputs[1:] if value is not None))
        self._origins.pop(node, None)
        self._graph.remove(node, safe=True)


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _rewire(node: ir.Node, old: ir.Value, new: ir.Value) -> None:
    for slot in slots_of(node):
        if node.inputs[slot] is old:
            node.replace_input_with(slot, new)


def _copied_shape(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else value.shape.copy()


def _name_order(node: ir.Node) -> tuple[int, str]:
    """Order equal Qs independently of the file: `x_QuantizeLinear` before `x_QuantizeLinear_1`."""
    name = node.name or ""
    return len(name), name
