"""`qdq_cli.convert`: what `qdq convert` does, for models and samples in memory."""

from __future__ import annotations

from typing import Unpack

from calibrators import CalibrationTable
from qdq_cli.calls.forms import Calib, Model
from qdq_cli.calls.keywords import ConvertKeywords
from qdq_cli.calls.listening import told_of
from qdq_cli.calls.place import Place
from qdq_cli.calls.records import DATA_RECORDS, cache_of, data_of, record_of
from qdq_cli.calls.result import Result
from qdq_cli.calls.signature import Signature
from qdq_cli.config.convert import ConvertConfig
from qdq_cli.config.quantize import DEFAULT_VERIFY, VerifyConfig
from qdq_cli.converting.convert import convert_model
from qdq_cli.converting.record import Conversion

_SIGNATURE = Signature(ConvertKeywords, (ConvertConfig, *DATA_RECORDS, VerifyConfig), {"verify": DEFAULT_VERIFY})


@_SIGNATURE.shown_by
def convert(
    model: Model, calib: Calib | CalibrationTable | None = None, **given: Unpack[ConvertKeywords]
) -> Result[Conversion]:
    """Make an FP32 model FP16 or BF16 as far as its values allow; nothing is written, and the model is not changed.

    Args:
        model: As `quantize` takes it; with Q/DQ or without.
        calib: Samples, as `quantize` takes them, or the table of another run: how large the tensors get. Without
            either the rules about operators and constants hold alone.
        given: What the options of `qdq convert` say (`ConvertKeywords`).

    Returns:
        The model with its report; its plan and table are None.

    Raises:
        UnmetConversionError: A limit is not met; its `report` says what was found.
        QdqError: Anything else that keeps the model from being finished.
    """
    place = Place()
    with place.speaking():
        keywords = _SIGNATURE.complete(given)
        output = place.folder / "result.onnx"
        fixed = {
            "model": place.model(model),
            "output": output,
            "data": data_of(calib, keywords),
            "cache": cache_of(calib, keywords["cache"], place),
            "verify": record_of(VerifyConfig, keywords, {"samples": keywords["verify"]}),
        }
        report = convert_model(record_of(ConvertConfig, keywords, fixed), told_of(keywords))
        return Result(place.unsaved(report), output, place)
