"""The graph that ONNX Runtime's default session runs for a model, and what it gives where products saturate."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from qdq_cli.model.saturated import Saturated, saturate_products
from qdq_cli.preparing.literal import readable
from qdq_cli.process.scratch import scratch_folder
from qdq_cli.running.outputs import without_weights
from qdq_cli.running.session import SessionOptions, Source, make_session


def default_graph(path: Path) -> ir.Model:
    """Return what ONNX Runtime makes of a model by default, its Q/DQ pairs fused into operators on codes.

    It is the same on every x86 processor: how tensors lie in memory is decided behind it.

    Raises:
        ModelError: The default session cannot load the model.
    """
    with scratch_folder() as folder:
        kept = folder / "default.onnx"
        options = SessionOptions(threads=1, optimize=True, fuse=True, portable=True, keep=kept)
        make_session(Source(path), options)
        model = readable(kept)
        ir.external_data.load_to_model(model)
    return model


def saturating_source(path: Path) -> tuple[Source, Saturated]:
    """Return what computes a model as the default session does on x86 processors with AVX2 and without VNNI.

    Raises:
        ModelError: The default session cannot load the model.
    """
    model = default_graph(path)
    found = saturate_products(model)
    proto, weights = without_weights(model)
    return Source(proto.SerializeToString(), weights), found
