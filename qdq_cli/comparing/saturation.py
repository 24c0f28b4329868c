"""What ONNX Runtime's default session makes of products of UINT8 by INT8 where the processor saturates them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qdq_cli.comparing.record import Comparison, Saturation
from qdq_cli.data.batches import Batch
from qdq_cli.model.files import ModelFile
from qdq_cli.preparing.default_graph import saturating_source
from qdq_cli.process.errors import ModelError
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.running.runner import Runner
from qdq_cli.screen.sentences import count_text, some_of

LOSS_DB = 1.0
"""A smaller difference is told by nobody: the optimized graph rounds in other places."""


class SaturationMeter:
    """Computes what the default session gives on x86 processors with AVX2 and without VNNI, on any processor.

    Args:
        quantized: The model.

    Raises:
        ModelError: The default session cannot load the model.
    """

    def __init__(self, quantized: ModelFile) -> None:
        source, self._products = saturating_source(quantized.path)
        self._runner = Runner(source) if self._products.written else None
        self._outputs = OutputMeter()

    def observe(self, reference: Mapping[str, Any], batch: Batch) -> None:
        """Run a batch, and hold it against what the float model gave for it."""
        if self._runner is not None:
            self._outputs.observe(reference, self._runner.run(batch))

    def found(self) -> Saturation | None:
        """What was measured; None where no operator may saturate."""
        operators = self._products.written + len(self._products.left)
        if not operators:
            return None
        sqnr_db = {name: at.sqnr_db for name, at in self._outputs.distances().items()}
        return Saturation(operators, sqnr_db, self._products.left)


def saturation_meter(quantized: ModelFile) -> SaturationMeter | None:
    """Return the meter; None where the default session cannot load the model."""
    try:
        return SaturationMeter(quantized)
    except ModelError:
        return None


def saturation_text(found: Comparison) -> str:
    """Say which products saturate on some processors, and by how much outputs fall there; "" for none."""
    saturation = found.saturation
    if saturation is None:
        return ""
    many = count_text(saturation.operators, "operator")
    return " ".join(
        (
            f"{many} with products of UINT8 by INT8 in ONNX Runtime's default session, which saturates them on x86 "
            "processors with AVX2 but no VNNI.",
            *_falls(found, saturation),
            "session.x64quantprecision=1 makes constant weights exact there, as weights of 7 bits (reduce_range) are.",
        )
    )


def _falls(found: Comparison, saturation: Saturation) -> Iterator[str]:
    """Say how far outputs fall there, as computed here, and what is not known of it."""
    if saturation.saturated_sqnr_db:
        yield f"There, {'; '.join(_losses(found, saturation)) or 'no output falls by more than 1 dB'}."
    if saturation.left:
        yield f"What {some_of(saturation.left)} would lose is not computed."


def _losses(found: Comparison, saturation: Saturation) -> Iterator[str]:
    for name, saturated_db in saturation.saturated_sqnr_db.items():
        exact_db = found.outputs[name].sqnr_db
        if exact_db - saturated_db > LOSS_DB:
            yield f"'{name}' falls from {exact_db:.1f} to {saturated_db:.1f} dB"
