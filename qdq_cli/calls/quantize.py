"""`qdq_cli.quantize`: what `qdq quantize` does, for models and samples in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.calls.forms import Calib, Model
from qdq_cli.calls.keywords import QuantizeKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import RUN_RECORDS, quantize_of
from qdq_cli.calls.result import Result
from qdq_cli.calls.signature import Signature
from qdq_cli.config.quantize import DEFAULT_VERIFY
from qdq_cli.quantizing.pipeline import quantize_model
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Outcome

_SIGNATURE = Signature(QuantizeKeywords, RUN_RECORDS, {"verify": DEFAULT_VERIFY, "recover": False})


@_SIGNATURE.shown_by
def quantize(model: Model, calib: Calib | None = None, **given: Unpack[QuantizeKeywords]) -> Result[Report]:
    """Quantize a model with Q/DQ nodes; the model itself is not changed, and nothing is written.

    Args:
        model: A path, the bytes of a model, an `onnx.ModelProto`, an `onnx_ir.Model`, or another result.
        calib: Samples: a path or several; an array or a dict of arrays whose first axis is the samples; a list, a data
            loader, a generator or any iterable of arrays, tuples or dicts of them, read once; a function that makes
            an iterable anew for each pass; or the table of another result. Tensors of any library do.
        given: What the options of `qdq quantize` say: how samples become inputs (`DataKeywords`), which operators are
            quantized (`PlanKeywords`), how ranges are chosen (`RangeKeywords`), how the result is written
            (`WritingKeywords`), limits (`LimitKeywords`), and the rest (`QuantizeKeywords`).

    Returns:
        The model with its report, plan and table.

    Raises:
        UnmetLimitError: A limit is not met; its `report` says what was found.
        QdqError: Anything else that keeps the model from being finished. What the caller's own generator or function
            raises comes through as it is.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        output = place.folder / "result.qdq.onnx"
        config = quantize_of(place.model(model), calib, keywords, place, output)
        outcome = Outcome()
        report = quantize_model(config, told_of(keywords), outcome=outcome)
        made = output if output.exists() else None
        return Result(place.unsaved(report), made, place, outcome, config.ranges.cache)
