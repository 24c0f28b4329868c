"""What ONNX Runtime's default session makes of products of UINT8 by INT8, which may saturate there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qdq_cli.comparing.record import Comparison, Saturation
from qdq_cli.data.batches import Batch
from qdq_cli.model.files import ModelFile
from qdq_cli.model.products import may_saturate
from qdq_cli.process.errors import ModelError
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source
from qdq_cli.screen.sentences import count_text

LOSS_DB = 1.0
"""A smaller difference is told by nobody: the optimized graph rounds in other places."""


class SaturationMeter:
    """Runs the quantized model in ONNX Runtime's default session, on this processor, beside the exact run.

    Args:
        quantized: The model; its graph comparable.

    Raises:
        ModelError: The default session cannot load the model.
    """

    def __init__(self, quantized: ModelFile) -> None:
        self._operators = may_saturate(quantized.model)
        self._runner = Runner(Source(quantized.path), default=True) if self._operators else None
        self._outputs = OutputMeter()

    def observe(self, reference: Mapping[str, Any], batch: Batch) -> None:
        """Run a batch, and hold it against what the float model gave for it."""
        if self._runner is not None:
            self._outputs.observe(reference, self._runner.run(batch))

    def found(self) -> Saturation | None:
        """What was measured; None where no operator may saturate."""
        if not self._operators:
            return None
        return Saturation(self._operators, {name: at.sqnr_db for name, at in self._outputs.distances().items()})


def saturation_meter(quantized: ModelFile) -> SaturationMeter | None:
    """Return the meter; None where the default session cannot load the model."""
    try:
        return SaturationMeter(quantized)
    except ModelError:
        return None


def saturation_text(found: Comparison) -> str:
    """Say which products may saturate, and by how much they do here; "" for none."""
    saturation = found.saturation
    if saturation is None:
        return ""
    many = count_text(saturation.operators, "operator")
    here = "; ".join(_losses(found, saturation)) or "no output falls by more than 1 dB"
    return (
        f"{many} with products of UINT8 by INT8, which are exact above. On x86 processors without VNNI, ONNX Runtime's "
        f"default session saturates them; on this processor, {here}. session.x64quantprecision=1 makes constant "
        "weights exact there, as weights of 7 bits (reduce_range) are."
    )


def _losses(found: Comparison, saturation: Saturation) -> Iterator[str]:
    for name, default_db in saturation.default_sqnr_db.items():
        exact_db = found.outputs[name].sqnr_db
        if exact_db - default_db > LOSS_DB:
            yield f"'{name}' falls from {exact_db:.1f} to {default_db:.1f} dB"
