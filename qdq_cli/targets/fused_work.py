"""What the operators of a Q/DQ model cost on a CPU, and which part of it is on codes, from shapes and fusions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from qdq_cli.model.bodies import lifted, places_of_bodies
from qdq_cli.model.nodes import input_at, is_constant, name_of, only_consumer
from qdq_cli.model.scales import is_dequantize, is_pair_half
from qdq_cli.placement.operators import count_weighted, is_weighted
from qdq_cli.placement.prediction import Alone, Fusions
from qdq_cli.placement.sizes import Sizes
from qdq_cli.placement.target import Epilogue, OperatorTable
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.preparing.settle import give_shapes, settle_one_sample, settle_shapes

Fuse = Callable[[ir.Model], Fusions]
"""Says what becomes of a model, which is left as it is."""


@dataclass(frozen=True)
class OperatorWork:
    """An operator as a runtime computes it.

    Args:
        name: Its name.
        op_type: What it is in the model.
        becomes: What computes it on integers; "" where floats are computed.
        because: Why it is float although it reads a DQ; "" where nobody asked.
        reads: Float tensors that it reads, by the names they have without Q/DQ.
        writes: Those it writes.
        macs: Its multiply-accumulates; None where shapes are unknown.
        codes: Activation elements that it reads and writes as codes; None where shapes are unknown.
        floats: Those it reads and writes as floats; None where shapes are unknown.
        weights_alone: Whether it is computed in floats, with a weight stored as codes.
    """

    name: str
    op_type: str
    becomes: str
    because: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    macs: int | None
    codes: int | None
    floats: int | None
    weights_alone: bool = False


@dataclass(frozen=True)
class FusedWork:
    """A whole model as a runtime computes it.

    Args:
        operators: In the order of the graph, without what the kernel of another one computes.
        alone: Q and DQ that stay operators of their own, each with its elements; None where these are unknown.
        weighted: Weighted operators, in bodies too.
        weighted_on_codes: Those computed on integers.
    """

    operators: tuple[OperatorWork, ...]
    alone: tuple[tuple[Alone, int | None], ...]
    weighted: int
    weighted_on_codes: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of known shapes."""
        return sum(each.macs or 0 for each in self.operators)

    @property
    def unknown(self) -> int:
        """Operators, and Q and DQ that stay, of unknown shape."""
        parts = sum(each.macs is None or each.codes is None for each in self.operators)
        return parts + sum(size is None for _, size in self.alone)

    @property
    def known_macs_percent(self) -> float:
        """Share of the multiply-accumulates of known shapes on integers; 0 where there are none."""
        return 100.0 * sum(each.macs or 0 for each in self.operators if each.becomes) / self.macs if self.macs else 0.0

    @property
    def macs_percent(self) -> float | None:
        """Share of all multiply-accumulates on integers; None without any, or where unknown ones would change it."""
        kinds = {bool(each.becomes) for each in self.operators if each.macs is None or each.macs}
        if any(each.macs is None for each in self.operators):
            return 100.0 * kinds.pop() if len(kinds) == 1 else None
        return self.known_macs_percent if self.macs else None

    @property
    def traffic_percent(self) -> float | None:
        """Share of the activation elements of known shapes that are read and written as codes; None without any."""
        passed = sum(size or 0 for _, size in self.alone)
        codes = passed + sum(each.codes or 0 for each in self.operators)
        whole = codes + passed + sum(each.floats or 0 for each in self.operators)
        return 100.0 * codes / whole if whole else None


