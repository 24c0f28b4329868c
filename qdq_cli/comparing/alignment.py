"""Bring a float model and its quantized form to where they can be compared: same inputs and outputs, then same opset.

Both are compared as written: nothing is folded, no operator changes but by ONNX's own version converter.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import onnx_ir as ir
from onnx_ir.passes import common as passes

from qdq_cli.model.inline import inline_functions
from qdq_cli.model.integer_io import codes_in
from qdq_cli.model.nodes import mark_shape_computations
from qdq_cli.model.opset import normalize_imports, opset_of, raise_opset
from qdq_cli.preparing.prepare import infer_shapes, lift_constants, name_everything
from qdq_cli.preparing.reading import drop_shared_constants
from qdq_cli.process.errors import ModelError


def make_comparable(model: ir.Model) -> None:
    """Inline functions, lift constants, name and type everything, in place; initializers are no graph inputs then.

    Raises:
        ModelError: The model is malformed.
    """
    inline_functions(model)
    normalize_imports(model)
    passes.RemoveInitializersFromInputsPass()(model)
    lift_constants(model)
    drop_shared_constants(model.graph)
    name_everything(model)
    infer_shapes(model)


def require_same_interface(reference: ir.Model, quantized: ir.Model) -> None:
    """Make sure that both models take the same inputs and give the same outputs, by name, type and shape.

    Raises:
        ModelError: They do not; the first difference is named.
    """
    codes = codes_in(quantized.metadata_props).keys()
    _require_same("input", reference.graph.inputs, quantized.graph.inputs, codes)
    if added := _names(quantized.graph.inputs) - _names(reference.graph.inputs):
        raise ModelError(f"The quantized model has an input '{min(added)}' that the reference lacks.", _HINT)
    _require_same("output", reference.graph.outputs, quantized.graph.outputs, codes)


_HINT = "Compare a model with the one it was quantized from, exported with the same names and shapes."


def _names(values: Iterable[ir.Value]) -> set[str]:
    return {value.name or "" for value in values}


def _require_same(
    kind: str, reference: Iterable[ir.Value], quantized: Iterable[ir.Value], codes: AbstractSet[str]
) -> None:
    """Compare inputs or outputs; those in `codes` are integers in the quantized model that stand for floats."""
    others = {value.name: value for value in quantized}
    for value in reference:
        other = others.get(value.name)
        if other is None:
            found = ", ".join(f"'{name}'" for name in others) or "none"
            raise ModelError(
                f"The reference's {kind} '{value.name}' is not one of the quantized model's: {found}.", _HINT
            )
        if not (_same_type(value, other) or value.name in codes) or not fits(value, other):
            raise ModelError(
                f"The {kind} '{value.name}' is {_text(value)} in the reference and {_text(other)} in the quantized "
                "model.",
                _HINT,
            )


def _same_type(one: ir.Value, other: ir.Value) -> bool:
    return one.dtype is None or other.dtype is None or one.dtype == other.dtype


def fits(one: ir.Value, other: ir.Value) -> bool:
    """Say whether two values can have the same shape; what is not declared does not contradict."""
    if one.shape is None or other.shape is None:
        return True
    if one.shape.rank() != other.shape.rank():
        return False
    pairs = zip(one.shape, other.shape, strict=True)
    return all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))


def _text(value: ir.Value) -> str:
    kind = "of unknown type" if value.dtype is None else value.dtype.name.lower()
    dims = "of unknown shape" if value.shape is None else "x".join(str(dim) for dim in value.shape)
    return f"{kind} {dims}".rstrip()


def to_one_opset(reference: ir.Model, quantized: ir.Model, least: int = 1) -> tuple[ir.Model, ir.Model]:
    """Raise the older of two comparable models to the opset of the other; neither is to be used afterwards.

    Args:
        reference: The float model.
        quantized: Its quantized form.
        least: The opset to raise both to at least.

    Raises:
        ModelError: It cannot be raised, or both import a custom domain in different versions.
    """
    opset = max(opset_of(reference), opset_of(quantized), least)
    one, other = _raised(reference, opset), _raised(quantized, opset)
    for domain, version in one.opset_imports.items():
        if other.opset_imports.get(domain, version) != version:
            raise ModelError(
                f"The reference imports version {version} of the domain '{domain}', the quantized model version "
                f"{other.opset_imports[domain]}, so they do not fit into one graph.",
                "Compare without --layers.",
            )
    for model in (one, other):
        mark_shape_computations(model.graph)
    return one, other


def _raised(model: ir.Model, opset: int) -> ir.Model:
    if opset_of(model) < opset:
        model = raise_opset(model, opset)
        lift_constants(model)
        name_everything(model)
        infer_shapes(model)
    return model
