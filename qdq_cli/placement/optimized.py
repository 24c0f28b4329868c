"""Models that ONNX Runtime's optimizer saved: what is said about them, and which of them cannot be quantized at all."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from qdq_cli.model.foreign import ORIGINAL, is_optimizer_made, named
from qdq_cli.model.nodes import every_node
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.skips import OPTIMIZER_MADE
from qdq_cli.placement.target import Target
from qdq_cli.process.errors import ModelError
from qdq_cli.screen.sentences import count_text


def warnings_about(model: ir.Model, target: Target) -> tuple[str, ...]:
    """Write the sentence on operators that the optimizer made; none where there are none."""
    made = [node for node in every_node(model.graph) if is_optimizer_made(node)]
    if not made:
        return ()
    return (
        f"ONNX Runtime's optimizer made {count_text(len(made), 'operator')} of the model ({named(made)}): they stay "
        f"float, and {target.title} does not read them. To quantize all of it, {ORIGINAL}",
    )


def require_originals(path: Path, model: ir.Model, plan: Plan) -> None:
    """Refuse a model whose convolutions and matrix products are all hidden in operators of the optimizer.

    Args:
        path: Its file.
        model: The prepared model.
        plan: What was planned for it.

    Raises:
        ModelError: They are.
    """
    if not plan.weighted or sum(skip.code == OPTIMIZER_MADE for skip in plan.skips) < plan.weighted:
        return
    made = [node for node in every_node(model.graph) if is_optimizer_made(node)]
    raise ModelError(
        f"{path} was saved by ONNX Runtime's optimizer, which hid every convolution and matrix product in operators of "
        f"its own ({named(made)}), so nothing can be quantized.",
        f"{ORIGINAL[0].upper()}{ORIGINAL[1:]}",
    )
