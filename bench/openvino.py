"""`python -m bench.openvino [FOLDER]`: `qdq quantize --target openvino` beside NNCF, which is made for OpenVINO.

Both get the same samples in memory, in a process each, and write an ONNX model. Measured of each: the CPU time of the
process beyond loading its libraries, what the model keeps of the accuracy on its test set, every Q and DQ computed as
it is written, how many weighted operators OpenVINO has on integers, and how fast it is there beside FP32.

As a program, `python -m bench.openvino --quantize TOOL MODEL SAMPLES.npz OUTPUT`: one process that quantizes one model.
NNCF stands in an environment of its own (`make bench-openvino`); nothing else here needs it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import Effort, MeasureError, measure, run_child
from bench.kit import KitError, Subject, folder_subjects, only, sample_subjects
from bench.peer_models import per_channel_form, read_samples, write_samples
from qdq_cli.data.batches import Batch
from qdq_cli.running.openvino import OpenVinoRunner
from qdq_cli.timing import measure as timing
from qdq_cli.timing.models import time_models

TOOLS = ("qdq", "nncf")
_TARGETS = {"qdq": "openvino", "qdq-onnxruntime": "onnxruntime"}
"""What can be asked for -> the target of `qdq quantize`; the second is for `bench.cpu_table`."""

_SPEED = timing.Effort(seconds=5.0, least=15, most=401)


@dataclass(frozen=True)
class Row:
    """What one tool makes of one model.

    Args:
        model: Its name.
        tool: `fp32`, or one of `TOOLS`.
        metric: Of its task.
        value: What the result reaches.
        cpu_seconds: Of quantizing.
        integers: Weighted operators that OpenVINO has on integers, of how many.
        speedup: How many times as fast as FP32 it runs in OpenVINO, and the 95 % interval.
        failure: Why there is no such figure; "" where there is.
    """

    model: str
    tool: str
    metric: str = ""
    value: float | None = None
    cpu_seconds: float | None = None
    integers: tuple[int, int] | None = None
    speedup: tuple[float, float, float] | None = None
    failure: str = ""

    def __str__(self) -> str:
        told = [f"{self.model:20} {self.tool:5}"]
        told += [] if self.value is None else [f"{self.metric} {self.value:.2f}"]
        told += [] if self.cpu_seconds is None else [f"{self.cpu_seconds:.1f} s CPU"]
        told += [] if self.integers is None else [f"{self.integers[0]} of {self.integers[1]} on integers"]
        told += [] if self.speedup is None else ["{:.2f} times FP32 ({:.2f} to {:.2f})".format(*self.speedup)]
        return "; ".join([*told, *filter(None, [self.failure])])


def quantize(tool: str, model: Path, samples: Path, output: Path) -> float:
    """Quantize in this process; returns the CPU seconds that it took, without loading libraries and samples."""
    feeds = read_samples(samples)
    return _by_nncf(model, feeds, output) if tool == "nncf" else _by_qdq(_TARGETS[tool], model, feeds, output)


def _by_qdq(target: str, model: Path, feeds: list[dict[str, np.ndarray]], output: Path) -> float:
    import qdq_cli

    start = time.process_time()
    qdq_cli.quantize(model, feeds, target=target, verify=0).save(output)
    return time.process_time() - start


def _by_nncf(model: Path, feeds: list[dict[str, np.ndarray]], output: Path) -> float:
    """What its documentation shows for ONNX models, with all samples instead of the first 300, of opset 13 at least."""
    import nncf
    import onnx

    start = time.process_time()
    result = nncf.quantize(per_channel_form(onnx.load(model)), nncf.Dataset(feeds), subset_size=len(feeds))
    onnx.save(result, output)
    return time.process_time() - start


def compare(subject: Subject, work: Path, effort: Effort) -> list[Row]:
    """Measure FP32 and both tools."""
    samples = work / f"{subject.name}.npz"
    write_samples(subject.model, subject.data, samples)
    return [_float_row(subject, effort), *(_row(subject, tool, samples, effort) for tool in TOOLS)]


def _float_row(subject: Subject, effort: Effort) -> Row:
    try:
        figure = measure(subject.model, subject.evaluation, effort)
    except MeasureError as error:
        return Row(subject.name, "fp32", failure=str(error))
    return Row(subject.name, "fp32", figure.metric, figure.value)


def _row(subject: Subject, tool: str, samples: Path, effort: Effort) -> Row:
    output = samples.with_name(f"{subject.name}.{tool}.onnx")
    arguments = ["-m", "bench.openvino", "--quantize", tool, str(subject.model), str(samples), str(output)]
    try:
        seconds = float(run_child(arguments, effort).splitlines()[-1])
        figure = measure(output, subject.evaluation, effort)
    except MeasureError as error:
        return Row(subject.name, tool, failure=str(error))
    batch = Batch(read_samples(samples)[0], (str(samples),), 1)
    layers = OpenVinoRunner(output, batch, threads=effort.threads).layers()
    speed = time_models((subject.model, output), batch, "openvino", _SPEED)
    integers, ratio = (layers.integer, layers.weighted), (speed.ratio, *speed.interval)
    return Row(subject.name, tool, figure.metric, figure.value, seconds, integers, ratio)


def _main() -> None:
    if sys.argv[1:2] == ["--quantize"]:
        tool, model, samples, output = sys.argv[2:]
        print(quantize(tool, Path(model), Path(samples), Path(output)))
        return
    parser = argparse.ArgumentParser(prog="python -m bench.openvino", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder with more models")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this model; repeatable")
    parser.add_argument("--limit", type=int, metavar="N", help="so many test samples only: a quick look")
    parser.add_argument("--work", type=Path, default=Path("build/openvino"), metavar="FOLDER", help="what is kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    try:
        more = folder_subjects(chosen.folder, chosen.work) if chosen.folder else []
        subjects = only([*sample_subjects(), *more], chosen.only)
    except KitError as error:
        parser.error(str(error))
    rows = []
    for subject in subjects:
        for row in compare(subject, chosen.work, Effort(chosen.limit, 1, 7200.0)):
            rows.append(row)
            print(row, flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1), encoding="utf-8")


if __name__ == "__main__":
    _main()
