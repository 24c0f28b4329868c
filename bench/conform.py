"""`make conform`: hold `qdq inspect` against NVIDIA's compiler over sample, random and hand-written models.

For every model two questions: does the importer or the builder refuse it exactly where the lint has an error, and does
every weighted operator run in the type that is predicted? Counts and disagreements are printed; nothing that the
compiler says is kept. It needs the extra `compiler`, which `make conform` installs into an environment of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from bench.conform_cases import (
    BUILT_FOR,
    GPU,
    OLDEST,
    Case,
    code_cases,
    form_cases,
    random_cases,
    row_cases,
    sample_cases,
    written,
)
from qdq_cli.building import worker
from qdq_cli.building.agreement import operators_of
from qdq_cli.building.compiler import LOADING, told_of
from qdq_cli.building.names import quantizers_by_name
from qdq_cli.building.record import Kernel, Outcome
from qdq_cli.config.forms import BUILT_BY_NVIDIA, Gpu, TensorRT
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.inspecting.inspect import Inspection, inspect_file
from qdq_cli.model import files
from qdq_cli.preparing.prepare import name_everything
from qdq_cli.process.errors import ModelError, QdqError
from qdq_cli.process.extras import install_line
from qdq_cli.targets.tensorrt.findings import NOT_BUILT, Severity
from qdq_cli.targets.tensorrt_rtx.table import TENSORRT_RTX

CHUNK = 25
"""Models of one task; where the compiler ends the process, they are tried one by one."""

CHUNKS = 12
"""Tasks of each process before a new one takes over: starting one costs as much as ten models, and what the compiler
holds grows."""

SHOWN = 20

READ, CRASHED = "read", "crashed"
"""Outcomes besides those of a build: read, with an input that only a program can fill; the process ended."""

UNREAD = "no valid ONNX"
"""Stands for the code of a model that is refused before the lint looks at it."""


@dataclass(frozen=True)
class Score:
    """How many weighted operators of one model run in the type that a table predicts.

    Args:
        agree: Number of those that do.
        differ: (operator, predicted, built, rule) of those that do not.
        untold: Number of those that nothing is told about.
        doubted: Number of those that are predicted with a doubt, and that are told about.
        doubted_agree: Number of those of them that run in the predicted type.
    """

    agree: int = 0
    differ: tuple[tuple[str, str, str, str], ...] = ()
    untold: int = 0
    doubted: int = 0
    doubted_agree: int = 0


@dataclass(frozen=True)
class Row:
    """One model, as predicted and as built.

    Args:
        name: What it is, so that it can be made again.
        family: Sample models, a kind of random networks, or hand-written ones.
        gpu: Compute capability it was built for.
        errors: Codes of the lint's errors.
        outcome: What became of it.
        scores: Target -> how its table predicted the types.
    """

    name: str
    family: str
    gpu: str
    errors: tuple[str, ...]
    outcome: str
    scores: Mapping[str, Score] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether the importer or the builder refused it."""
        return self.outcome not in (Outcome.BUILT.value, READ)

    @property
    def agrees(self) -> bool:
        """Whether it is refused exactly where the lint has an error."""
        return self.refused == bool(self.errors)

    def score(self, target: str = TENSORRT_RTX.name) -> Score:
        """Return how a table predicted the types; nothing is counted of what was not built."""
        return self.scores.get(target, Score())


def check(case: Case) -> Row:
    """Make, predict and build one model, in this process."""
    with tempfile.TemporaryDirectory(prefix="qdq-conform-") as folder:
        path = written(case, Path(folder))
        shapes = _shapes(path)
        outcome, kernels = _built(path, case.gpu, shapes)
        try:
            seen = {target: _inspected(path, case.gpu, shapes, target) for target in BUILT_BY_NVIDIA}
            as_it_is = _inspected(path, case.gpu, {}, TENSORRT_RTX.name) if shapes else seen[TENSORRT_RTX.name]
        except QdqError:
            return Row(case.name, case.family, case.gpu, (UNREAD,), outcome)
        model = files.load(path).model
    row = Row(case.name, case.family, case.gpu, _refusing(as_it_is), outcome)
    if outcome != Outcome.BUILT.value:
        return row
    name_everything(model)
    quantizers = quantizers_by_name(model)
    scores = {target: _score(kernels, inspection, quantizers) for target, inspection in seen.items()}
    return Row(row.name, row.family, row.gpu, row.errors, row.outcome, scores)


def _built(path: Path, gpu: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, tuple[Kernel, ...]]:
    profiles = {name: (sizes,) * 3 for name, sizes in shapes.items()}
    job = {"model": str(path), "gpu": gpu.upper(), "profiles": profiles, "engine": None}
    events: list[Any] = []
    worker.build(worker.load_compiler(), job, events.append)
    try:
        told = told_of(events, 0, (), LOADING)
    except ModelError:
        return READ, ()
    return told.outcome.value, told.kernels


def _inspected(path: Path, gpu: str, shapes: Mapping[str, tuple[int, ...]], target: str) -> Inspection:
    asked = tuple(f"{name}:{'x'.join(map(str, sizes))}" for name, sizes in shapes.items() if sizes)
    return inspect_file(InspectConfig(path, trt=TensorRT.V11, gpu=Gpu(gpu), input_shape=asked, target=target))


