"""Where a quantized model comes from, written into its metadata; nothing that differs between two equal runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from qdq_cli.config.forms import DEFAULT_TARGET
from qdq_cli.process.version import tool_version

if TYPE_CHECKING:
    import onnx_ir as ir


def record_provenance(model: ir.Model, recovery: Iterable[str] = (), target: str = "") -> None:
    """Write the tool, the steps of recovery and a target that is not the default into the metadata, under `qdq.` keys.

    Nothing is said of how the ranges came about: equal ones make equal files, whether they were calibrated here, read
    from a cache, or given in a table of another tool. The report says it.
    """
    model.metadata_props["qdq.version"] = tool_version()
    if target not in ("", DEFAULT_TARGET):
        model.metadata_props["qdq.target"] = target
    if steps := ", ".join(recovery):
        model.metadata_props["qdq.recovery"] = steps


SPREAD = "qdq.spread"
"""Under what key the metadata name the depthwise convolutions whose channels were made larger in front of them."""


SHIFTED = "qdq.shifted"
"""Under what key the metadata say which tensors are shifted (`placement.shifting`), and by how much."""


def record_shifted(model: ir.Model, shifted: Mapping[str, float]) -> None:
    """Write which tensors are larger by a constant than those of the float model, by their names there, if any are."""
    if shifted:
        model.metadata_props[SHIFTED] = json.dumps(dict(shifted), ensure_ascii=False)


def shifted_of(model: ir.Model) -> dict[str, float]:
    """Read back which tensors are shifted in a quantized model, and by how much; none for other files."""
    try:
        found = json.loads(model.metadata_props.get(SHIFTED, "{}"))
    except ValueError:
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: float(amount) for name, amount in pairs if isinstance(amount, int | float)}


def record_float_type(model: ir.Model, float_type: str) -> None:
    """Write the type that was given to what is not quantized into the model's metadata."""
    model.metadata_props["qdq.float_type"] = float_type


def target_of(model: ir.Model) -> str:
    """Read back the name of the target that a model was written for, as the file has it; "" where it says nothing."""
    return model.metadata_props.get("qdq.target", "")


def forget_target(model: ir.Model) -> None:
    """Take the target out of the metadata, of a model that is written for the default one now."""
    model.metadata_props.pop("qdq.target", None)


def recovery_of(model: ir.Model) -> tuple[str, ...]:
    """Read back the steps of recovery that a model was written with; none for other models."""
    return tuple(model.metadata_props.get("qdq.recovery", "").replace("+", " ").replace(",", " ").split())
