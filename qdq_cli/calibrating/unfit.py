"""What helps where a calibration cache does not fit a model."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.placement.plan import Plan

OTHER_OPTIONS = "It was made for another target or other options; qdq calibrate --every-target serves every target."


def ends_of(model: ir.Model, plan: Plan) -> frozenset[str]:
    """Name the tensors at the ends of a model that a plan quantizes: another plan observes none of the outputs."""
    quantized = {target.tensor for target in plan.targets}
    return frozenset(value.name or "" for value in model.graph.outputs) & quantized


def way_out(
    samples: Samples | None, config: RangeConfig, missing: Sequence[str], outputs: frozenset[str], *, same_network: bool
) -> str:
    """Say what helps where a calibration cache does not fit a model.

    Args:
        samples: The calibration data of the run; None where there is none.
        config: What may be done about what is missing.
        missing: The tensors that the cache lacks.
        outputs: The quantized outputs of the model.
        same_network: Whether the cache was made of this network.
    """
    if samples is None and missing and outputs.issuperset(missing):
        return (
            "Outputs that become integers have to be observed: give --calib, or make it with qdq calibrate "
            "--integer-io, or --every-target."
        )
    if samples is None:
        more = f"; qdq cache check MODEL {config.cache} -v with the same options names all" if missing else ""
        other = "It was made for other weights, another network, or in another way."
        made = OTHER_OPTIONS if missing and same_network else other
        return f"{made} Give --calib to make it again{more}."
    if config.cache_missing == "calibrate":
        return "Choose the preprocessing of the cache with --preprocess, or calibrate everything with --recalibrate."
    return "Allow it with --cache-missing calibrate, or calibrate everything with --recalibrate."
