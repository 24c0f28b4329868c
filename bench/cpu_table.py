"""`python -m bench.cpu_table [FOLDER]`: every tool that quantizes for CPUs beside each other, network by network.

Of each network: FP32, `onnxruntime.quantization` with MinMax (its default) and Percentile (its most accurate), and
`qdq` in ONNX Runtime's default session; FP32, NNCF and `qdq` in OpenVINO. All get the same samples. Measured are the
metric on the test set, computed as written, and the CPU milliseconds of a run on one thread, for which the files of a
runtime take turns in one process.

Files and figures are kept in the folder of `--work`: started again, a run makes and evaluates what is missing.
`--time` times the files that are there and does nothing else. NNCF stands in an environment of its own
(`make bench-cpu`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.figures import Effort, MeasureError, measure, run_child
from bench.kit import KitError, Subject, folder_subjects, only, sample_subjects
from bench.peer_models import CPU_PEERS, quantize_peer, read_samples, write_samples
from qdq_cli import QdqError
from qdq_cli.data.batches import Batch
from qdq_cli.timing.measure import Clock
from qdq_cli.timing.runtimes import RUNTIMES

FLOAT = "fp32"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": (FLOAT, *CPU_PEERS, "qdq-onnxruntime"),
    "openvino": (FLOAT, "nncf", "qdq"),
}
"""Runtime -> whose files it runs, in the order of the table; `qdq` alone is for OpenVINO."""

MAKERS = tuple(dict.fromkeys(name for names in COLUMNS.values() for name in names))
_MOST_SECONDS = 10.0
"""How long the files of one runtime take turns."""

Found = dict[str, dict[str, Any]]
"""What is known of a network: maker -> what its file reaches, or why there is none."""


def make(subject: Subject, maker: str, output: Path, effort: Effort) -> dict[str, Any]:
    """Let a tool quantize in a process of its own; returns its CPU seconds, and more where there is more to know.

    Raises:
        MeasureError: It fails; the message is its last line.
    """
    samples = output.with_name(f"{subject.name}.npz")
    if not samples.exists():
        write_samples(subject.model, subject.data, samples)
    if maker in CPU_PEERS:
        return quantize_peer(maker, subject.model, samples, output, effort)
    arguments = ["-m", "bench.openvino", "--quantize", maker, str(subject.model), str(samples), str(output)]
    return {"cpu_seconds": round(float(run_child(arguments, effort).splitlines()[-1]), 2)}


def fill(subject: Subject, work: Path, found: Found, effort: Effort) -> None:
    """Make and evaluate the files of a network that are missing."""
    for maker in MAKERS:
        path = file_of(subject, work, maker)
        if maker in found and path.exists():
            continue
        try:
            told = {} if maker == FLOAT else make(subject, maker, path, effort)
            figure = measure(path, subject.evaluation, effort)
            found[maker] = {**told, "metric": figure.metric, "value": figure.value}
        except (MeasureError, QdqError) as error:
            found[maker] = {"failure": str(error)}
        print(f"{subject.name:20} {maker:16} {json.dumps(found[maker])}", flush=True)


def file_of(subject: Subject, work: Path, maker: str) -> Path:
    """Where a maker's file is."""
    return subject.model if maker == FLOAT else work / f"{subject.name}.{maker}.onnx"


def time_all(subject: Subject, work: Path, found: Found) -> None:
    """Time the files of each runtime in turn, and keep the medians of their CPU milliseconds, or why there are none."""
    print(f"timing {subject.name}", file=sys.stderr, flush=True)
    samples = work / f"{subject.name}.npz"
    if not samples.exists():
        return
    batch = Batch(read_samples(samples)[0], (str(samples),), 1)
    for runtime, makers in COLUMNS.items():
        runs: dict[str, Callable[[], object]] = {}
        for maker in makers:
            path, known = file_of(subject, work, maker), found.setdefault(maker, {})
            if path.exists():
                try:
                    runs[maker] = RUNTIMES[runtime].prepare(path, batch, 1)
                    runs[maker]()
                except QdqError as error:
                    runs.pop(maker, None)
                    known[f"{runtime}_failure"] = str(error)
        for maker, milliseconds in in_turn(runs, _MOST_SECONDS).items():
            found[maker][f"{runtime}_ms"] = round(milliseconds, 3)


def in_turn(
    runs: Mapping[str, Callable[[], object]], seconds: float, clock: Clock = time.process_time
) -> dict[str, float]:
    """Run all in turn, each once for its caches and once for the clock; returns medians in milliseconds.

    Args:
        runs: Name -> a run.
        seconds: How long all rounds take together; 9 rounds are run at least and 201 at most.
        clock: What the time is: by default CPU seconds, which mind other programs less.
    """
    taken: dict[str, list[float]] = {name: [] for name in runs}
    names, start = list(runs), time.monotonic()
    for number in range(201):
        if number >= 9 and time.monotonic() - start > seconds:
            break
        for name in names[number % len(names) :] + names[: number % len(names)] if names else ():
            runs[name]()
            before = clock()
            runs[name]()
            taken[name].append(clock() - before)
    return {name: 1000 * statistics.median(times) for name, times in taken.items() if times}


def markdown(names: Sequence[str], figures: Mapping[str, Found]) -> str:
    """Lay the figures out as a table: a network a row, metric and milliseconds a cell."""
    columns = [(runtime, maker) for runtime, makers in COLUMNS.items() for maker in makers]
    titles = ["network, metric", *(f"{maker}, in {runtime}" for runtime, maker in columns)]
    rows = [titles, ["---"] * len(titles)]
    for name in names:
        found = figures[name]
        metric = found.get(FLOAT, {}).get("metric", "")
        rows.append([f"{name}, {metric}", *(_cell(found.get(maker, {}), runtime) for runtime, maker in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(known: Mapping[str, Any], runtime: str) -> str:
    told = [f"{known['value']:.2f}"] if "value" in known else [str(known.get("failure", ""))]
    refused = known.get(f"{runtime}_failure")
    told += [f"{known[f'{runtime}_ms']:.3g} ms"] if f"{runtime}_ms" in known else [refused] if refused else []
    return ", ".join(filter(None, told))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.cpu_table", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder with more models")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this model; repeatable")
    parser.add_argument("--limit", type=int, metavar="N", help="so many test samples only: a quick look")
    parser.add_argument("--work", type=Path, default=Path("build/cpu"), metavar="FOLDER", help="what is kept")
    parser.add_argument("--time", action="store_true", help="only time the files that are there")
    return parser


def subjects_of(chosen: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Subject]:
    """The networks of FOLDER, or the sample models where none is given; those of `--only` where some are named."""
    try:
        subjects = folder_subjects(chosen.folder, chosen.work) if chosen.folder else sample_subjects()
        return only(subjects, chosen.only)
    except KitError as error:
        parser.error(str(error))


def _main() -> None:
    parser = _parser()
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    ledger = chosen.work / "figures.json"
    figures: dict[str, Found] = json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else {}
    subjects = subjects_of(chosen, parser)
    making = partial(fill, effort=Effort(chosen.limit, 1, 7200.0))
    for work in (time_all,) if chosen.time else (making, time_all):
        for subject in subjects:
            work(subject, chosen.work, figures.setdefault(subject.name, {}))
            ledger.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(markdown([subject.name for subject in subjects], figures))


if __name__ == "__main__":
    _main()
