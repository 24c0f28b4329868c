"""The graph and the layers of a model file, for pages about something else: a comparison, a build."""

from __future__ import annotations

from pathlib import Path

from qdq_cli.model import files
from qdq_cli.preparing.reading import make_readable
from qdq_cli.process.errors import ModelError
from qdq_cli.screen.page import Section
from qdq_cli.targets.tensorrt.page_layers import predicted_sections


def sections_of(path: Path) -> tuple[Section, ...]:
    """Show what is predicted of a model as it is; nothing where it cannot be read as ONNX says it must be.

    Args:
        path: The model, which is loaded anew.
    """
    try:
        model = files.load(path).model
        make_readable(model)
        return predicted_sections(model)
    except ModelError:  # ONNX Runtime or a compiler may take what our checker refuses
        return ()
