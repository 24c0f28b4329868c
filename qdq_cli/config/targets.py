"""The field that says what a model is quantized for, in every record that has one."""

from __future__ import annotations

from typing import Any

from qdq_cli.config.fields import OneOf, option
from qdq_cli.config.forms import DEFAULT_TARGET, IMPORTERS, TARGETS, TensorRT
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import any_of


def target_field() -> Any:
    """Declare the field with the name of what a model is quantized for."""
    return option(
        DEFAULT_TARGET, f"What the model will run on: {any_of(TARGETS)}.", metavar="NAME", rule=OneOf(TARGETS)
    )


def release_for(target: str, asked: TensorRT | None) -> TensorRT | None:
    """Return the release of TensorRT that a run is about: the one asked for, or that of the target's importer.

    Raises:
        UsageError: Another release was asked for than the one the target's importer is of.
    """
    own = IMPORTERS.get(target)
    if own is not None and asked not in (None, own):
        raise UsageError(
            f"--trt {asked.value} names a release of TensorRT, and {target} reads what TensorRT {own.value} does.",
            "Leave --trt out, or quantize with --target tensorrt.",
        )
    return asked if own is None else own
