"""TensorRT's table for FP8 instead of INT8: E4M3 codes, what has kernels on them, and who has units for them.

Everything that moves data, fuses or commutes does so on FP8 as on INT8. Grouped convolutions have no fast kernel, large
filters none at all, and averages and ConvTranspose none that is documented: they stay float.

Source: rules, section 7 (FP8 E4M3FN); decision 17.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from calibrators.qtypes import FP8_E4M3
from calibrators.scheme import Scheme
from qdq_cli.config.forms import Form, Gpu, QuantType, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.model.nodes import input_at, int_attribute, static_dims
from qdq_cli.placement.target import Obstacle, OperatorTable, Target
from qdq_cli.targets.tensorrt.predict import TensorRTPredictor
from qdq_cli.targets.tensorrt.seconds import Roofline
from qdq_cli.targets.tensorrt.skips import REASONS
from qdq_cli.targets.tensorrt.typed import from_10_on, with_flag

OPSET = 19
"""The first opset whose Q and DQ know E4M3."""

GPUS = (Gpu.SM89, Gpu.SM90, Gpu.SM100, Gpu.SM120)
"""Those with units for it, oldest first."""

MOST_TAPS = 32
"""Elements of the largest filter that has a kernel, one channel's."""

_FLOAT = frozenset({"ConvTranspose", "AveragePool", "GlobalAveragePool", "ReduceMean"})
"""What has kernels on INT8, and none on FP8 that anybody documents."""

_OF_INTEGERS = frozenset({"GROUP_ALIGN", "WIDE_RANGE"})
"""Obstacles of grouped convolutions, all of which stay float."""


def _grouped(node: ir.Node, config: PlanConfig) -> bool:
    return config.group_rules and node.op_type == "Conv" and int_attribute(node, "group", 1) > 1


def _large_filter(node: ir.Node, config: PlanConfig) -> bool:
    taps = (static_dims(input_at(node, 1)) or ())[2:] if node.op_type == "Conv" else ()
    return None not in taps and int(np.prod([int(size or 1) for size in taps])) > MOST_TAPS


_OWN = (
    Obstacle("FP8_GROUPED", _grouped, REASONS["FP8_GROUPED"]),
    Obstacle("FP8_LARGE_FILTER", _large_filter, REASONS["FP8_LARGE_FILTER"]),
)


def in_fp8(target: Target) -> Target:
    """Return the table of a target of NVIDIA's for FP8 in the place of INT8."""
    common = (found for found in target.obstacles if found.code not in _OF_INTEGERS)
    operators = OperatorTable({name: rule for name, rule in target.operators.rules.items() if name not in _FLOAT})
    return replace(
        target,
        activations=Scheme(FP8_E4M3),
        weights=Scheme(FP8_E4M3),
        operators=operators,
        obstacles=(*(replace(found, reason=found.reason.replace("INT8", "FP8")) for found in common), *_OWN),
        weight_forms=(WeightForm.FP32, WeightForm.INT8),
        forms=(Form.PAIRS,),  # ONNX moves hardly anything on FP8 tensors
        lowest_opset=OPSET,
        release=None if target.release is None else from_10_on(target.release, "FP8"),
        predictor=TensorRTPredictor(operators),
        seconds=Roofline(operators),
        builds=None if target.builds is None else with_flag(target.builds, "fp8", "What is not FP8"),
        gpus=GPUS,
        type=QuantType.FP8,
    )
