"""What `bench.conform` asks the compiler about: sample models, random networks, and hand-written ones for every row."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from bench.conform_rows import ROWS
from calibrators import Range
from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import make_float_plan
from qdq_cli.config.build import GPUS
from qdq_cli.config.forms import BUILT_BY_NVIDIA, FloatType, Form, WeightForm
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.model.wire import encode
from qdq_cli.placement.draft import draft
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.process.progress import SILENT
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.run import Run
from qdq_cli.targets.known import target_named
from qdq_cli.targets.tensorrt_rtx.table import TENSORRT_RTX
from sample_models.catalog import CATALOG
from tests.placement.random_networks import STEPS, build
from tests.targets.tensorrt.faulty import MODELS
from tests.targets.tensorrt.forms import VALID
from tests.targets.tensorrt.importer_forms import BODIES, READ_BODIES, READ_BY_11, REFUSED
from tests.targets.tensorrt.importer_models import FORMS, one_node
from tests.targets.tensorrt.random_networks import assembled, finished

SAMPLES = Path(__file__).parents[1] / "sample_models"

BUILT_FOR = GPUS[1:]
"""The GPUs that networks are built for: SM75 has hardly a kernel in FP32 there."""

GPU, OLDER, OLDEST = "sm89", "sm86", "sm75"
"""Where one GPU is enough; one that lacks FP8; and one that lacks products of weights alone in INT8."""


@dataclass(frozen=True)
class Case:
    """A model that a process makes and builds.

    Args:
        family: Which function of `_WRITERS` makes it.
        key: What decides it.
        gpu: Compute capability.
        name: What it is, so that it can be made again.
    """

    family: str
    key: tuple[Any, ...]
    gpu: str
    name: str = field(default="")


def sample_cases(gpus: tuple[str, ...]) -> Iterator[Case]:
    """Yield every sample model in every form, weight form and float type, for each GPU."""
    floats = (FloatType.FP32, FloatType.FP16)
    for name, form, weights, kind, gpu in product([sample.name for sample in CATALOG], Form, WeightForm, floats, gpus):
        yield Case("sample", (name, form, weights, kind), gpu, f"{name} {form.value} {weights.value} {kind.value}")


def random_cases(count: int) -> Iterator[Case]:
    """Yield random networks by their seeds, half of them planned, half with Q/DQ anywhere; GPUs take turns."""
    for seed in range(count):
        family = "planned" if seed % 2 else "linted"
        gpu = BUILT_FOR[seed // 2 % len(BUILT_FOR)]
        yield Case(family, (seed,), gpu, f"{family} {seed}")


def row_cases(gpus: tuple[str, ...]) -> Iterator[Case]:
    """Yield a network for each operator row of the target's table, planned beside each float type."""
    for op_type, kind, gpu in product(ROWS, (FloatType.FP32, FloatType.FP16), gpus):
        yield Case("row", (op_type, kind), gpu, f"{op_type} {kind.value}")


def code_cases() -> Iterator[Case]:
    """Yield a model for each lint code, on a GPU that it holds for, and the valid forms of every type."""
    special = {"E_GPU_TYPE": OLDER, "W_GPU_TYPE": OLDEST}
    yield from (Case("code", (code,), special.get(code, GPU), code) for code in MODELS)
    newest = {"NVFP4", "MXFP8"}
    yield from (Case("valid", (name,), "sm120" if name.split()[0] in newest else GPU, name) for name in VALID)


def form_cases() -> Iterator[Case]:
    """Yield one node of every row and form of the importer's tables, refused or read."""
    yield from (Case("form", ("plain", name), GPU, name) for name in FORMS)
    for name, forms in REFUSED.items():
        yield from (Case("form", ("refused", name, form), GPU, f"{name} {form}") for form in forms)
    yield from (Case("form", ("read", place), GPU, f"{name}, read") for place, (name, _, _) in enumerate(READ_BY_11))
    yield from (Case("form", ("body", form), GPU, f"{name} {form}") for form, (name, _) in BODIES.items())
    yield from (Case("form", ("read body", place), GPU, f"body {place}, read") for place in range(len(READ_BODIES)))


def written(case: Case, folder: Path) -> Path:
    """Write the model of a case."""
    path = folder / "model.onnx"
    if case.family in _PROTOS:
        onnx.save(_PROTOS[case.family](*case.key), path)
        return path
    encoded = encode(_MODELS[case.family](folder, *case.key))
    with path.open("wb") as file:
        file.writelines(encoded.pieces())
    return path


def _linted(seed: int) -> onnx.ModelProto:
    return finished(assembled(random.Random(seed).choice))


def _form(kind: str, *key: Any) -> onnx.ModelProto:
    if kind == "refused":
        shape, opset = REFUSED[key[0]][key[1]]
        return one_node(key[0], shape, opset=opset)
    if kind == "read":
        name, shape, opset = READ_BY_11[key[0]]
        return one_node(name, shape, opset=opset)
    if kind == "body":
        return BODIES[key[0]][1]
    return READ_BODIES[key[0]] if kind == "read body" else one_node(key[0])


def _planned(folder: Path, seed: int) -> ir.Model:
    chosen = random.Random(seed)
    recipe = [(chosen.choice(STEPS), chosen.randrange(4), chosen.randrange(4)) for _ in range(chosen.randrange(2, 15))]
    net, outputs = build(recipe)
    kind = FloatType.FP16 if seed % 4 == 1 else FloatType.FP32
    return _drafted(net.proto(*outputs), folder, BUILT_BY_NVIDIA[seed // 4 % len(BUILT_BY_NVIDIA)], kind)


def _row(folder: Path, op_type: str, kind: FloatType) -> ir.Model:
    return _drafted(ROWS[op_type](), folder, TENSORRT_RTX.name, kind)


def _drafted(proto: onnx.ModelProto, folder: Path, target: str, kind: FloatType) -> ir.Model:
    onnx.save(proto, folder / "float.onnx")
    opened = open_model(_run(folder / "float.onnx", target))
    return _cast(draft(opened.prepared.model, opened.plan), kind)


def _sample(folder: Path, name: str, form: Form, weights: WeightForm, kind: FloatType) -> ir.Model:
    model, plan = _opened(name)
    ranges = [Range.symmetric(1.0 + number) for number in range(len(plan.groups))]
    return _cast(rewrite(model, plan, ranges, weights=weights, form=form).model, kind)


@cache
def _opened(name: str) -> tuple[ir.Model, Any]:
    opened = open_model(_run(SAMPLES / f"{name}.onnx", BUILT_BY_NVIDIA[0]))
    return opened.prepared.model, opened.plan


def _cast(model: ir.Model, kind: FloatType) -> ir.Model:
    return model if kind is FloatType.FP32 else converted(model, make_float_plan(model, kind, {})).model


def _run(path: Path, target: str) -> Run:
    return Run(QuantizeConfig(path, dry_run=True, target=target), SILENT, target_named(target))


_PROTOS: Mapping[str, Any] = {
    "linted": _linted,
    "form": _form,
    "code": lambda code: MODELS[code](),
    "valid": VALID.__getitem__,
}
_MODELS: Mapping[str, Any] = {"sample": _sample, "planned": _planned, "row": _row}
"""Family -> what makes its models."""
