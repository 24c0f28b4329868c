"""`qdq_cli.inspect`: what `qdq inspect` does, for models in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.calls.forms import Model
from qdq_cli.calls.keywords import InspectKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import record_of, shapes_of
from qdq_cli.calls.signature import Signature
from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.inspecting.inspect import inspect_model, require_gates
from qdq_cli.inspecting.record import Inspection

_SIGNATURE = Signature(InspectKeywords, (InspectConfig, Gates, PlanConfig), {})


@_SIGNATURE.shown_by
def inspect(model: Model, **given: Unpack[InspectKeywords]) -> Inspection:
    """Say what TensorRT would do with a model; for one without Q/DQ, with the result of its plan.

    Args:
        model: As `quantize` takes it.
        given: What the options of `qdq inspect` say (`InspectKeywords`).

    Returns:
        What was found.

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
        found = inspect_model(record_of(InspectConfig, keywords, fixed), told_of(keywords))
        require_gates(found, record_of(Gates, keywords))
        return place.relabelled(found)
