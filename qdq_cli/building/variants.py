"""Other forms of a model that are built beside it: what its plan would make of it, and the float model it came from."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import make_float_plan
from qdq_cli.config.build import BuildConfig
from qdq_cli.config.forms import FloatType
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.model import files
from qdq_cli.placement.draft import draft
from qdq_cli.preparing.reading import make_readable
from qdq_cli.process.errors import QdqError, UsageError
from qdq_cli.process.progress import SILENT
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.run import Run
from qdq_cli.targets.tensorrt.table import TENSORRT

AS_IT_IS = "as it is"
FP32 = "FP32"
FP16 = "FP16"
PLANNED = "INT8 as planned"
WITH_ATTENTION = "INT8 as planned, --mha"
REST = ", FP16 rest"
AS_IT_IS_REST = f"{AS_IT_IS}{REST}"

_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

Make = Callable[[], ir.Model | None]
"""Makes a form of the model; None where it would be no other than one before."""


@dataclass(frozen=True)
class Variant:
    """A form of the model in a file.

    Args:
        name: What it is.
        path: The ONNX file; None where it could not be made.
        said: Why not.
    """

    name: str
    path: Path | None
    said: str = ""


@contextlib.contextmanager
def written(model: ir.Model, target: Path, *, external: bool) -> Iterator[Path]:
    """Write a model for the time of the block."""
    with files.staged(model, target, external=external) as staged:
        yield staged.path


def variants_of(
    config: BuildConfig, folder: Path, stack: contextlib.ExitStack, *, quantized: bool
) -> tuple[Variant, ...]:
    """Make the forms that are built beside a model.

    For a float model what its plan would make of it, with placeholders for scales: they decide nothing about kernels,
    and nothing is calibrated. For a Q/DQ model the float model it was made from, where that is named.

    Args:
        config: The model, the float model it came from, and which operators are quantized.
        folder: Where files may be written.
        stack: Keeps the files until it is closed.
        quantized: Whether the model itself holds Q/DQ.

    Raises:
        UsageError: A float model is named for a float model.
    """
    if not quantized and config.against is not None:
        raise UsageError("--against is for a Q/DQ model, and this one is float.", "Leave it out.")
    makers = _of_quantized(config) if quantized else _of_float(config)
    made = [_made(name, make, folder, stack) for name, make in makers]
    given = () if config.against is None else (Variant(FP32, config.against),)
    return (*given, *(variant for variant in made if variant is not None))


def _of_float(config: BuildConfig) -> list[tuple[str, Make]]:
    """FP16, the plan, the plan with attention in INT8 where that quantizes more, and both with FP16 around them."""
    opened = functools.cache(lambda plan: open_model(_run(config.model, plan)))
    plain, more = config.plan, replace(config.plan, mha=True)

    @functools.cache
    def drafted(plan: PlanConfig) -> ir.Model | None:
        is_more = plan is plain or len(opened(plan).plan.targets) > len(opened(plain).plan.targets)
        return draft(opened(plan).prepared.model, opened(plan).plan) if is_more else None

    forms: list[tuple[str, Make]] = [
        (FP16, lambda: _halved(opened(plain).prepared.model)),
        (PLANNED, lambda: drafted(plain)),
        (f"{PLANNED}{REST}", lambda: _halved(drafted(plain))),
    ]
    attention: list[tuple[str, Make]] = [
        (WITH_ATTENTION, lambda: drafted(more)),
        (f"{WITH_ATTENTION}{REST}", lambda: _halved(drafted(more))),
    ]
    return forms + ([] if plain.mha else attention)


def _of_quantized(config: BuildConfig) -> list[tuple[str, Make]]:
    against = config.against
    forms: list[tuple[str, Make]] = [(AS_IT_IS_REST, lambda: _halved(_read(config.model)))]
    if against is not None:
        forms.append((FP16, lambda: _halved(_read(against))))
    return forms


def _read(path: Path) -> ir.Model:
    model = files.load(path).model
    make_readable(model)
    return model


def _halved(model: ir.Model | None) -> ir.Model | None:
    """Return a model with FP16 for every FP32 that nothing structural forbids; None where it has 16-bit floats already.

    Nothing is known of its values: what overflows does not matter to kernels, and nothing here is run.
    """
    held = () if model is None else (*model.graph.inputs, *model.graph.initializers.values())
    if model is None or any(value.dtype in _HALF for value in held):
        return None
    return converted(model, make_float_plan(model, FloatType.FP16, {})).model


def _made(name: str, make: Make, folder: Path, stack: contextlib.ExitStack) -> Variant | None:
    """Write one form; None where it would be no other than one before."""
    try:
        model = make()
    except QdqError as error:
        return Variant(name, None, error.message)
    if model is None:
        return None
    target = folder / f"{name.replace(' ', '_').replace(',', '')}.onnx"
    return Variant(name, stack.enter_context(written(model, target, external=False)))


def _run(model: Path, plan: PlanConfig) -> Run:
    return Run(QuantizeConfig(model, plan=plan, dry_run=True), SILENT, TENSORRT)
