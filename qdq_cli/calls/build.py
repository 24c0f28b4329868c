"""`qdq_cli.build`: what `qdq build` does, for models in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.building.build import build_model
from qdq_cli.building.gates import require_build_gates
from qdq_cli.building.record import BuildReport
from qdq_cli.calls.forms import Model
from qdq_cli.calls.keywords import BuildKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import record_of, shapes_of
from qdq_cli.calls.signature import Signature
from qdq_cli.config.build import BuildConfig, BuildGates
from qdq_cli.config.placement import PlanConfig

_SIGNATURE = Signature(BuildKeywords, (BuildConfig, BuildGates, PlanConfig), {})


@_SIGNATURE.shown_by
def build(model: Model, against: Model | None = None, **given: Unpack[BuildKeywords]) -> BuildReport:
    """Build a model with NVIDIA's compiler, where that is installed, and lay it beside the prediction.

    Args:
        model: As `quantize` takes it.
        against: For a model with Q/DQ: the float model it was made from, which is built beside it.
        given: What the options of `qdq build` say (`BuildKeywords`).

    Returns:
        What was built and predicted.

    Raises:
        LimitError: A limit is not met; its `found` is the record.
        QdqError: The model cannot be used, or the compiler is not there.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        fixed = {
            "model": place.model(model),
            "against": None if against is None else place.model(against, "against"),
            "input_shape": shapes_of(keywords["input_shape"]),
            "plan": record_of(PlanConfig, keywords),
        }
        report = place.relabelled(build_model(record_of(BuildConfig, keywords, fixed), told_of(keywords)))
        require_build_gates(report, record_of(BuildGates, keywords))
        return report