def of_one_sample(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> ir.Model:
    """Return a copy of a model with the shapes of one sample, as far as they are known.

    Args:
        model: With inferred shapes; left as it is.
        shapes: Graph input -> its shape, where the model leaves dimensions open.
    """
    clone = model.clone()
    give_shapes(clone, shapes)
    if shapes:
        infer_shapes(clone)
    settle_one_sample(clone)
    settle_shapes(clone)
    return clone


def weigh_fused(model: ir.Model, fuse: Fuse, table: OperatorTable, *, bodies: bool) -> FusedWork:
    """Say what each operator of a model costs, on codes or in floats; those in bodies count once.

    Args:
        model: A Q/DQ model with inferred shapes; left as it is.
        fuse: What the runtime makes of it.
        table: What the runtime does with operators.
        bodies: Whether it computes on integers in bodies too.
    """
    parts = [_Weigher(part, found, table).weigh() for part, found in _by_graph(model, fuse, bodies=bodies)]
    return FusedWork(
        tuple(each for part in parts for each in part.operators),
        tuple(each for part in parts for each in part.alone),
        count_weighted(model),
        sum(part.weighted_on_codes for part in parts),
    )


def because_text(entry: Alone) -> str:
    """Say what keeps a Q or DQ."""
    if entry.boundary:
        end = "an input" if entry.op_type == "QuantizeLinear" else "an output"
        return f"{end} of {f'a body of {entry.neighbour}' if entry.neighbour else 'the model'}"
    return f"{entry.neighbour} {'writes' if entry.op_type == 'QuantizeLinear' else 'reads'} floats"


def fused_everywhere(model: ir.Model, fuse: Fuse, *, bodies: bool) -> Fusions:
    """Say what becomes of a model, in its bodies too: a runtime optimizes each of them as a graph of its own.

    Args:
        model: Any model; left as it is.
        fuse: What the runtime makes of a graph.
        bodies: Whether it computes on integers in bodies too.
    """
    parts = [found for _, found in _by_graph(model, fuse, bodies=bodies)]
    return Fusions(
        fused=tuple(each for part in parts for each in part.fused),
        alone=tuple(each for part in parts for each in part.alone),
        left={name: why for part in parts for name, why in part.left.items()},
        dropped=tuple(name for part in parts for name in part.dropped),
        merged=tuple(name for part in parts for name in part.merged),
    )


def _by_graph(model: ir.Model, fuse: Fuse, *, bodies: bool) -> Iterator[tuple[ir.Model, Fusions]]:
    """Yield the main graph and each body as a model, with what becomes of it."""
    yield model, fuse(model)
    for place in places_of_bodies(model.graph):
        part, holder = lifted(model, place).model, place.holders[-1].name or ""
        found = fuse(part) if bodies else Fusions((), (), {}, ())
        edges = (replace(entry, neighbour=holder) if entry.boundary else entry for entry in found.alone)
        yield part, replace(found, alone=tuple(edges))


class _Weigher:
    """The sizes of one model beside its fusions."""

    def __init__(self, model: ir.Model, found: Fusions, table: OperatorTable) -> None:
        self._sizes, self._found = Sizes(model), found
        self._nodes = [node for node in model.graph if not is_pair_half(node)]
        self._weighted = count_weighted(model)
        self._plain = {
            value.name: _source(value) for node in model.graph if is_pair_half(node) for value in node.outputs
        }
        self._fused = {entry.node: entry for entry in found.fused}
        self._merged = {*found.dropped, *found.merged}
        self._inner = {name_of(node.outputs[0]) for node in self._nodes if self._ends_in_kernel(node, table)}

    def weigh(self) -> FusedWork:
        """Weigh every operator, and what stays between them."""
        parts = tuple(
            self._work(node) for node in self._nodes if (node.name or "") not in self._merged and _moves(node)
        )
        alone = tuple((entry, self._elements(entry.tensor)) for entry in self._found.alone)
        on_codes = sum(is_weighted(node) and node.name in self._fused for node in self._nodes)
        return FusedWork(parts, alone, self._weighted, on_codes)

    def _ends_in_kernel(self, node: ir.Node, table: OperatorTable) -> bool:
        """Say whether what a node writes is handed on in its kernel: to an activation alone, or to one in its place."""
        use = only_consumer(node.outputs[0]) if node.outputs else None
        if use is None:
            return False
        behind = use[0]
        if behind.name in self._merged:
            return True
        floats = node.name not in self._fused and behind.name not in self._fused
        return floats and is_weighted(node) and table.epilogue(behind) is not Epilogue.NONE

    def _work(self, node: ir.Node) -> OperatorWork:
        name = node.name or ""
        entry = self._fused.get(name)
        reads = tuple(dict.fromkeys(name for name in map(_source, _activations(node)) if name not in self._inner))
        last = self._last(node)
        writes = tuple(name_of(value) for value in last.outputs if value.name and name_of(value) not in self._inner)
        read, written = self._count(reads), self._count(writes)
        known = read is not None and written is not None
        codes = 0 if entry is None else (read or 0) + (written or 0) * entry.writes_codes
        return OperatorWork(
            name=name,
            op_type=node.op_type,
            becomes="" if entry is None else entry.becomes,
            because=self._found.left.get(name, ""),
            reads=reads,
            writes=writes,
            macs=self._sizes.macs(name),
            codes=codes if known else None,
            floats=(read or 0) + (written or 0) - codes if known else None,
            weights_alone=entry is None and is_weighted(node) and _reads_stored_weight(node),
        )

    def _last(self, node: ir.Node) -> ir.Node:
        """Return the operator that the kernel of a node ends with: what it merged with, one behind the other."""
        use = only_consumer(node.outputs[0])
        while use is not None and use[0].name in self._merged:
            node = use[0]
            use = only_consumer(node.outputs[0])
        return node

    def _elements(self, tensor: str) -> int | None:
        return self._sizes.elements(self._plain.get(tensor, tensor))

    def _count(self, tensors: Iterable[str]) -> int | None:
        sizes = [self._elements(name) for name in tensors]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def _moves(node: ir.Node) -> bool:
    """Say whether a node reads activations: what is computed from constants, or of shapes, is known before a run."""
    return node.op_type != "Shape" and any(True for _ in _activations(node))


def _activations(node: ir.Node) -> Iterator[ir.Value]:
    """Yield the operands of a node that are no constants, behind their Q/DQ."""
    for value in node.inputs:
        if value is not None and not is_constant(_unquantized(value)):
            yield value


def _unquantized(value: ir.Value) -> ir.Value:
    """Return what stands before the Q/DQ that make a tensor."""
    maker = value.producer()
    while maker is not None and is_pair_half(maker) and (before := input_at(maker, 0)) is not None:
        value, maker = before, before.producer()
    return value


def _source(value: ir.Value) -> str:
    return name_of(_unquantized(value))


def _reads_stored_weight(node: ir.Node) -> bool:
    weight = input_at(node, 1)
    return weight is not None and is_dequantize(weight.producer()) and is_constant(_unquantized(weight))
