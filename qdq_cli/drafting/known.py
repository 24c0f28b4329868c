"""What a model tells about itself that belongs into its settings: inputs, and the preprocessing of its pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qdq_cli.calibrating.calibration_data import find_exporter, input_specs
from qdq_cli.data.image_input import assumed_preprocessing, find_image_input, is_picture
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.shapes import is_dynamic
from qdq_cli.model import files
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.process.errors import DataError, UsageError

USUAL_PLACES = ("calib", "calibration", "images", "samples", "calib.npz", "calibration.npz")
"""Where people keep calibration data, seen from the current folder."""


@dataclass(frozen=True)
class Known:
    """What a model tells.

    Args:
        inputs: Its inputs.
        quantized: Whether it holds Q/DQ.
        preprocess: Name of the preprocessing that fits its pictures; "" where it takes none.
        reason: Why, in words that end a sentence.
        calib: Calibration data that lies in one of the usual places; None where there is none.
    """

    inputs: tuple[InputSpec, ...]
    quantized: bool
    preprocess: str
    reason: str
    calib: Path | None

    @property
    def open_inputs(self) -> tuple[InputSpec, ...]:
        """The inputs with a dimension that is open, besides the first one."""
        return tuple(spec for spec in self.inputs if any(map(is_dynamic, spec.shape[1:])))


def look_at(model: Path) -> Known:
    """Read a model and say what it tells.

    Raises:
        ModelError: It cannot be read.
        DataError: An input is no tensor.
    """
    loaded = files.load(model).model
    constants = set(loaded.graph.initializers)
    specs = tuple(spec for spec in input_specs(loaded) if spec.name not in constants)
    exporter = find_exporter(loaded, specs) if len(specs) == len(loaded.graph.inputs) else None
    if exporter is not None:
        preprocess, reason = exporter.preset, exporter.evidence
    else:
        preprocess, reason = _assumed(specs)
    calib = next((path for place in USUAL_PLACES if (path := Path(place)).exists()), None)
    return Known(specs, holds_quantization(loaded), preprocess, reason, calib)


def _assumed(specs: tuple[InputSpec, ...]) -> tuple[str, str]:
    """The preprocessing that `qdq quantize` takes where nobody chooses, and why."""
    if sum(map(is_picture, specs)) != 1:
        return "", ""
    try:
        image = find_image_input(specs)
    except (DataError, UsageError):
        return "", ""
    name = assumed_preprocessing(image).name
    return name, f"a guess: the pictures have {'one channel' if image.channels == 1 else f'{image.channels} channels'}"
