"""`make conform`: hold `qdq inspect` against NVIDIA's compiler, over the sample models and random networks.

For every model two questions: does the importer or the builder refuse it exactly where the lint has an error, and does
every weighted operator run in the type that is predicted? Counts and disagreements are printed; nothing that the
compiler says is kept. It needs the extra `compiler`, which `make conform` installs into an environment of its own.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from calibrators import Range
from qdq_cli.building import worker
from qdq_cli.building.agreement import operators_of
from qdq_cli.building.compiler import LOADING, told_of
from qdq_cli.building.names import quantizers_by_name
from qdq_cli.building.record import Outcome
from qdq_cli.casting.convert import converted
from qdq_cli.casting.plan import make_float_plan
from qdq_cli.config.build import GPUS
from qdq_cli.config.forms import FloatType, Form, Gpu, TensorRT, WeightForm
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.inspecting.inspect import inspect_file
from qdq_cli.model import files
from qdq_cli.model.wire import encode
from qdq_cli.placement.draft import draft
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import name_everything
from qdq_cli.process.extras import install_line
from qdq_cli.process.progress import SILENT
from qdq_cli.quantizing.pipeline import open_model
from qdq_cli.quantizing.run import Run
from qdq_cli.targets.tensorrt.findings import Severity
from qdq_cli.targets.tensorrt.table import TENSORRT
from sample_models.catalog import CATALOG
from tests.placement.random_networks import STEPS, build
from tests.targets.tensorrt.random_networks import assembled, finished

SAMPLES = Path(__file__).parents[1] / "sample_models"
CHUNK = 25
"""Models of one task; where the compiler ends the process, they are tried one by one."""

SHOWN = 12


@dataclass(frozen=True)
class Row:
    """One model, as predicted and as built.

    Args:
        name: What it is, so that it can be made again.
        family: Sample models or a kind of random networks.
        gpu: Compute capability it was built for.
        errors: Codes of the lint's errors.
        outcome: What became of it; `crashed` where the compiler ended the process.
        differ: (operator, predicted, built, rule) of the weighted operators that run in another type.
        agree: Number of those that run in the predicted one.
        untold: Number of those that nothing is told about.
    """

    name: str
    family: str
    gpu: str
    errors: tuple[str, ...]
    outcome: str
    differ: tuple[tuple[str, str, str, str], ...] = ()
    agree: int = 0
    untold: int = 0

    @property
    def refused(self) -> bool:
        """Whether no engine was built."""
        return self.outcome != Outcome.BUILT.value


@dataclass(frozen=True)
class Case:
    """A model that a process makes and builds.

    Args:
        family: `sample`, `planned` (a random float network and its plan) or `linted` (random Q/DQ anywhere).
        key: What decides it.
        gpu: Compute capability.
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
        gpu = GPUS[1:][seed // 2 % len(GPUS[1:])]  # SM75 knows hardly anything in FP32
        yield Case(family, (seed,), gpu, f"{family} {seed}")


def written(case: Case, folder: Path) -> Path:
    """Write the model of a case."""
    path = folder / "model.onnx"
    if case.family == "linted":
        onnx.save(finished(assembled(random.Random(case.key[0]).choice)), path)
        return path
    model = _sample(*case.key) if case.family == "sample" else _planned(case.key[0], folder)
    encoded = encode(model)
    with path.open("wb") as file:
        file.writelines(encoded.pieces())
    return path


def _planned(seed: int, folder: Path) -> ir.Model:
    chosen = random.Random(seed)
    recipe = [(chosen.choice(STEPS), chosen.randrange(4), chosen.randrange(4)) for _ in range(chosen.randrange(2, 15))]
    net, outputs = build(recipe)
    onnx.save(net.proto(*outputs), folder / "float.onnx")
    opened = open_model(_run(folder / "float.onnx"))
    model = draft(opened.prepared.model, opened.plan)
    return _cast(model, FloatType.FP16) if seed % 4 == 1 else model


def _sample(name: str, form: Form, weights: WeightForm, kind: FloatType) -> ir.Model:
    opened = open_model(_run(SAMPLES / f"{name}.onnx"))
    ranges = [Range.symmetric(1.0 + number) for number in range(len(opened.plan.groups))]
    return _cast(rewrite(opened.prepared.model, opened.plan, ranges, weights=weights, form=form).model, kind)


def _cast(model: ir.Model, kind: FloatType) -> ir.Model:
    return converted(model, make_float_plan(model, kind, {})).model


def _run(path: Path) -> Run:
    return Run(QuantizeConfig(path, dry_run=True), SILENT, TENSORRT)


def check(case: Case) -> Row:
    """Make, predict and build one model, in this process."""
    with tempfile.TemporaryDirectory(prefix="qdq-conform-") as folder:
        path = written(case, Path(folder))
        shapes = _shapes(path)
        asked = tuple(f"{name}:{'x'.join(map(str, sizes))}" for name, sizes in shapes.items())
        look = InspectConfig(path, trt=TensorRT.V11, gpu=Gpu(case.gpu), input_shape=asked)
        inspection = inspect_file(look)
        profiles = {name: (sizes,) * 3 for name, sizes in shapes.items()}
        job = {"model": str(path), "gpu": case.gpu.upper(), "profiles": profiles, "engine": None}
        events: list[Any] = []
        worker.build(worker.load_compiler(), job, events.append)
        told = told_of(events, 0, (), LOADING)
        model = files.load(path).model
    name_everything(model)
    errors = {entry.code for entry in inspection.findings if entry.severity is Severity.ERROR}
    row = Row(case.name, case.family, case.gpu, tuple(sorted(errors)), told.outcome.value)
    if row.refused:
        return row
    operators = operators_of(told.kernels, inspection, quantizers_by_name(model))
    differ = tuple(
        (each.op_type, each.predicted, each.built, each.because[0] if each.because else "")
        for each in operators
        if each.agrees is False
    )
    counts = Counter(each.agrees for each in operators)
    return Row(row.name, row.family, row.gpu, row.errors, row.outcome, differ, counts[True], counts[None])


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """One sample of every dynamic input."""
    inputs = onnx.load(path, load_external_data=False).graph.input
    sizes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs}
    return {name: tuple(size or 1 for size in dims) for name, dims in sizes.items() if 0 in dims}


