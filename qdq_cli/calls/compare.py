"""`qdq_cli.compare`: what `qdq compare` does, for models and samples in memory."""

from __future__ import annotations

from typing import Unpack

from qdq_cli.calls.forms import Calib, Model
from qdq_cli.calls.keywords import CompareKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import DATA_RECORDS, data_of, record_of
from qdq_cli.calls.signature import Signature
from qdq_cli.comparing.compare import compare_models, require_limits
from qdq_cli.comparing.record import Comparison
from qdq_cli.config.compare import CompareConfig

_SIGNATURE = Signature(CompareKeywords, (CompareConfig, *DATA_RECORDS), {})


@_SIGNATURE.shown_by
def compare(reference: Model, quantized: Model, calib: Calib, **given: Unpack[CompareKeywords]) -> Comparison:
    """Compare a float model with its quantized form, output by output.

    Args:
        reference: The float model, as `quantize` takes it.
        quantized: Its quantized form of any tool, or a result.
        calib: Samples, as `quantize` takes them.
        given: What the options of `qdq compare` say (`CompareKeywords`).

    Returns:
        What was found.

    Raises:
        LimitError: A limit is not met; its `found` is the record.
        QdqError: A model or the samples cannot be used.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        fixed = {
            "reference": place.model(reference, "reference"),
            "quantized": place.model(quantized, "quantized"),
            "data": data_of(calib, keywords),
        }
        config = record_of(CompareConfig, keywords, fixed)
        found = place.relabelled(compare_models(config, told_of(keywords)))
        require_limits(found, config)
        return found
