"""The type that each weighted operator runs in, found in the kernels of an engine, beside the predicted one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from qdq_cli.building.record import Agreement, Kernel, KernelTensor, Operator, Traffic
from qdq_cli.inspecting.record import Inspection
from qdq_cli.targets.tensorrt.precision import Precision
from qdq_cli.targets.tensorrt.simulation import Layer, LayerKind

FLOATS = ("FP32", "BF16", "FP16")
"""Types a float operator may run in, widest first."""

NARROW = ("INT8", "FP4", "FP8", "INT4")
"""Types that an operator runs in where two of its operands have one of them; blocks of FP4 have FP8 scales beside."""

INT8 = "INT8"

_SPELLED = {Precision.MXFP8: "FP8", Precision.NVFP4: "FP4", Precision.OTHER: ""}
"""Predicted types that the compiler calls otherwise: blocks have scales beside them."""

_PAIR_HALVES = ("QuantizeLinear", "DequantizeLinear")

_NO_PRODUCT = frozenset({
    *("kgen", "maxpool", "avgpool", "signal", "wait", "shape_call"),
    *("Reformat", "NoOp", "PointWise", "PointWiseV2", "PointWiseExpression", "Shuffle", "Slice", "Scale", "Constant"),
    *("ElementWise", "Quantize", "Dequantize", "Identity", "Cast", "CudaPooling", "CaskPooling", "Pooling", "Softmax"),
})  # fmt: skip
"""Words for layers that are generated, pool, move, convert or wait: those of TensorRT for RTX, then those of engines of
TensorRT; all others form products."""


def operators_of(
    kernels: Sequence[Kernel], inspection: Inspection, quantizers: Mapping[str, str], *, floats_alike: bool = False
) -> tuple[Operator, ...]:
    """Return every weighted operator of a model as predicted and as built, in graph order.

    Args:
        kernels: The layers of the engine.
        inspection: What is predicted for the same file.
        quantizers: Node -> the Q that its data comes from.
        floats_alike: Take all float types as one: builders that are not strongly typed choose among them.
    """
    homes = homes_of(kernels)
    layers = zip(inspection.layers, inspection.layer_costs, strict=True)
    return tuple(
        _operator(layer, cost.macs, homes.get(layer.name), quantizers.get(layer.name), floats_alike=floats_alike)
        for layer, cost in layers
        if layer.kind is LayerKind.WEIGHTED
    )


def types_run(kernels: Sequence[Kernel], weighted: Iterable[str], quantizers: Mapping[str, str]) -> dict[str, int]:
    """Count weighted operators by the type they run in, most first; those without a kernel are left out.

    Args:
        kernels: The layers of the engine.
        weighted: Names of the operators.
        quantizers: Node -> the Q that its data comes from.
    """
    homes = homes_of(kernels)
    types = (computed_type(homes[name], quantizers.get(name)) for name in weighted if name in homes)
    return dict(Counter(filter(None, types)).most_common())


def unpredicted_operators(
    kernels: Sequence[Kernel], weighted: Mapping[str, str], quantizers: Mapping[str, str]
) -> tuple[Operator, ...]:
    """Return weighted operators as built, for a model of which nothing can be predicted.

    Args:
        kernels: The layers of the engine.
        weighted: Name of each operator -> its type.
        quantizers: Node -> the Q that its data comes from.
    """
    homes = homes_of(kernels)
    types = {name: computed_type(homes[name], quantizers.get(name)) for name in weighted if name in homes}
    return tuple(
        Operator(name, op_type, None, "", types.get(name, ""), None, (), homes[name].name if name in homes else "")
        for name, op_type in weighted.items()
    )


def homes_of(kernels: Sequence[Kernel]) -> dict[str, Kernel]:
    """Return node -> the kernel that computes it, of all that name it.

    One that forms products goes before a generated one, which may only prepare an operand or finish the result; of
    equals, one whose first node it is.
    """
    found: dict[str, Kernel] = {}
    for kernel in kernels:
        for name in kernel.nodes:
            if name not in found or _fitness(kernel, name) > _fitness(found[name], name):
                found[name] = kernel
    return found


def _fitness(kernel: Kernel, node: str) -> tuple[bool, bool]:
    return kernel.kind not in _NO_PRODUCT, kernel.nodes[:1] == (node,)


def _operator(
    layer: Layer, macs: int | None, kernel: Kernel | None, quantizer: str | None, *, floats_alike: bool
) -> Operator:
    predicted = _SPELLED.get(layer.precision, layer.precision.value)
    built = "" if kernel is None else computed_type(kernel, quantizer)
    alike = built == predicted or (floats_alike and built in FLOATS and predicted in FLOATS)
    agrees = alike if built and predicted else None
    because = layer.because if agrees is False else ()
    return Operator(
        layer.name, layer.op_type, macs, predicted, built, agrees, because, "" if kernel is None else kernel.name
    )


def computed_type(kernel: Kernel, quantizer: str | None) -> str:
    """Return the type that a kernel computes an operator in: a narrow one where two operands have it, else a float.

    A single narrow operand is a residual branch, or a weight that is dequantized first; but not where the kernel also
    quantizes the operator's data itself.

    Args:
        kernel: The kernel.
        quantizer: The Q that the operator's data comes from, if any.
    """
    counts = Counter(tensor.type for tensor in (*kernel.reads, *kernel.weights) if _counts(tensor))
    inside = quantizer in kernel.nodes
    for kind in NARROW:
        if counts[kind] + inside > 1:
            return kind
    seen = {tensor.type for tensor in kernel.reads} or {tensor.type for tensor in kernel.writes}
    return next((kind for kind in FLOATS if kind in seen), next((kind for kind in NARROW if kind in seen), ""))


def _counts(tensor: KernelTensor) -> bool:
    return tensor.dims != (1,)  # a factor of the product itself


def agreement_of(operators: Iterable[Operator], elsewhere: int) -> Agreement:
    """Count how many operators run in the type that is predicted.

    Args:
        operators: The weighted operators.
        elsewhere: Further ones that the prediction has in no layer of their own.
    """
    counts = Counter(operator.agrees for operator in operators)
    return Agreement(counts[True], counts[False], counts[None] + elsewhere)


def macs_percent(operators: Iterable[Operator], kind: str = INT8) -> float | None:
    """Return the share of the multiply-accumulates in a type; None where some are not known or there are none."""
    pairs = [(operator.macs, operator.built) for operator in operators]
    if any(macs is None or not built for macs, built in pairs):
        return None
    whole = sum(macs or 0 for macs, _ in pairs)
    return 100 * sum(macs or 0 for macs, built in pairs if built == kind) / whole if whole else None


def share_of_codes(operators: Iterable[Operator]) -> tuple[str, float]:
    """Return the type of codes that most multiply-accumulates run in, INT8 where none do, and its share in percent.

    Args:
        operators: Those of an engine, whose multiply-accumulates are known.
    """
    found = tuple(operators)
    shares = {kind: macs_percent(found, kind) or 0.0 for kind in NARROW}
    kind = max(shares, key=lambda name: (shares[name], name == INT8))
    return kind, shares[kind]


def built_types(operators: Iterable[Operator]) -> dict[str, int]:
    """Count the operators by the type they run in, most first; those without a kernel are left out."""
    return dict(Counter(operator.built for operator in operators if operator.built).most_common())


def types_of(kernels: Iterable[Kernel]) -> dict[str, int]:
    """Count kernels by `types read -> types written`, most first; those that only wait are left out."""
    counts = Counter(types_text(kernel) for kernel in kernels if kernel.reads or kernel.writes)
    return dict(counts.most_common())


def types_text(kernel: Kernel) -> str:
    """Write the types that a kernel reads and writes, each once."""
    read, written = ("/".join(dict.fromkeys(t.type for t in part)) or "-" for part in (kernel.reads, kernel.writes))
    return f"{read} -> {written}"


def conversions_of(kernels: Sequence[Kernel], op_types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of kernels that are a Q or DQ of its own and nothing else.

    The compiler names beside a Q the product that it stands before; the product itself is another kernel. A kernel that
    such a product feeds finishes its result, and is none of them.

    Args:
        kernels: The layers of the engine.
        op_types: Node -> its operator.
    """
    homes = homes_of(kernels)
    made = {tensor.name: kernel for kernel in kernels for tensor in kernel.writes}

    def converts(kernel: Kernel) -> bool:
        halves = {name for name in kernel.nodes if op_types.get(name) in _PAIR_HALVES}
        others = set(kernel.nodes) - halves
        feeding = {made[tensor.name].name for tensor in kernel.reads if tensor.name in made}
        elsewhere = all(homes[name] is not kernel and homes[name].name not in feeding for name in others)
        kinds = [{tensor.type for tensor in part} for part in (kernel.reads, kernel.writes)]
        return bool(halves) and elsewhere and kernel.kind in _NO_PRODUCT and kinds[0] != kinds[1]

    return tuple(kernel.name for kernel in kernels if converts(kernel))


def traffic_of(kernels: Iterable[Kernel]) -> Traffic:
    """Add up the bytes that kernels read and write."""
    activations: Counter[str] = Counter()
    weights = unknown = 0
    for kernel in kernels:
        moved = (*kernel.reads, *kernel.writes)
        if any(tensor.size_bytes is None for tensor in (*moved, *kernel.weights)):
            unknown += 1
            continue
        for tensor in moved:
            activations[tensor.type] += tensor.size_bytes or 0
        weights += sum(tensor.size_bytes or 0 for tensor in kernel.weights)
    return Traffic(dict(activations.most_common()), activations.total(), weights, unknown)