def check_all(cases: list[Case], processes: int) -> list[Row]:
    """Check models in processes of their own; where the compiler ends one, the model is told from its neighbours."""
    chunks = [cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK)]
    rows: list[Row] = []
    while chunks:
        with ProcessPoolExecutor(processes) as pool:
            tasks = [(chunk, [pool.submit(check, case) for case in chunk]) for chunk in chunks[: 4 * processes]]
            broken = []
            for chunk, futures in tasks:
                try:
                    rows += [future.result() for future in futures]
                except BrokenProcessPool:
                    broken.append(chunk)
        chunks = chunks[4 * processes :]
        rows += [_alone(case) for chunk in broken for case in chunk]
    return rows


def _alone(case: Case) -> Row:
    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(check, case).result()
    except BrokenProcessPool:
        return Row(case.name, case.family, case.gpu, (), "crashed")


def report(rows: list[Row]) -> int:
    """Print the table of agreement and the disagreements; returns how many there are."""
    for family in dict.fromkeys(row.family for row in rows):
        mine = [row for row in rows if row.family == family]
        agree, differ = sum(row.agree for row in mine), sum(len(row.differ) for row in mine)
        share = 100 * agree / (agree + differ) if agree + differ else 100.0
        right = sum(row.refused == bool(row.errors) for row in mine)
        print(f"{family:<8} {len(mine):>5} models: {right} refused as the lint says, or built without an error;")
        print(f"{'':<8} {agree} of {agree + differ} weighted operators in the predicted type ({share:.2f} %)")
    missed = [row for row in rows if row.refused and not row.errors]
    false = [row for row in rows if row.errors and not row.refused]
    _listed("not built, and the lint has no error", Counter(f"{row.outcome}, {row.gpu}" for row in missed), missed)
    _listed("built, and the lint has an error", Counter(" ".join(row.errors) for row in false), false)
    kinds = Counter(f"{op}: {a} predicted, {b} built; {rule}" for row in rows for op, a, b, rule in row.differ)
    _listed("operators that run in another type", kinds, [row for row in rows if row.differ])
    return len(missed) + len(false) + sum(kinds.values())


def _listed(title: str, kinds: Counter[str], rows: list[Row]) -> None:
    if rows:
        print(f"\n{title}: {len(rows)} models, such as {', '.join(f'{row.name} ({row.gpu})' for row in rows[:3])}")
        for kind, count in kinds.most_common(SHOWN):
            print(f"  {count:>5}  {kind}")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.conform", description=__doc__)
    parser.add_argument("--networks", type=int, default=2000, help="random networks")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="two GPUs for the sample models, 200 networks")
    chosen = parser.parse_args()
    try:
        worker.load_compiler()
    except ImportError:
        print(f"conform is skipped: NVIDIA's compiler is not there ({install_line('compiler')})")
        return 0
    gpus = ("sm89", "sm120") if chosen.short else GPUS[1:]
    cases = [*sample_cases(gpus), *random_cases(200 if chosen.short else chosen.networks)]
    start = time.perf_counter()
    rows = check_all(cases, chosen.processes)
    print(f"{len(rows)} models in {time.perf_counter() - start:.0f} s\n")
    report(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
