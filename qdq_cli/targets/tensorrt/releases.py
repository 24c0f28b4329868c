"""Which TensorRT releases read a model: opset, scale types and weight forms (rules, sections 0.2, 1.4 and 1.7)."""

from __future__ import annotations

from qdq_cli.config.forms import TensorRT, WeightForm
from qdq_cli.process.errors import ModelError

NEWEST_OPSET = {TensorRT.V8_4: 17, TensorRT.V8_6: 17, TensorRT.V11: 25}
"""Newest opset a version reads (rules, section 0.2); for TensorRT 10 it depends on the minor version."""


def oldest_release(opset: int, *, half: bool, weights: WeightForm, asked: TensorRT | None) -> TensorRT:
    """Return the oldest release that reads the result, which is the one asked for if that reads it.

    Args:
        opset: Opset of the prepared model.
        half: Whether weights and scales are FP16 or BF16 (A9-A11).
        weights: How weights are stored (section 1.7).
        asked: The release the user named, or None.

    Raises:
        ModelError: The release asked for is too old.
    """
    for release in TensorRT:
        obstacle = _obstacle(release, opset, half=half, weights=weights)
        if asked is release and obstacle:
            raise ModelError(f"TensorRT {asked.value} does not read the result: {obstacle[0]}.", obstacle[1])
        if not obstacle and asked in (None, release):
            return release
    raise ModelError(
        f"No TensorRT release reads opset {opset}; the newest reads opset {max(NEWEST_OPSET.values())}.",
        "Export the model with opset 17.",
    )


def _obstacle(release: TensorRT, opset: int, *, half: bool, weights: WeightForm) -> tuple[str, str] | None:
    """Return why a release does not read such a model, and what to do about it; None where it does."""
    modern = release in (TensorRT.V10, TensorRT.V11)
    if half and not modern:
        return (
            "what is not quantized is FP16 or BF16, and it reads scales of FP32 alone beside INT8 (A9)",
            "Leave what is not quantized FP32 and build with --int8 --fp16, or ask for --trt 10 and above.",
        )
    if weights is WeightForm.INT8 and not modern:
        return (
            "it does not read INT8 initializers (form F2)",
            "Use --weights int8-compat, or ask for --trt 10 and above.",
        )
    newest = NEWEST_OPSET.get(release, max(NEWEST_OPSET.values()))
    if opset > newest:
        return (
            f"the model has opset {opset}, and it reads opset {newest} at most",
            f"Export the model with opset {newest}, or ask for a newer --trt.",
        )
    return None
