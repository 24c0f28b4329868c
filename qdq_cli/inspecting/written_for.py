"""What a file says of the target that it was written for."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.process.progress import Listener
from qdq_cli.targets.known import TARGETS, written_for

_SHOWN = tuple(name for name, target in TARGETS.items() if target.predictor is not None or target.fuse is not None)
"""The targets that `qdq inspect` shows a model for."""


def say_what_it_is_for(model: ir.Model, asked: str, listener: Listener) -> None:
    """Note that a file says of itself that it was written for another target than the one it is shown for.

    Args:
        model: The model, with the metadata of its file.
        asked: Name of the target that it is shown for.
        listener: Told about it.
    """
    written = written_for(model)
    if written is None or written.name == asked:
        return
    shown = f" --target {written.name} shows that." if written.name in _SHOWN else ""
    listener.note(
        f"The file says that it was written for {written.title}; this is what {TARGETS[asked].title} would make of it."
        f"{shown}"
    )
