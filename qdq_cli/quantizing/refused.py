"""What of a model the releases of a target refuse, and the sentence that says so while quantizing."""

from __future__ import annotations

import onnx_ir as ir

from qdq_cli.config.forms import TensorRT
from qdq_cli.model.foreign import WAY_OUT
from qdq_cli.placement.target import Refused
from qdq_cli.process.errors import UsageError
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.sentences import count_text, some_of

_MOST_REFUSED = 3
"""Kinds of refusals that the sentence names."""


def refused_of(run: Run, model: ir.Model) -> tuple[Refused, ...]:
    """Return what of a prepared model releases of the target refuse.

    Raises:
        UsageError: Nothing in the model goes by the name of a plugin, or the target has none.
    """
    config, target = run.config, run.target
    if target.refusals is not None:
        return target.refusals(model, config.plugins)
    if config.plugins:
        raise UsageError(f"--plugin names an operator of a deployment with TensorRT, not with {target.title}.")
    return ()


def warning_of_refusals(opened: Opened) -> tuple[str, ...]:
    """Say what the release that a result is for refuses in it; what an optimizer made is said by itself."""
    found = [entry for entry in opened.refused if opened.trt in entry.releases and entry.way_out != WAY_OUT]
    if not found:
        return ()
    every = all(len(entry.releases) == len(TensorRT) for entry in found)
    release = "" if every or opened.trt is None else f" {opened.trt.value}"
    named = "; ".join(f"{entry.found}{_at(entry.nodes)}" for entry in found[:_MOST_REFUSED])
    more = f"; and {count_text(len(found) - _MOST_REFUSED, 'thing')} more" if len(found) > _MOST_REFUSED else ""
    return (f"TensorRT{release} refuses the model as it is: {named}{more}. `qdq inspect` says what to do about each.",)


def _at(nodes: tuple[str, ...]) -> str:
    quoted = [f"'{name}'" for name in nodes]
    return f" at {some_of(quoted, 2)}" if quoted else ""