def _score(kernels: tuple[Kernel, ...], inspection: Inspection, quantizers: Mapping[str, str]) -> Score:
    operators = operators_of(kernels, inspection, quantizers)
    doubts = {layer.name for layer in inspection.layers if layer.uncertain}
    counts = Counter(each.agrees for each in operators)
    doubted = [each.agrees for each in operators if each.name in doubts and each.agrees is not None]
    differ = tuple(
        (each.op_type, each.predicted, each.built, each.because[0] if each.because else "")
        for each in operators
        if each.agrees is False
    )
    return Score(counts[True], differ, counts[None], len(doubted), sum(doubted))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """One sample of every dynamic input."""
    inputs = onnx.load(path, load_external_data=False).graph.input
    sizes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inputs}
    return {name: tuple(size or 1 for size in dims) for name, dims in sizes.items() if 0 in dims}


def check_all(cases: list[Case], processes: int) -> list[Row]:
    """Check models in processes of their own; where the compiler ends one, the model is told from its neighbours.

    What is built for Turing has a process to itself: the next build in one for other GPUs was seen to have its types.
    """
    rows = [row for case in cases if case.gpu == OLDEST for row in _apart([case])]
    cases = [case for case in cases if case.gpu != OLDEST]
    chunks = [cases[start : start + CHUNK] for start in range(0, len(cases), CHUNK)]
    group = CHUNKS * processes
    while chunks:
        with ProcessPoolExecutor(processes) as pool:
            tasks = [(chunk, [pool.submit(check, case) for case in chunk]) for chunk in chunks[:group]]
            broken = []
            for chunk, futures in tasks:
                try:
                    rows += [future.result() for future in futures]
                except BrokenProcessPool:
                    broken.append(chunk)
        chunks = chunks[group:]
        rows += [row for chunk in broken for row in _apart(chunk)]
        print(f"{len(rows)} models", file=sys.stderr, flush=True)
    return rows


def _apart(chunk: list[Case]) -> list[Row]:
    """Check models of which one may end the process, with a process for as many as go well."""
    rows: list[Row] = []
    while len(rows) < len(chunk):
        with ProcessPoolExecutor(1) as pool:
            for case in chunk[len(rows) :]:
                try:
                    rows.append(pool.submit(check, case).result())
                except BrokenProcessPool:
                    rows.append(Row(case.name, case.family, case.gpu, _errors_of(case), CRASHED))
                    break
    return rows


def _errors_of(case: Case) -> tuple[str, ...]:
    """Return the lint's errors alone, without the compiler."""
    with tempfile.TemporaryDirectory(prefix="qdq-conform-") as folder:
        return _refusing(_inspected(written(case, Path(folder)), case.gpu, {}, TENSORRT_RTX.name))


def _refusing(inspection: Inspection) -> tuple[str, ...]:
    """Return the codes that say that no engine will be built."""
    found = (entry for entry in inspection.findings if entry.severity is Severity.ERROR or entry.code in NOT_BUILT)
    return tuple(sorted({entry.code for entry in found}))


def report(rows: list[Row]) -> int:
    """Print the table of agreement and the disagreements; returns how many there are for TensorRT for RTX."""
    families = dict.fromkeys(row.family for row in rows)
    parts = {name: [row for row in rows if row.family == name] for name in families} | {"all": rows}
    for name, mine in parts.items():
        print(f"{name:<8} {len(mine):>5} models: {sum(row.agrees for row in mine)} refused as the lint says, or built")
        _types(mine)
    missed = [row for row in rows if row.refused and not row.errors]
    false = [row for row in rows if row.errors and not row.refused]
    _listed("not built, and the lint has no error", Counter(f"{row.outcome}: {row.name}" for row in missed), missed)
    _listed("built or read, and the lint has an error", Counter(" ".join(row.errors) for row in false), false)
    return len(missed) + len(false) + [_differing(rows, target) for target in BUILT_BY_NVIDIA][-1]


def _differing(rows: list[Row], target: str) -> int:
    kinds: Counter[str] = Counter()
    for row in rows:
        for op_type, predicted, built, rule in row.score(target).differ:
            kinds[f"{op_type}: {predicted} predicted, {built} built; {rule}"] += 1
    _listed(f"another type than {target} predicts", kinds, [row for row in rows if row.score(target).differ])
    return sum(kinds.values())


def _types(rows: Iterable[Row]) -> None:
    rows = list(rows)
    for target in BUILT_BY_NVIDIA:
        scores = [row.score(target) for row in rows]
        agree, differ = sum(score.agree for score in scores), sum(len(score.differ) for score in scores)
        doubted, right = sum(score.doubted for score in scores), sum(score.doubted_agree for score in scores)
        if agree + differ:
            print(f"{'':<8} {target}: {_share(agree, agree + differ)} weighted operators in the predicted type;")
            sure = _share(agree - right, agree + differ - doubted)
            print(f"{'':<8} {' ' * len(target)}  {doubted} are doubted, {right} of them agree; without them {sure}")


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole if whole else 100:.2f} %)"


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
    parser.add_argument("--short", action="store_true", help="one GPU for models that are not random, 100 networks")
    chosen = parser.parse_args()
    try:
        worker.load_compiler()
    except ImportError:
        print(f"conform is skipped: NVIDIA's compiler is not there ({install_line('compiler')})")
        return 0
    gpus = (GPU,) if chosen.short else BUILT_FOR
    networks = min(chosen.networks, 100) if chosen.short else chosen.networks
    cases = [*sample_cases(gpus), *row_cases(gpus), *code_cases(), *form_cases(), *random_cases(networks)]
    start = time.perf_counter()
    rows = check_all(cases, chosen.processes)
    print(f"{len(rows)} models in {time.perf_counter() - start:.0f} s\n")
    report(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
