"""Everything a run of `qdq compare` can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.data import DataConfig
from qdq_cli.config.fields import option
from qdq_cli.config.limits import agreement_field, report_field, speedup_field, sqnr_field


@dataclass(frozen=True)
class CompareConfig(Checked):
    """One run of `qdq compare`.

    Args:
        reference: The float model.
        quantized: Its quantized form, of any tool.
        data: Where samples come from; without `samples` 64, evenly spread.
        layers: Compare every tensor that both models have, too.
        min_sqnr: Lowest SQNR in dB that every output must reach.
        min_agreement: Lowest top-1 agreement in percent that every output of class scores must reach.
        report: Where a page about the run goes; None for no page.
        time: Time both in turn, each as ONNX Runtime runs it by default.
        min_speedup: How many times as fast as the float model the other must run; both are timed then.
    """

    reference: Path
    quantized: Path
    data: DataConfig = field(default_factory=DataConfig)
    layers: bool = option(False, "Compare every tensor that both models have, and name causes.")
    min_sqnr: float | None = sqnr_field()
    min_agreement: float | None = agreement_field()
    report: Path | None = report_field()
    time: bool = option(False, "Time both on this CPU, each as ONNX Runtime runs it by default.")
    min_speedup: float | None = speedup_field()
