"""`qdq_cli.inspect`: what `qdq inspect` does, for models in memory."""

from __future__ import annotations

from typing import Literal, Unpack, overload

from qdq_cli.calls.forms import Model
from qdq_cli.calls.keywords import InspectKeywords, LookKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import record_of, shapes_of
from qdq_cli.calls.signature import Signature
from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.inspecting.inspect import inspect_model, require_gates
from qdq_cli.inspecting.on_cpu import inspect_on_cpu, refuse_gates, require_cpu_gates
from qdq_cli.inspecting.record import Inspection
from qdq_cli.inspecting.record_on_cpu import CpuInspection
from qdq_cli.process.progress import Listener
from qdq_cli.targets.known import target_named

_SIGNATURE = Signature(InspectKeywords, (InspectConfig, Gates, PlanConfig), {})


@overload
def inspect(
    model: Model, *, target: Literal["onnxruntime", "openvino"], **given: Unpack[LookKeywords]
) -> CpuInspection: ...


@overload
def inspect(
    model: Model, *, target: Literal["tensorrt", "tensorrt-rtx"] = ..., **given: Unpack[LookKeywords]
) -> Inspection: ...


@overload
def inspect(model: Model, *, target: str, **given: Unpack[LookKeywords]) -> Inspection | CpuInspection: ...


@_SIGNATURE.shown_by
def inspect(model: Model, **given: Unpack[InspectKeywords]) -> Inspection | CpuInspection:
    """Say what TensorRT, or another target, will do with a model; for one without Q/DQ, with the result of its plan.

    Args:
        model: As `quantize` takes it.
        given: What the options of `qdq inspect` say (`InspectKeywords`).

    Returns:
        What was found: a `CpuInspection` for the targets `onnxruntime` and `openvino`, else an `Inspection`.

    Raises:
        LimitError: A limit is not met.
        QdqError: The model cannot be used.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        fixed = {
            "model": place.model(model),
            "against": None if keywords["against"] is None else place.model(keywords["against"], "against"),
            "plan": record_of(PlanConfig, keywords),
            "input_shape": shapes_of(keywords["input_shape"]),
        }
        config = record_of(InspectConfig, keywords, fixed)
        return place.relabelled(_inspected(config, record_of(Gates, keywords), told_of(keywords)))


def _inspected(config: InspectConfig, gates: Gates, listener: Listener) -> Inspection | CpuInspection:
    """Look, and hold what was found against the limits."""
    if target_named(config.target).fuse is not None:
        refuse_gates(gates)
        on_cpu = inspect_on_cpu(config, listener)
        require_cpu_gates(on_cpu, gates)
        return on_cpu
    found = inspect_model(config, listener)
    require_gates(found, gates)
    return found
