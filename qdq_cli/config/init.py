"""Everything a run of `qdq init` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.config.checked import Checked
from qdq_cli.config.fields import option
from qdq_cli.config.forms import TensorRT
from qdq_cli.config.limits import agreement_field, sqnr_field
from qdq_cli.config.settings import FILE_NAME


@dataclass(frozen=True)
class InitConfig(Checked):
    """One run of `qdq init`.

    Args:
        model: The float model.
        output: The file of settings.
        add: Whether a file that is there gets one more table.
        calib: Where calibration data is; empty where that is not known yet.
        preprocess: How pictures become inputs; None for what the model tells.
        input_shape: `NAME:1x3x224x224` for dynamic inputs.
        trt: TensorRT release that must read the result; None for the oldest that can.
        min_sqnr: Lowest SQNR in dB of any output; None for no limit.
        min_agreement: Lowest top-1 agreement in percent; None for no limit.
    """

    model: Path
    output: Path = option(
        Path(FILE_NAME),
        f"Where the settings go; commands read {FILE_NAME} by themselves.",
        names=("-o", "--output"),
        metavar="FILE",
    )
    add: bool = option(False, "Add a table for MODEL to a file that is there.")
    calib: tuple[Path, ...] = option((), "Calibration data, as qdq quantize takes it. Repeatable.", metavar="PATH")
    preprocess: str | None = option(
        None, "How pictures become inputs. [default: what the model tells]", metavar="NAME|FILE"
    )
    input_shape: tuple[str, ...] = option(
        (), "Shape of a dynamic input, such as images:1x3x640x640. Repeatable.", metavar="NAME:DxDxD"
    )
    trt: TensorRT | None = option(None, "TensorRT release that must read the result. [default: the oldest that can]")
    min_sqnr: float | None = sqnr_field()
    min_agreement: float | None = agreement_field()
