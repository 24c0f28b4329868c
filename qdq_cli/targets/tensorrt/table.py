"""TensorRT as a target: symmetric INT8, one scale an activation tensor and one an output channel of weights."""

from __future__ import annotations

from calibrators.qtypes import INT8
from calibrators.scheme import PerChannel, Scheme
from qdq_cli.placement.target import Target
from qdq_cli.targets.tensorrt.importer.refusals import refused_by_releases
from qdq_cli.targets.tensorrt.obstacles import OBSTACLES
from qdq_cli.targets.tensorrt.operators import OPERATORS
from qdq_cli.targets.tensorrt.predict import TensorRTPredictor
from qdq_cli.targets.tensorrt.releases import oldest_release
from qdq_cli.targets.tensorrt.seconds import Roofline
from qdq_cli.targets.tensorrt.trtexec import builds

TENSORRT = Target(
    name="tensorrt",
    title="TensorRT",
    activations=Scheme(INT8),
    weights=Scheme(INT8, granularity=PerChannel(0)),
    operators=OPERATORS,
    obstacles=OBSTACLES,
    release=oldest_release,
    refusals=refused_by_releases,
    builds=builds,
    predictor=TensorRTPredictor(),
    seconds=Roofline(OPERATORS),
    shifts=True,
)
"""Rules, sections 1 (what it reads), 2 (operators) and 3 (placement); which release reads what is in `releases`,
how each builds it in `trtexec`."""
