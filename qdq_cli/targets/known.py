"""The targets by name."""

from __future__ import annotations

from qdq_cli.placement.target import Target
from qdq_cli.targets.onnxruntime.table import ONNXRUNTIME
from qdq_cli.targets.tensorrt.table import TENSORRT
from qdq_cli.targets.tensorrt_rtx.table import TENSORRT_RTX

TARGETS = {target.name: target for target in (TENSORRT, TENSORRT_RTX, ONNXRUNTIME)}
"""Name, as configurations have it (`config.forms.TARGETS`) -> target."""


def target_named(name: str) -> Target:
    """Return a target by the name that a configuration has checked."""
    return TARGETS[name]
