"""TensorRT for RTX as a target: TensorRT's table, with the rows that were measured to differ.

Its compiler builds without a GPU, so that each row here was seen: decision 15 has the figures.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from qdq_cli.config.forms import TensorRT, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.placement.operators import is_depthwise
from qdq_cli.placement.target import Build, Obstacle, OperatorRule, OperatorTable
from qdq_cli.targets.tensorrt.predict import TensorRTPredictor
from qdq_cli.targets.tensorrt.releases import oldest_release
from qdq_cli.targets.tensorrt.seconds import Roofline
from qdq_cli.targets.tensorrt.table import TENSORRT
from qdq_cli.targets.tensorrt.trtexec import FLOAT_REST
from qdq_cli.targets.tensorrt_rtx.limits import refused
from qdq_cli.targets.tensorrt_rtx.operands import why_float
from qdq_cli.targets.tensorrt_rtx.skips import REASONS

_FLOAT = frozenset({"ConvTranspose", "AveragePool", "GlobalAveragePool", "ReduceMean"})
"""What has no kernel on codes there, or none that moves less."""

OPERATORS = OperatorTable(
    {
        **{name: rule for name, rule in TENSORRT.operators.rules.items() if name not in _FLOAT},
        **dict.fromkeys(("Conv", "Gemm", "MatMul"), OperatorRule(computes_float=why_float)),
    }
)
"""Operators that it computes on codes."""


def _padded(node: ir.Node, config: PlanConfig) -> bool:
    """The codes that a depthwise convolution reads are padded to four times its channels."""
    return config.channel_rules and is_depthwise(node)


def _release(opset: int, *, half: bool, weights: WeightForm, asked: TensorRT | None) -> TensorRT:
    """Its importer is that of TensorRT 11, whatever is asked for."""
    return oldest_release(opset, half=half, weights=weights, asked=TensorRT.V11)


def _builds(oldest: TensorRT, *, half: bool, asked: TensorRT | None) -> tuple[Build, ...]:
    """Say how its command line tool builds a result, ahead of time and without a GPU.

    Source: TensorRT for RTX 1.x, quick start guide.
    """
    command = "tensorrt_rtx --onnx={model} --saveEngine=model.engine"
    return (Build(TENSORRT_RTX.title, command, "" if half else FLOAT_REST),)


TENSORRT_RTX = replace(
    TENSORRT,
    name="tensorrt-rtx",
    title="TensorRT for RTX",
    operators=OPERATORS,
    obstacles=(*TENSORRT.obstacles, Obstacle("DEPTHWISE_PADDED", _padded, REASONS["DEPTHWISE_PADDED"])),
    release=_release,
    refusals=refused,
    builds=_builds,
    predictor=TensorRTPredictor(OPERATORS),
    seconds=Roofline(OPERATORS),
)
"""Decision 14; what is read and how Q/DQ fuse otherwise as TensorRT 11."""
