"""`qdq_cli.tune`: what `qdq tune` does, for models and samples in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.calls.forms import Calib, Model
from qdq_cli.calls.keywords import TuneKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import RUN_RECORDS, evaluation_of, quantize_of
from qdq_cli.calls.result import Result
from qdq_cli.calls.signature import Signature
from qdq_cli.config.quantize import DEFAULT_VERIFY
from qdq_cli.config.sensitivity import Evaluation
from qdq_cli.config.tune import TuneConfig
from qdq_cli.quantizing.run import Outcome
from qdq_cli.tuning.record import TuneReport
from qdq_cli.tuning.tune import tune_model

_SIGNATURE = Signature(
    TuneKeywords, (*RUN_RECORDS, TuneConfig, Evaluation), {"verify": DEFAULT_VERIFY, "recover": True}
)


@_SIGNATURE.shown_by
def tune(model: Model, calib: Calib, **given: Unpack[TuneKeywords]) -> Result[TuneReport]:
    """Quantize a model so that it meets a target, with as little as possible left float.

    Args:
        model: As `quantize` takes it.
        calib: As `quantize` takes it; samples are needed even where a cache serves.
        given: What the options of `qdq tune` say (`TuneKeywords`): the target is `min_sqnr`, `min_agreement`, or
            `evaluate` with `max_drop`; the rest is that of `quantize`.

    Returns:
        The model with its report, plan and table. Where `report.met` is False, it is the best that was found.

    Raises:
        QdqError: What keeps the model from being finished, as in `quantize`.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        output = place.folder / "result.qdq.onnx"
        own = {"report": None, "min_int8_macs": None, "dry_run": False, "exclude_after_recovery": ()}
        config = quantize_of(place.model(model), calib, {**keywords, **own}, place, output)
        own_words = (keywords[name] for name in ("max_drop", "min_int8_macs", "report", "cost", "gpu", "types"))
        outcome = Outcome()
        report = tune_model(TuneConfig(config, evaluation_of(keywords), *own_words), told_of(keywords), outcome)
        made = output if output.exists() else place.folder / report.output
        return Result(place.unsaved(report), made, place, outcome, config.ranges.cache)
