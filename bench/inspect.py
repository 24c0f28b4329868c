"""`qdq inspect` of very deep networks, as a user starts it: whole processes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx

from bench.command import START
from bench.deep import BLOCKS, build_deep
from bench.measure import child
from bench.results import Result
from bench.settings import Settings

_GOAL_SECONDS = 5.0


def run(settings: Settings) -> list[Result]:
    """Measure the inspection of each kind of network: float, which is planned and drafted first, and with Q/DQ."""
    models = {f"{kind}, float": build_deep(kind, settings.nodes, settings.folder) for kind in BLOCKS}
    models["residual, Q/DQ"] = build_deep("residual", settings.nodes, settings.folder, quantized=True)
    return [_inspected(name, model) for name, model in models.items()]


def _inspected(name: str, model: Path) -> Result:
    """Time one inspection, and say how large the model is and how much of it is quantized in the end."""
    cost, printed = child([*START, "inspect", str(model), "--json"])
    nodes, found = len(onnx.load(model).graph.node), json.loads(printed)["summary"]
    work = f"{nodes:,} nodes, {found['weighted_quantized']:,} of {found['weighted_ops']:,} weighted operators in INT8"
    return Result(f"qdq inspect, {name}, s", work, cost.wall_seconds, _GOAL_SECONDS)
