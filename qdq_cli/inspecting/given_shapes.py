"""The shapes that --input-shape gives to dynamic inputs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir


def given_shapes(model: ir.Model, texts: Sequence[str]) -> dict[str, tuple[int | str | None, ...]]:
    """Return graph input -> shape, of those that are named.

    Args:
        model: The model.
        texts: As `--input-shape` takes them: `NAME:1x3x224x224`.

    Raises:
        UsageError: One names no input, or contradicts what the model says.
    """
    if not texts:
        return {}
    from qdq_cli.calibrating.calibration_data import input_specs  # it brings every reader of data along
    from qdq_cli.data.inputs import parse_input_shapes, with_shapes

    specs = input_specs(model)
    shapes = parse_input_shapes(texts, specs)
    return {spec.name: spec.shape for spec in with_shapes(specs, shapes) if spec.name in shapes}
