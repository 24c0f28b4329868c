"""`qdq_cli.sensitivities`: what `qdq sensitivity` does, for models and samples in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.calls.forms import Calib, Model
from qdq_cli.calls.keywords import SensitivityKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import RUN_RECORDS, evaluation_of, quantize_of, record_of
from qdq_cli.calls.signature import Signature
from qdq_cli.config.sensitivity import Evaluation, SensitivityConfig
from qdq_cli.sensitivity.record import SensitivityReport
from qdq_cli.sensitivity.sensitivity import find_sensitivities

_SIGNATURE = Signature(SensitivityKeywords, (*RUN_RECORDS, SensitivityConfig, Evaluation), {})


@_SIGNATURE.shown_by
def sensitivities(model: Model, calib: Calib, **given: Unpack[SensitivityKeywords]) -> SensitivityReport:
    """Rank operators and scale groups by what they cost the outputs when quantized alone.

    Args:
        model: As `quantize` takes it.
        calib: As `quantize` takes it; samples are needed even where a cache serves.
        given: What the options of `qdq sensitivity` say (`SensitivityKeywords`).

    Returns:
        What was found.

    Raises:
        QdqError: The model or the samples cannot be used, or the program of `evaluate` gives no number.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        own = {"report": None, "recover": False, "verify": 0}
        quantized = quantize_of(place.model(model), calib, {**keywords, **own}, place, None)
        fixed = {"quantize": quantized, "evaluation": evaluation_of(keywords)}
        config = record_of(SensitivityConfig, keywords, fixed)
        return place.relabelled(find_sensitivities(config, told_of(keywords)))
