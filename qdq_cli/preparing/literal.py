"""A model file as a session is to run it: as it is written, or the twin that gives what it is defined to."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from qdq_cli.model import files
from qdq_cli.model.inline import inline_functions
from qdq_cli.model.opset import normalize_imports
from qdq_cli.model.ordinary import OTHERS, ordinary
from qdq_cli.model.wire import file_mentions
from qdq_cli.preparing.prepare import infer_shapes, lift_constants, name_everything
from qdq_cli.running.outputs import without_weights
from qdq_cli.running.session import Source


def literal(path: Path) -> Source:
    """Return what a session is made from that computes what the model says: the file, or an ordinary twin of it.

    Args:
        path: A model that was loaded before.

    Raises:
        ModelError: The model cannot be loaded any more.
    """
    if not file_mentions(path, OTHERS):
        return Source(path)
    model = readable(path)
    found = ordinary(model)
    if found is model:
        return Source(path)
    proto, weights = without_weights(found)
    return Source(proto.SerializeToString(), weights)


def readable(path: Path) -> ir.Model:
    """Load a model as it is, functions inlined, its nodes and values named and typed."""
    model = files.load(path).model
    inline_functions(model)
    normalize_imports(model)
    lift_constants(model)
    name_everything(model)
    infer_shapes(model)
    return model
